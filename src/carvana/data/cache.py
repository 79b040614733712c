"""The training cache: photos and soft masks at the network's size in two .npy files, true runs, and an index.

    photos.npy      uint8 [n, height, width, 3], RGB
    masks.npy       uint8 [n, height, width], coverage 0–255
    truth.parquet   the runs of every row's mask at 1918×1280, to score training at full size
    index.csv       the photo's name of every row, and a digest of its content in the other files

A cache of pseudo-labelled photos has the same files, except truth.parquet: its masks are not true.
Both arrays are memory-mapped to read a batch, so that training needs no more memory than its batches.
"""

import hashlib
import math
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carvana.base.console import Bar
from carvana.base.errors import UserError, reading
from carvana.base.files import whole_folder
from carvana.competition import HEIGHT, WIDTH, mask_of
from carvana.data import loader, photos
from carvana.data.archive import Archive
from carvana.masks import rle, shards

_TRUTH, _INDEX = "truth.parquet", "index.csv"
_COLUMNS = ["image", "digest"]
_INCOMPLETE, _DISAGREE = "is not a complete cache", "its files disagree"


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
    header, *rows = (line.split(",") for line in (folder / _INDEX).read_text(encoding="ascii").splitlines())
    if header != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise ValueError(f"{_INDEX} has other columns than {', '.join(_COLUMNS)}")
    count, height, width = _shape(folder, "masks", 3)
    if _shape(folder, "photos", 4) != (count, height, width, 3) or count != len(rows):
        raise ValueError(_DISAGREE)
    return Cache(folder, [name for name, _ in rows], (height, width))


def _shape(folder: Path, kind: str, sides: int) -> tuple[int, ...]:
    """Returns the shape of an array. Raises ValueError unless its file is exactly as `write` writes it."""
    array, path = _map(folder, kind), folder / f"{kind}.npy"
    if array.dtype != np.uint8 or not array.flags.c_contiguous or array.ndim != sides:
        raise ValueError(f"{path.name} is not an array of uint8 with {sides} axes in C order")
    if path.stat().st_size != array.offset + array.nbytes:
        raise ValueError(f"{path.name} is longer than its array")
    return array.shape


def write(train: Path, train_masks: Path, folder: Path, size: tuple[int, int], processes: int) -> None:
    """Writes a cache of the photos and masks of Kaggle's zips, at `size` = (height, width).

    `processes` workers decode; with 0 this process does. Raises UserError if a photo or a mask cannot be read.
    """
    with Archive(train) as archive:
        names = archive.photos
    with whole_folder(folder) as temporary:
        writer = _Writer(temporary, train, train_masks, size)
        runs = list(_write_rows(writer, names, [None] * len(names), processes, "resize"))
        shards.write(temporary / _TRUTH, names, runs)


def write_labelled(
    train: Path, names: list[str], runs: Iterable[rle.Runs], folder: Path, size: tuple[int, int], processes: int
) -> None:
    """Writes a cache of some photos of a zip with masks given as runs at 1918×1280, in the order of `names`.

    Neither the zip nor a process is opened if there are no names. Raises UserError as `write` does.
    """
    with whole_folder(folder) as temporary:
        for _ in _write_rows(_Writer(temporary, train, None, size), names, runs, processes, "label"):
            pass  # The runs are not kept: there may be 100,000.


def _write_rows(
    writer: "_Writer", names: list[str], runs: Iterable[rle.Runs | None], processes: int, what: str
) -> Iterator[rle.Runs]:
    """Writes the arrays and the index of some photos, and yields the runs of each one's mask."""
    _reserve(writer.folder / "photos.npy", (len(names), *writer.size, 3))
    _reserve(writer.folder / "masks.npy", (len(names), *writer.size))
    lines = [",".join(_COLUMNS)]
    with Bar(total=len(names), desc=what, unit=" photos") as bar:
        tasks = zip(range(len(names)), names, runs, strict=True)
        for name, (found, digest) in zip(names, loader.each(writer, tasks, processes) if names else (), strict=True):
            lines.append(f"{name},{digest}")
            bar.update()
            yield found
    (writer.folder / _INDEX).write_text("\n".join([*lines, ""]), encoding="ascii")


def _reserve(path: Path, shape: tuple[int, ...]) -> None:
    """Makes the file of an array of uint8, with its header and, where the system can, room for all of its rows."""
    with path.open("wb") as file:
        header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        # A full disk is an error now rather than half-way.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, file.tell() + math.prod(shape))


class _Writer:
    """Decodes photos and masks, and writes them to their rows; workers share nothing but the files.

    To send rows to one process that writes them takes a quarter longer at 640×960.
    """

    def __init__(self, folder: Path, photos: Path, masks: Path | None, size: tuple[int, int]) -> None:
        self.folder, self.size = folder, size
        self._zips = photos, masks

    @cached_property
    def _archives(self) -> list[Archive]:
        # Every process that reads the zips opens them itself.
        return [Archive(path) for path in self._zips if path]

    def __call__(self, task: tuple[int, str, rle.Runs | None]) -> tuple[rle.Runs, str]:
        """Writes the row of a number, a name, and its mask's runs, or None if the mask is in a zip.

        Returns the runs, and a digest of the row.
        """
        row, name, runs = task
        photo = photos.decode_photo(self._archives[0].read(name), name, self.size)
        if runs is None:
            mask = photos.decode_mask(self._archives[1].read(mask_of(name)), mask_of(name))
            runs = rle.to_runs(mask)
        else:
            mask = rle.to_mask(runs, HEIGHT, WIDTH)
        soft = photos.soften(mask, self.size)
        digest = hashlib.blake2b(digest_size=16)
        for part in (photo, soft, runs):
            digest.update(np.ascontiguousarray(part).data)
        self._write("photos", row, photo)
        self._write("masks", row, soft)
        return runs, digest.hexdigest()

    def _write(self, kind: str, row: int, pixels: NDArray[np.uint8]) -> None:
        # On a full disk a memory map would die of SIGBUS; a file raises OSError.
        with (self.folder / f"{kind}.npy").open("r+b") as file:
            np.lib.format.read_magic(file)
            np.lib.format.read_array_header_1_0(file)
            file.seek(row * pixels.nbytes, os.SEEK_CUR)
            file.write(pixels.data)
