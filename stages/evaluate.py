"""Writes scores on unseen cars, and pictures of them, to metrics/: `python -m stages.evaluate`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from carvana.base import params, paths, speed
from carvana.base.console import Bar, dice_of, say
from carvana.base.errors import UserError
from carvana.base.files import whole_folder, write_json, write_text
from carvana.base.stage import command_line, run
from carvana.competition import car_of

if TYPE_CHECKING:
    from pandas import DataFrame

    from carvana.base.params import Params
    from carvana.data.cache import Cache
    from carvana.results.scoring import Findings


def main() -> None:
    import pandas as pd

    from carvana.data import cache, split
    from carvana.devices import device
    from carvana.networks import checkpoint, models
    from carvana.networks.sizes import sizes_of
    from carvana.prediction.settings import Settings
    from carvana.results import about, scoring
    from carvana.training import history

    settings = params.load(paths.PARAMS)
    folds = settings.train.folds
    speed.warn_of_other_packages(folds)
    truth = cache.read(paths.CACHE, settings.train.size)
    roles = split.read(paths.SPLIT, truth.names)
    trained = {fold: checkpoint.load(paths.model(fold)) for fold in folds}
    for fold, each in trained.items():
        if each.size != settings.train.size:
            raise UserError(f"{paths.model(fold)} was made for another train.size; `dvc repro train` makes it again")
    histories = {fold: history.read(paths.history(fold)) for fold in folds}
    how = Settings.of(settings)
    parameters = sum(models.count_parameters(each.model) for each in trained.values())
    network = models.describe(settings.train.network, parameters, sizes_of(settings.train.size, how.scales))
    count = Counter(roles[car_of(name)] for name in truth.names)
    validation, test = sum(count[str(fold)] for fold in folds), count[split.TEST]
    say(f"Scoring {validation} photos of validation cars and {test} of test cars: {network}\nby {how.describe()}")
    makes = split.read_makes(paths.METADATA)
    with Bar(total=validation + test, desc="evaluate", unit=" photos") as bar:
        findings = scoring.find(trained, paths.TRAIN, truth, roles, makes, how, bar.update)
    model = {
        "parameters": parameters,
        "epochs": sum(map(len, histories.values())),
        # Scores differ by rounding between engines and between precisions.
        "engine": how.engine,
        "precision": device.precision_name(how.on),
    }

    curves = history.curves(histories)
    for path, table in ((paths.SCORES, pd.DataFrame(scoring.worst_first(findings.scores))), (paths.CURVES, curves)):
        write_text(path, table.to_csv(index=False, float_format="%.6f"))
    cars = {car for car, role in roles.items() if role not in (split.TEST, str(folds[0]))}
    draw(settings, findings, truth, cars, curves, about.facts(settings, network, how, len(truth.names)))
    summaries = {role: scoring.summarise(scores) for role, scores in findings.by_role.items()}
    write_json(paths.EVALUATION, summaries | {"model": model})
    for role, scores in sorted(summaries.items()):
        say(dice_of(role, scores))


def draw(
    settings: Params, findings: Findings, truth: Cache, cars: set[str], curves: DataFrame, facts: dict[str, str]
) -> None:
    """Writes metrics/pictures and metrics/report.html; `cars` are those of which augmented photos are shown."""
    from carvana.results import about, examples, pictures, report

    workers = settings.runtime.workers
    batch = examples.training_batch(truth, cars, settings.augment, settings.train.seed)
    error_map, samples = pictures.error_map(examples.shares(findings, truth)), pictures.training_samples(*batch)
    sheets = examples.sheets(findings, paths.TRAIN, workers)
    sheets |= {"error-map": pictures.sheet(error_map, 4), "training-samples": pictures.sheet(samples, 2)}
    with whole_folder(paths.PICTURES) as folder:
        for name, jpeg in sheets.items():
            (folder / f"{name}.jpg").write_bytes(jpeg)
    predictions = examples.extremes(findings, settings.report.worst, settings.report.best)
    shown = [score for scores in predictions.values() for score in scores]
    drawn = examples.draw(shown, findings, paths.TRAIN, workers, lambda _, tiles: pictures.encode(tiles))
    content = report.render(about.collect(facts), findings, curves, predictions, drawn, error_map, samples)
    write_text(paths.REPORT, content)


if __name__ == "__main__":
    command_line("evaluate", __doc__).parse_args()
    run(main, "evaluate")
