"""The training cache: photos and soft masks at the network's size in two .npy files, true runs, and an index.

    photos.npy      uint8 [n, height, width, 3], RGB
    masks.npy       uint8 [n, height, width], coverage 0–255
    truth.parquet   the runs of every row's mask at 1918×1280, to score training at full size
    index.csv       the photo's name of every row, and a digest of its content in the other files

A cache of pseudo-labelled photos has the same files, except truth.parquet: its masks are not true.
Both arrays are memory-mapped to read a batch, so that training needs no more memory than its batches.
"""

import csv
import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from carvana.base.console import Bar
from carvana.base.errors import UserError, reading
from carvana.base.files import whole_folder
from carvana.competition import HEIGHT, WIDTH, mask_of
from carvana.data import photos
from carvana.data.archive import Archive
from carvana.masks import rle, shards

if TYPE_CHECKING:
    from torch import Tensor

_TRUTH, _INDEX = "truth.parquet", "index.csv"
_COLUMNS = ["image", "digest"]
_INCOMPLETE, _DISAGREE = "is not a complete cache", "its files disagree"
_AT_A_TIME = 4  # photos that a worker resizes before it sends them


@dataclass(frozen=True)
class Cache:
    """The names of a cache's rows, and its photos and masks, read by row."""

    folder: Path
    names: list[str]
    size: tuple[int, int]

    def read_photos(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Returns photos uint8 [n, height, width, 3] of some rows."""
        return _map(self.folder, "photos")[rows]

    def read_masks(self, rows: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Returns masks uint8 [n, height, width] of some rows, coverage 0–255."""
        return _map(self.folder, "masks")[rows]

    def each_truth(self) -> Iterator[tuple[str, rle.Runs]]:
        """Yields every photo's name and the runs of its mask at 1918×1280, in the order of the rows."""
        return shards.read(self.folder / _TRUTH)

    def read_truth(self, rows: NDArray[np.integer]) -> list[rle.Runs]:
        """Returns the runs at 1918×1280 of some rows' masks."""
        wanted = {self.names[row] for row in rows}
        truth = {name: runs for name, runs in self.each_truth() if name in wanted}
        return [truth[self.names[row]] for row in rows]

    def require_size(self, size: tuple[int, int], stage: str) -> None:
        """Raises UserError, which names the stage that makes the cache, if it is not of `size` (height, width)."""
        if self.size != size:
            raise UserError(f"{self.folder} was made for another train.size; `dvc repro {stage}` makes it again")

    def digest(self) -> str:
        """Returns a digest of the content, computed from the index alone."""
        return hashlib.sha256((self.folder / _INDEX).read_bytes()).hexdigest()


@dataclass(frozen=True)
class _Rows:
    """Some rows as a worker has made them: photos, soft masks, the masks' runs, and a digest of each row."""

    photos: "Tensor"
    masks: "Tensor"
    runs: list[rle.Runs]
    digests: list[str]


def _map(folder: Path, kind: str) -> np.memmap:
    # Mapped anew for each batch: the pages of an open map would accumulate in the process's memory. Mapping takes about
    # 50 µs, and the operating system caches the pages either way.
    return np.lib.format.open_memmap(folder / f"{kind}.npy", mode="r")


def read(folder: Path) -> Cache:
    """Opens a cache that `write` wrote. Raises UserError if it is missing, incomplete or of another form."""
    with reading(folder, _INCOMPLETE, "`dvc repro resize` makes it again"):
        cache = _open_arrays(folder)
        if shards.read_names(folder / _TRUTH) != cache.names:
            raise ValueError(_DISAGREE)
        return cache


def read_labelled(folder: Path) -> Cache:
    """Opens a cache that `write_labelled` wrote, which has no truth. Raises UserError as `read` does."""
    with reading(folder, _INCOMPLETE, "`dvc repro label` makes it again"):
        return _open_arrays(folder)


def _open_arrays(folder: Path) -> Cache:
    names = _names(folder / _INDEX)
    count, height, width = _shape(folder, "masks", 3)
    if _shape(folder, "photos", 4) != (count, height, width, 3) or count != len(names):
        raise ValueError(_DISAGREE)
    return Cache(folder, names, (height, width))


def _names(index: Path) -> list[str]:
    with index.open(encoding="ascii", newline="") as file:
        rows = list(csv.reader(file))
    if rows[:1] != [_COLUMNS] or any(len(row) != len(_COLUMNS) for row in rows):
        raise ValueError(f"{index.name} has other columns than {', '.join(_COLUMNS)}")
    return [name for name, _ in rows[1:]]


def _shape(folder: Path, kind: str, sides: int) -> tuple[int, ...]:
    """Returns the shape of an array. Raises ValueError unless its file is exactly as `write` writes it."""
    array, path = _map(folder, kind), folder / f"{kind}.npy"
    if array.dtype != np.uint8 or not array.flags.c_contiguous or array.ndim != sides:
        raise ValueError(f"{path.name} is not an array of uint8 with {sides} axes in C order")
    if path.stat().st_size != array.offset + array.nbytes:
        raise ValueError(f"{path.name} is longer than its array")
    return array.shape


def write(train: Path, train_masks: Path, folder: Path, size: tuple[int, int], workers: int) -> None:
    """Writes a cache of the photos and masks of Kaggle's zips, at `size` = (height, width), by `workers` processes."""
    with Archive(train) as archive:
        names = archive.photos
    with whole_folder(folder) as temporary:
        runs = _fill(temporary, _Source(train, names, size, masks=train_masks), workers, "resize")
        shards.write(temporary / _TRUTH, names, runs)


def write_labelled(
    train: Path,
    names: list[str],
    runs_of: Callable[[str], rle.Runs],
    folder: Path,
    size: tuple[int, int],
    workers: int,
) -> None:
    """Writes a cache of some photos of a zip, whose masks are given as runs at 1918×1280 by the photo's name.

    Neither the zip nor a process is opened if there are no names.
    """
    with whole_folder(folder) as temporary:
        _fill(temporary, _Source(train, names, size, runs_of=runs_of), workers, "label")


class _Source:
    """Photos and masks by their row, as a data set of torch's; every process that reads them opens the zips itself.

    Masks are those of the zip `masks`, or what `runs_of` returns for a photo's name.
    """

    def __init__(
        self,
        photos: Path,
        names: list[str],
        size: tuple[int, int],
        masks: Path | None = None,
        runs_of: Callable[[str], rle.Runs] | None = None,
    ) -> None:
        self.names, self.size = names, size
        self._paths, self._runs_of = (photos, masks), runs_of
        self._archives: list[Archive] = []

    def __len__(self) -> int:
        return len(self.names)

    def __getitems__(self, rows: list[int]) -> _Rows | UserError:
        """Returns rows, or why one of them cannot be made: torch would add a traceback to what a worker raises."""
        try:
            return self._make(rows)
        except UserError as error:
            return error

    def _make(self, rows: list[int]) -> _Rows:
        from carvana.data.loader import empty  # noqa: PLC0415 - seconds of imports, for which an empty cache has no use

        if not self._archives:
            self._archives = [Archive(path) for path in self._paths if path]
        made = _Rows(empty(len(rows), *self.size, 3), empty(len(rows), *self.size), [], [])
        for row, photo, soft in zip(rows, made.photos.numpy(), made.masks.numpy(), strict=True):
            name = self.names[row]
            photo[...] = photos.decode_photo(self._archives[0].read(name), name, self.size)
            mask, runs = self._mask(name)
            soft[...] = photos.soften(mask, self.size)
            digest = hashlib.blake2b(digest_size=16)
            for part in (photo, soft, runs):
                digest.update(np.ascontiguousarray(part).data)
            made.runs.append(runs)
            made.digests.append(digest.hexdigest())
        return made

    def _mask(self, name: str) -> tuple[NDArray[np.uint8], rle.Runs]:
        """Returns a photo's mask uint8 [1280, 1918] of {0, 1}, and its runs."""
        if self._runs_of is not None:
            runs = self._runs_of(name)
            return rle.to_mask(runs, HEIGHT, WIDTH), runs
        mask = photos.decode_mask(self._archives[1].read(mask_of(name)), mask_of(name))
        return mask, rle.to_runs(mask)


def _fill(folder: Path, source: _Source, workers: int, what: str) -> list[rle.Runs]:
    """Writes arrays and index of a source's rows; returns the runs of their masks."""
    runs: list[rle.Runs] = []
    digests: list[str] = []
    shape = (len(source), *source.size)
    with (
        _array(folder / "photos.npy", (*shape, 3)) as photos_file,
        _array(folder / "masks.npy", shape) as masks_file,
        Bar(total=len(source), desc=what, unit=" photos") as bar,
    ):
        for made in _made(source, workers):
            # On a full disk a memory map would die of SIGBUS; a file raises OSError.
            photos_file.write(made.photos.numpy().data)
            masks_file.write(made.masks.numpy().data)
            runs += made.runs
            digests += made.digests
            bar.update(len(made.digests))
    index = [f"{name},{digest}" for name, digest in zip(source.names, digests, strict=True)]
    (folder / _INDEX).write_text("\n".join([",".join(_COLUMNS), *index, ""]), encoding="ascii")
    return runs


def _made(source: _Source, workers: int) -> Iterator[_Rows]:
    if not len(source):
        return
    from carvana.data import loader  # noqa: PLC0415 - as above

    row_bytes = source.size[0] * source.size[1] * 4
    for made in loader.batches(source, len(source), _AT_A_TIME, row_bytes, workers):
        if isinstance(made, UserError):
            raise made
        yield made


def _array(path: Path, shape: tuple[int, ...]) -> BinaryIO:
    """Opens a file for an array of uint8, after its header."""
    file = path.open("wb")
    header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    # With the space reserved, a full disk is an error here rather than half-way.
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, file.tell() + int(np.prod(shape)))
    return file
