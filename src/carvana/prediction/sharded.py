"""Predicts all photos of a zip into shards of runs; finished shards are kept, however the process ends."""

from itertools import islice
from pathlib import Path

from carvana.base.console import Bar
from carvana.base.speed import Stopwatch
from carvana.data.archive import Archive
from carvana.devices import distributed
from carvana.masks import shards
from carvana.masks.rle import Runs
from carvana.prediction.inference import Damaged, Ensemble, predict
from carvana.prediction.settings import Settings


def sweep(ensemble: Ensemble, archive: Archive, folder: Path, how: Settings, watch: Stopwatch) -> list[Damaged]:
    """Writes this process's missing shards into `folder`, and returns the photos that cannot be read.

    A shard with such a photo is left out. `watch` counts the photos. Raises UserError as `predict` does.
    """
    parts = shards.plan(archive.photos)
    mine = range(distributed.rank(), len(parts), distributed.world())
    missing = [number for number in mine if not shards.is_whole(shards.path_of(folder, number), parts[number])]
    total = sum(len(parts[number]) for number in mine)
    todo = [photo for number in missing for photo in parts[number]]
    outcomes = predict(ensemble, archive.path, todo, how)
    damaged: list[Damaged] = []
    quiet = distributed.rank() != 0
    with Bar(total=total, initial=total - len(todo), desc="predict", unit=" photos", quiet=quiet) as bar:
        for number in missing:
            runs: list[Runs] = []
            for outcome in islice(outcomes, len(parts[number])):
                if isinstance(outcome, Damaged):
                    damaged.append(outcome)
                else:
                    runs.append(outcome.runs)
                bar.update()
                watch.add_photo()
            if len(runs) == len(parts[number]):
                shards.write(shards.path_of(folder, number), parts[number], runs)
    return damaged
