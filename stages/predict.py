"""Run lists of every test photo into data/predictions: `python -m stages.predict`."""

from tqdm import tqdm

from carvana import params, paths, shards
from carvana.archive import Archive
from carvana.predict import Ensemble, Settings, predict
from carvana.work import whole_folder
from stages.stage import run


def main() -> None:
    settings = params.load(paths.PARAMS)
    ensemble = Ensemble.load(map(paths.model, settings.train.folds))
    how = Settings.of(settings)
    with (
        Archive(paths.TEST) as archive,
        whole_folder(paths.PREDICTIONS) as folder,
        tqdm(total=len(archive.photos), desc="predict", unit=" photos", disable=None) as progress,
    ):
        for number, photos in enumerate(shards.plan(archive.photos)):
            runs = []
            for prediction in predict(ensemble, archive, photos, how):
                runs.append(prediction.runs)
                progress.update()
            shards.write(shards.path_of(folder, number), photos, runs)


if __name__ == "__main__":
    run(main, "predict")
