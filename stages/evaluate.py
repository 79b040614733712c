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
    from carvana.results.about import About
    from carvana.results.report import Shown
    from carvana.results.totals import Findings


def main() -> None:
    from carvana.data import cache, split
    from carvana.devices import device
    from carvana.networks import checkpoint, models
    from carvana.networks.sizes import sizes_of
    from carvana.prediction.settings import Settings
    from carvana.results import report, scoring
    from carvana.training import history

    settings = params.load(paths.PARAMS)
    truth = cache.read(paths.CACHE)
    roles = split.read(paths.SPLIT, truth.names)
    trained = {fold: checkpoint.load(paths.model(fold)) for fold in settings.train.folds}
    require_sizes(settings, truth, trained)
    histories = {fold: history.read(paths.history(fold)) for fold in settings.train.folds}
    how = Settings.of(settings)
    parameters = sum(models.count_parameters(each.model) for each in trained.values())
    network = models.describe(settings.train.network, parameters, sizes_of(settings.train.size, how.scales))
    count = Counter(roles[car_of(name)] for name in truth.names)
    validation, test = sum(count[str(fold)] for fold in trained), count[split.TEST]
    say(f"Scoring {validation} photos of validation cars and {test} of test cars: {network}\nby {how.describe()}")
    with Bar(total=validation + test, desc="evaluate", unit=" photos") as bar:
        findings = find(how, roles, truth, trained, bar)
    summaries = {role: scoring.summarise(findings.of(role)) for role in findings.roles}
    curves = history.curves(histories)
    model = {
        "parameters": parameters,
        "epochs": sum(map(len, histories.values())),
        # Scores differ by rounding between engines and between precisions.
        "engine": how.engine,
        "precision": device.precision_name(how.on),
    }

    write_tables(findings, curves)
    shown = draw(settings, roles, truth, findings)
    about = describe(settings, network, how, len(truth.names))
    with whole_file(paths.REPORT) as temporary:
        temporary.write_text(report.render(about, findings, summaries, curves, shown), encoding="utf-8")
    write_json(paths.EVALUATION, summaries | {"model": model})


def require_sizes(settings: Params, truth: Cache, trained: dict[int, Trained]) -> None:
    """Raises UserError if the cache or a model was made for other sizes than params.yaml has."""
    truth.require_size(settings.train.size, "resize")
    for fold, one in trained.items():
        if one.size != settings.train.size:
            raise UserError(f"{paths.model(fold)} was made for another train.size; `dvc repro train` makes it again")


def find(how: Settings, roles: dict[str, str], truth: Cache, trained: dict[int, Trained], bar: Bar) -> Findings:
    """Returns the findings of every model on its validation cars, and of all models together on the test cars."""
    from carvana.data import split
    from carvana.prediction.inference import Ensemble
    from carvana.results import scoring
    from carvana.results.totals import Findings

    makes = split.read_makes(paths.METADATA)
    findings = Findings()
    for members, wanted, role in [
        *(([one], str(fold), split.VALIDATION) for fold, one in trained.items()),
        (list(trained.values()), split.TEST, split.TEST),
    ]:
        cars = {car for car, found in roles.items() if found == wanted}
        ensemble = Ensemble(members, how.flip, how.scales)
        for scored in scoring.score_photos(ensemble, paths.TRAIN, truth, cars, makes, role, how):
            findings.add(scored)
            bar.update()
    return findings


def write_tables(findings: Findings, curves: pd.DataFrame) -> None:
    import pandas as pd

    from carvana.results import scoring

    for path, table in (
        (paths.SCORES, pd.DataFrame(scoring.worst_first(findings.scores))),
        (paths.CURVES, curves),
    ):
        with whole_file(path) as temporary:
            table.to_csv(temporary, index=False, float_format="%.6f")


def draw(settings: Params, roles: dict[str, str], truth: Cache, findings: Findings) -> Shown:
    """Writes the pictures for `dvc plots`; returns those for the page."""
    from carvana.data import split
    from carvana.results import examples, pictures
    from carvana.results.report import Shown

    first, workers = settings.train.folds[0], settings.runtime.workers
    trained_on = {car for car, role in roles.items() if role not in (split.TEST, str(first))}
    batch = examples.training_batch(truth, trained_on, settings.augment, settings.train.seed)
    samples, error_map = batch.tiles, examples.error_map(findings)
    with whole_folder(paths.PICTURES) as folder:
        sheets = examples.draw(examples.same(findings), findings, paths.TRAIN, workers, examples.on_sheet)
        sheets["error-map"] = pictures.jpeg(pictures.sheet(error_map, 4))
        sheets["training-samples"] = pictures.jpeg(pictures.sheet(samples, 2))
        for name, jpeg in sheets.items():
            (folder / f"{name}.jpg").write_bytes(jpeg)
    extremes = examples.extremes(findings, settings.report.worst, settings.report.best)
    predictions = examples.draw(extremes, findings, paths.TRAIN, workers, examples.on_page)
    return Shown(predictions, pictures.encode(error_map), pictures.encode(samples))


def describe(settings: Params, network: str, how: Settings, photos: int) -> About:
    """Returns what the report is of."""
    from carvana.devices import device
    from carvana.results import about

    data, folds = settings.data, settings.train.folds
    source = f"{data.source} ({data.local_dir})" if data.source == "local" else data.source
    facts = {
        "data": f"{source}, {data.quality}: {photos:,} photos with masks",
        "network": f"{network}; folds: {', '.join(map(str, folds))}",
        "evaluated by": how.describe(),
        "machine": f"{device.processor(how.on)}, {processes.cores()} cores",
    }
    for fold in folds:
        if (path := paths.training_speed(fold)).exists():
            found = speed.Speed.parse(path.read_text(encoding="utf-8"), str(path))
            facts[f"training of fold {fold}"] = about.training(found)
    return about.collect(facts)


if __name__ == "__main__":
    command_line("evaluate", __doc__).parse_args()
    run(main, "evaluate")
