"""Scores on unseen cars into metrics/: `python -m stages.evaluate`."""

from carvana import evaluation, history, models, params, paths, split
from carvana.predict import Ensemble, Settings
from carvana.work import write_json
from stages.stage import run


def main() -> None:
    settings = params.load(paths.PARAMS)
    folds = settings.train.folds
    roles = split.read(paths.SPLIT)
    how = Settings.of(settings)

    def score(models_of: tuple[int, ...], wanted: str, role: str) -> list[evaluation.Score]:
        cars = {car for car, found in roles.items() if found == wanted}
        ensemble = Ensemble.load(map(paths.model, models_of))
        return list(evaluation.score_photos(ensemble, paths.TRAIN, paths.TRAIN_MASKS, cars, role, how))

    scores = {
        "validation": [one for fold in folds for one in score((fold,), str(fold), "validation")],
        "test": score(folds, split.TEST, "test"),
    }
    evaluation.write_scores(paths.SCORES, [one for each in scores.values() for one in each])
    histories = {fold: history.read(paths.history(fold)) for fold in folds}
    history.write_curves(paths.CURVES, histories)
    model = {
        "parameters": sum(models.count_parameters(model) for model in Ensemble.load(map(paths.model, folds)).models),
        "epochs": sum(map(len, histories.values())),
    }
    summaries = {role: evaluation.summarise(each) for role, each in scores.items() if each}
    write_json(paths.EVALUATION, summaries | {"model": model})


if __name__ == "__main__":
    run(main, "evaluate")
