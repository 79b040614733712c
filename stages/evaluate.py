"""Writes scores on unseen cars, and pictures of them, to metrics/: `python -m stages.evaluate`."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from carvana.base import params, paths
from carvana.base.console import Bar, say
from carvana.base.errors import UserError
from carvana.base.files import whole_file, whole_folder, write_json
from carvana.base.stage import command_line, run
from carvana.competition import car_of

if TYPE_CHECKING:
    from carvana.base.params import Params
    from carvana.networks.checkpoint import Trained


def main() -> None:
    import pandas as pd

    from carvana.data import cache, split
    from carvana.devices import device
    from carvana.networks import checkpoint, models
    from carvana.networks.sizes import sizes_of
    from carvana.prediction.settings import Settings
    from carvana.results import about, examples, pictures, report, scoring
    from carvana.training import history

    settings = params.load(paths.PARAMS)
    folds, workers = settings.train.folds, settings.runtime.workers
    truth = cache.read(paths.CACHE, settings.train.size)
    roles = split.read(paths.SPLIT, truth.names)
    trained = {fold: checkpoint.load(paths.model(fold)) for fold in folds}
    require_sizes(settings, trained)
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

    scores = pd.DataFrame(scoring.worst_first(findings.scores))
    for path, table in ((paths.SCORES, scores), (paths.CURVES, curves)):
        with whole_file(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6f")
    trained_on = {car for car, role in roles.items() if role not in (split.TEST, str(folds[0]))}
    batch = examples.training_batch(truth, trained_on, settings.augment, settings.train.seed)
    error_map, samples = pictures.error_map(examples.shares(findings, truth)), pictures.training_samples(*batch)
    sheets = examples.sheets(findings, paths.TRAIN, workers)
    sheets |= {"error-map": pictures.sheet(error_map, 4), "training-samples": pictures.sheet(samples, 2)}
    with whole_folder(paths.PICTURES) as folder:
        for name, jpeg in sheets.items():
            (folder / f"{name}.jpg").write_bytes(jpeg)
    predictions = examples.extremes(findings, settings.report.worst, settings.report.best)
    shown = [score for scores in predictions.values() for score in scores]
    drawn = examples.draw(shown, findings, paths.TRAIN, workers, lambda _, tiles: pictures.encode(tiles))
    origin = about.collect(about.facts(settings, network, how, len(truth.names)))
    content = report.render(origin, findings, curves, predictions, drawn, error_map, samples)
    with whole_file(paths.REPORT) as temporary:
        temporary.write_text(content, encoding="utf-8")
    write_json(paths.EVALUATION, summaries | {"model": model})


def require_sizes(settings: Params, trained: dict[int, Trained]) -> None:
    """Raises UserError if a model was made for another size than params.yaml has."""
    for fold, one in trained.items():
        if one.size != settings.train.size:
            raise UserError(f"{paths.model(fold)} was made for another train.size; `dvc repro train` makes it again")


if __name__ == "__main__":
    command_line("evaluate", __doc__).parse_args()
    run(main, "evaluate")
