"""Predicts all photos of a zip into shards of runs; finished shards are kept, however the process ends."""

from itertools import islice
from pathlib import Path

from carvana.base.console import Bar
from carvana.base.errors import UserError, some
from carvana.base.files import whole_file
from carvana.base.speed import Stopwatch
from carvana.data.archive import Archive
from carvana.devices import distributed
from carvana.masks import shards
from carvana.masks.rle import Runs
from carvana.prediction.inference import Damaged, Ensemble, predict
from carvana.prediction.settings import Settings


def sweep(ensemble: Ensemble, archive: Archive, folder: Path, how: Settings, watch: Stopwatch) -> list[Damaged]:
    """Writes this process's part of the shards that no process has into `folder`; returns photos that cannot be read.

    A shard with such a photo is left out. `watch` counts the photos. Raises UserError as `predict` does.
    """
    parts = shards.plan(archive.photos)
    kept = _owners(parts, folder)
    missing = [number for number in range(len(parts)) if number not in kept][distributed.rank() :: distributed.world()]
    todo = [photo for number in missing for photo in parts[number]]
    done = sum(len(parts[number]) for number in kept)
    outcomes = predict(ensemble, archive.path, todo, how)
    damaged: list[Damaged] = []
    quiet = distributed.rank() != 0
    bar = Bar(total=done + len(todo), initial=done, desc="predict", unit=" photos", quiet=quiet)
    with distributed.until_all_are_done(), bar:
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


def collect(archive: Archive, folder: Path) -> list[Path]:
    """Returns the paths of all shards, which the first process has then: other machines send theirs.

    Raises UserError unless every photo of the zip is in a shard that is undamaged.
    """
    parts = shards.plan(archive.photos)
    paths = [shards.path_of(folder, number) for number in range(len(parts))]
    is_first = distributed.rank() == 0
    for number, source in _owners(parts, folder).items():
        if source:
            data = distributed.sent_to_first(paths[number].read_bytes, source)
            if is_first:
                with whole_file(paths[number]) as temporary:
                    temporary.write_bytes(data)
    if not is_first:
        return paths
    lacking = [path.name for path, photos in zip(paths, parts, strict=True) if not shards.is_whole(path, photos)]
    if lacking:
        raise UserError(f"{folder} lacks {some(lacking)} of {len(parts)} shards; start again: the others are kept")
    return paths


def _owners(parts: list[list[str]], folder: Path) -> dict[int, int]:
    """Returns, for every shard that is whole in some process's folder, the first process that has it."""
    numbers = [number for number, photos in enumerate(parts) if shards.is_whole(shards.path_of(folder, number), photos)]
    return dict(reversed(distributed.gathered([(number, distributed.rank()) for number in numbers])))
