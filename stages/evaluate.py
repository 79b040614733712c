"""Writes scores on unseen cars, and pictures of them, to metrics/: `python -m stages.evaluate`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from carvana.base import params, paths, processes, speed
from carvana.base.console import Bar, say
from carvana.base.errors import UserError
from carvana.base.files import whole_file, whole_folder, write_json
from carvana.base.stage import command_line, run
from carvana.competition import car_of

if TYPE_CHECKING:
    import pandas as pd

    from carvana.base.params import Params
    from carvana.data.cache import Cache
    from carvana.networks.checkpoint import Trained
    from carvana.prediction.settings import Settings
    from carvana.results.pictures import Tiles
    from carvana.results.scoring import Findings


def main() -> None:
    from carvana.data import cache, split
    from carvana.devices import device
    from carvana.networks import checkpoint, models
    from carvana.networks.sizes import sizes_of
    from carvana.prediction.settings import Settings
    from carvana.results import about, examples, pictures, report, scoring
    from carvana.training import history

    settings = params.load(paths.PARAMS)
    folds, workers = settings.train.folds, settings.runtime.workers
    truth = cache.read(paths.CACHE)
    roles = split.read(paths.SPLIT, truth.names)
    trained = {fold: checkpoint.load(paths.model(fold)) for fold in folds}
    require_sizes(settings, truth, trained)
    histories = {fold: history.read(paths.history(fold)) for fold in folds}
    curves = history.curves(histories)
    how = Settings.of(settings)
    parameters = sum(models.count_parameters(each.model) for each in trained.values())
    network = models.describe(settings.train.network, parameters, sizes_of(settings.train.size, how.scales))
    count = Counter(roles[car_of(name)] for name in truth.names)
    validation, test = sum(count[str(fold)] for fold in folds), count[split.TEST]
    say(f"Scoring {validation} photos of validation cars and {test} of test cars: {network}\nby {how.describe()}")
    makes = split.read_makes(paths.METADATA)
    with Bar(total=validation + test, desc="evaluate", unit=" photos") as bar:
        findings = scoring.find(trained, paths.TRAIN, truth, roles, makes, how, bar.update)
    summaries = {role: scoring.summarise(scores) for role, scores in findings.by_role.items()}
    model = {
        "parameters": parameters,
        "epochs": sum(map(len, histories.values())),
        # Scores differ by rounding between engines and between precisions.
        "engine": how.engine,
        "precision": device.precision_name(how.on),
    }

    write_tables(findings, curves)
    trained_on = {car for car, role in roles.items() if role not in (split.TEST, str(folds[0]))}
    batch = examples.training_batch(truth, trained_on, settings.augment, settings.train.seed)
    error_map, samples = pictures.error_map(examples.shares(findings, truth)), pictures.training_samples(*batch)
    write_pictures(findings, error_map, samples, workers)
    predictions = examples.extremes(findings, settings.report.worst, settings.report.best)
    shown = [score for scores in predictions.values() for score in scores]
    drawn = examples.draw(shown, findings, paths.TRAIN, workers, lambda _, tiles: pictures.encode(tiles))
    origin = about.collect(facts(settings, network, how, len(truth.names)))
    content = report.render(origin, findings, curves, predictions, drawn, error_map, samples)
    with whole_file(paths.REPORT) as temporary:
        temporary.write_text(content, encoding="utf-8")
    write_json(paths.EVALUATION, summaries | {"model": model})


def require_sizes(settings: Params, truth: Cache, trained: dict[int, Trained]) -> None:
    """Raises UserError if the cache or a model was made for other sizes than params.yaml has."""
    truth.require_size(settings.train.size, "resize")
    for fold, one in trained.items():
        if one.size != settings.train.size:
            raise UserError(f"{paths.model(fold)} was made for another train.size; `dvc repro train` makes it again")


def write_tables(findings: Findings, curves: pd.DataFrame) -> None:
    import pandas as pd

    from carvana.results import scoring

    scores = pd.DataFrame(scoring.worst_first(findings.scores))
    for path, table in ((paths.SCORES, scores), (paths.CURVES, curves)):
        with whole_file(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6f")


def write_pictures(findings: Findings, error_map: Tiles, samples: Tiles, workers: int) -> None:
    """Writes the pictures for `dvc plots`."""
    from carvana.results import examples, pictures
    from carvana.results.scoring import Score

    def sheet(score: Score, tiles: Tiles) -> bytes:
        return pictures.sheet(tiles, 2, f"{score.role} car {score.image}: Dice {score.dice:.4f}")

    same = examples.same(findings)
    drawn = examples.draw(same, findings, paths.TRAIN, workers, sheet)
    sheets = {f"{score.role}-{score.image.removesuffix('.jpg')}": drawn[score.image] for score in same}
    sheets |= {"error-map": pictures.sheet(error_map, 4), "training-samples": pictures.sheet(samples, 2)}
    with whole_folder(paths.PICTURES) as folder:
        for name, jpeg in sheets.items():
            (folder / f"{name}.jpg").write_bytes(jpeg)


def facts(settings: Params, network: str, how: Settings, photos: int) -> dict[str, str]:
    """Returns the data, the network and the machine of an evaluation, in words."""
    from carvana.devices import device
    from carvana.results import about

    data, folds = settings.data, settings.train.folds
    source = f"{data.source} ({data.local_dir})" if data.source == "local" else data.source
    found = {
        "data": f"{source}, {data.quality}: {photos:,} photos with masks",
        "network": f"{network}; folds: {', '.join(map(str, folds))}",
        "evaluated by": how.describe(),
        "machine": f"{device.processor(how.on)}, {processes.cores()} cores",
    }
    for fold in folds:
        if (path := paths.training_speed(fold)).exists():
            record = speed.Speed.parse(path.read_text(encoding="utf-8"), str(path))
            found[f"training of fold {fold}"] = about.training(record)
    return found


if __name__ == "__main__":
    command_line("evaluate", __doc__).parse_args()
    run(main, "evaluate")
