"""Writes run lists of every test photo to data/predictions: `python -m stages.predict`."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from carvana.base import console, definition, files, params, paths, speed, torchrun, unfinished
from carvana.base.errors import UserError, some
from carvana.base.files import link_or_copy, whole_folder
from carvana.base.speed import Speed, Stopwatch
from carvana.base.stage import command_line, run

if TYPE_CHECKING:
    from carvana.data.archive import Archive
    from carvana.prediction.inference import Damaged, Ensemble
    from carvana.prediction.settings import Settings


def main() -> None:
    from carvana.data.archive import Archive
    from carvana.devices import distributed
    from carvana.networks import checkpoint
    from carvana.prediction.inference import Ensemble
    from carvana.prediction.settings import Settings
    from carvana.prediction.sharded import collect, sweep

    settings = params.load(paths.PARAMS)
    if torchrun.launch(settings.runtime.processes, "stages.predict"):
        return
    files_of_models = [paths.model(fold) for fold in settings.train.folds]
    how = Settings.of(settings)
    with Archive(paths.TEST) as archive, distributed.joined(how.on, in_step=False) as on:
        how, first = replace(how, on=on), distributed.rank() == 0
        # Other machines need no models of their own.
        trained = distributed.from_first(lambda: list(map(checkpoint.load, files_of_models)))
        ensemble = Ensemble(trained, how.flip, how.scales)
        digests = distributed.from_first(lambda: list(map(files.digest, files_of_models)))
        name = fingerprint(archive, digests, settings, how)
        folder = distributed.from_first(lambda: begin(name))
        if first:
            speed.warn_of_other_packages(settings.train.folds)
            console.say(plan(settings, ensemble, len(archive.photos), how))
        watch = Stopwatch()
        damaged = distributed.gathered(sweep(ensemble, archive, folder, how, watch))
        each = distributed.gathered([(watch.seconds, watch.photos, watch.photos_per_second)])
        require_none(damaged)
        shards = collect(archive, folder)
        if first:
            # Finished shards also stay in place, in case `dvc` is killed right after.
            with whole_folder(paths.PREDICTIONS) as temporary:
                for path in shards:
                    link_or_copy(path, temporary / path.name)
                # A student of these predictions must not be tested on cars of this training.
                shutil.copyfile(paths.SPLIT, temporary / paths.SPLIT.name)
            write_speed(each, how)
            unfinished.finish(folder, [paths.PREDICTIONS])


def fingerprint(archive: Archive, models: list[str], settings: params.Params, how: Settings) -> str:
    """Returns a name for this prediction: a digest of all that its runs depend on, including the device's rounding.

    `models` are digests of the models' files. Raises UserError if another machine differs in any of it.
    """
    from carvana.devices import device, distributed

    inputs = {
        "test": archive.digest(),
        "models": str(models),
        "predict": settings.predict.model_dump_json(),
        "versions": str(unfinished.versions()),
        "device": f"{how.on.type}, {how.engine}, {device.precision_name(how.on)}",
    }
    code = definition.read("predict").files
    distributed.require_same(inputs | {"code": unfinished.fingerprint({}, code)})
    return unfinished.fingerprint(inputs, code)


def begin(name: str) -> Path:
    """Returns the folder of this prediction, with the shards of an unfinished run."""
    unfinished.discard_if_recorded(paths.PREDICTED / name, paths.LOCK, "predict")
    return unfinished.subfolder(paths.PREDICTED, name, kept=1)


def plan(settings: params.Params, ensemble: Ensemble, photos: int, how: Settings) -> str:
    """Returns what a prediction is about to do, in words."""
    from carvana.devices import distributed
    from carvana.networks import models

    network = models.describe(settings.train.network, models.count_parameters(ensemble), ensemble.sizes)
    several = f", mean of {len(ensemble.models)} models" if len(ensemble.models) > 1 else ""
    mirrored = ", each as it is and mirrored" if how.flip else ""
    processes = f", in {distributed.world()} processes" if distributed.world() > 1 else ""
    return f"Predicting {photos} photos{mirrored}: {network}{several}\nby {how.describe()}{processes}"


def require_none(damaged: list[Damaged]) -> None:
    if damaged:
        names, first = some([each.photo for each in damaged], 100), damaged[0].reason
        advice = f"all other shards are kept; replace {paths.TEST}, by `dvc repro -f download` for one"
        raise UserError(f"{len(damaged)} photos cannot be read: {names} (the first: {first}); {advice}")


def write_speed(each: list[tuple[float, int, float]], how: Settings) -> None:
    """Writes the record of this run's speed; `each` has the seconds, photos and photos per second of every process."""
    from carvana.devices import device

    seconds, photos, rates = zip(*each, strict=True)
    by = device.facts(how.on) | {"engine": how.engine, "processes": len(each), "threads": how.threads}
    speed.write(paths.PREDICTION_SPEED, Speed(max(seconds), sum(photos), sum(rates), **by))


if __name__ == "__main__":
    command_line("predict", __doc__).parse_args()
    run(main, "predict")
