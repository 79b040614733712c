"""Pseudo-labels: predictions of a finished experiment, which become masks to train the next one on."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np

from carvana.base import paths
from carvana.base.console import say
from carvana.base.errors import UserError, reading, some
from carvana.competition import HEIGHT, WIDTH
from carvana.data import split
from carvana.data.archive import Archive
from carvana.masks import rle, shards

_AGAIN = "`dvc get` it again"

# Photos for each with a true mask: with all 100,064 of the contest, the cache would have 630 GB at 1024×1536.
FOR_EACH = 4


@dataclass(frozen=True)
class Labels:
    """Shards, the photos on which they show a car, in the shards' order, and those on which they show none."""

    shards: list[Path]
    names: list[str]
    empty: list[str]

    def at_most(self, count: int) -> Self:
        """Returns `count` of the photos with a car, spread evenly over all of them; all if they are not more."""
        places = np.linspace(0, len(self.names) - 1, min(count, len(self.names))).round().astype(int)
        return replace(self, names=[self.names[place] for place in places])

    def each_runs(self) -> Iterator[rle.Runs]:
        """Yields the runs at 1918×1280 of every photo with a car, in the order of `names`."""
        wanted = set(self.names)
        return (runs for path in self.shards for name, runs in shards.read(path, _AGAIN) if name in wanted)


NONE = Labels([], [], [])


def require_unseen(folder: Path, roles: dict[str, str]) -> None:
    """Raises UserError if the teacher whose predictions a folder has was trained on a test car of `roles`.

    The folder's split.csv says which cars it was trained on; without one, which earlier versions did not write, a
    warning is printed.
    """
    path = folder / paths.SPLIT.name
    if not path.exists():
        say(f"warning: {folder} has no {path.name}: if its teacher was trained on test cars, their scores are too high")
        return
    teachers = split.read(path, advice=_AGAIN)
    trained_on = {car for car, role in teachers.items() if role != split.TEST}
    if seen := [car for car, role in roles.items() if role == split.TEST and car in trained_on]:
        raise UserError(
            f"the teacher of {folder} was trained on {len(seen)} of the test cars ({some(seen)}), whose scores would "
            "be too high; set split.seed and split.test_fraction as they were for the teacher, or train it again"
        )


def read(folder: Path, photos: Path) -> Labels:
    """Returns the labels in a folder of shards (`*.parquet`), all of them checked.

    Raises UserError if there are none, if a shard is damaged or has no masks, or if its photos are not of the zip.
    """
    parts = sorted(folder.glob("*.parquet"))
    if not parts:
        raise UserError(
            f"{folder} has no shards of run lists (*.parquet); copy an experiment's predictions there, by "
            f"`dvc get . data/predictions --rev EXPERIMENT -o {folder}`"
        )
    has_car: dict[str, bool] = {}
    for path in parts:
        for name, runs in shards.read(path, _AGAIN):
            with reading(path, f"has runs of {name} that are no mask", _AGAIN):
                rle.check(runs, HEIGHT, WIDTH)
            if name in has_car:
                raise UserError(f"{folder} has two labels for {name}; keep the shards of one experiment")
            has_car[name] = len(runs) > 0
    with Archive(photos) as archive:
        unknown = sorted(has_car.keys() - set(archive.photos))
    if unknown:
        raise UserError(
            f"{folder} has labels for photos that are not in {photos}: {some(unknown)}; set train.pseudo_photos to the "
            f"zip from which they were predicted"
        )
    names = [name for name, has in has_car.items() if has]
    empty = [name for name, has in has_car.items() if not has]
    if not names:
        raise UserError(f"{folder} shows no car on any of its {len(empty)} photos; take another experiment's labels")
    return Labels(parts, names, empty)
