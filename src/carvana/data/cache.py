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
from dataclasses import dataclass, replace
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

Rows = NDArray[np.integer]

_TRUTH, _INDEX, _COLUMNS = "truth.parquet", "index.csv", "image,digest"


@dataclass(frozen=True)
class Cache:
    """The names of a cache's rows, and its photos and masks of `size` (height, width), read by row."""

    folder: Path
    names: list[str]
    size: tuple[int, int]
    more: Path | None = None
    """The folder of the rows behind its own, which have no truth; see `followed_by`."""

    def followed_by(self, other: "Cache") -> "Cache":
        """Returns this cache with the rows of another one, of the same size, behind its own."""
        return replace(self, names=[*self.names, *other.names], more=other.folder)

    def read_photos(self, rows: Rows) -> NDArray[np.uint8]:
        """Returns photos uint8 [n, height, width, 3] of some rows."""
        return self._read("photos", rows)

    def read_masks(self, rows: Rows) -> NDArray[np.uint8]:
        """Returns masks uint8 [n, height, width] of some rows, coverage 0–255."""
        return self._read("masks", rows)

    def _read(self, kind: str, rows: Rows) -> NDArray[np.uint8]:
        # Mapped anew for each batch: the pages of an open map would accumulate in the process's memory. Mapping takes
        # about 50 µs, and the operating system caches the pages either way.
        pixels = _map(self.folder, kind)
        own = rows < len(pixels)
        if self.more is None or own.all():
            return pixels[rows]
        found = np.empty((len(rows), *pixels.shape[1:]), np.uint8)
        found[own], found[~own] = pixels[rows[own]], _map(self.more, kind)[rows[~own] - len(pixels)]
        return found

    def each_truth(self) -> Iterator[tuple[str, rle.Runs]]:
        """Yields every photo's name and the runs of its mask at 1918×1280, in the order of the rows."""
        return shards.read(self.folder / _TRUTH)

    def read_truth(self, rows: Rows) -> list[rle.Runs]:
        """Returns the runs at 1918×1280 of some rows' masks."""
        wanted = {self.names[row] for row in rows}
        truth = {name: runs for name, runs in self.each_truth() if name in wanted}
        return [truth[self.names[row]] for row in rows]

    def digest(self) -> str:
        """Returns a digest of the content, computed from the index alone."""
        folders = [self.folder, self.more] if self.more else [self.folder]
        return hashlib.sha256(b"".join((folder / _INDEX).read_bytes() for folder in folders)).hexdigest()


def _map(folder: Path, kind: str) -> np.memmap:
    return np.lib.format.open_memmap(folder / f"{kind}.npy", mode="r")


def read(folder: Path, size: tuple[int, int] | None = None, labelled: bool = False) -> Cache:
    """Opens a cache of `write` or `write_labelled`. Raises UserError if it is damaged or not of `size` (None: any)."""
    again = f"`dvc repro {'label' if labelled else 'resize'}` makes it again"
    with reading(folder, "is not a complete cache", again):
        columns, *lines = (folder / _INDEX).read_text(encoding="ascii").splitlines()
        if columns != _COLUMNS or any(line.count(",") != 1 for line in lines):
            raise ValueError(f"{_INDEX} has other columns than {_COLUMNS}")
        names = [line.partition(",")[0] for line in lines]
        height, width = _map(folder, "masks").shape[1:3]
        for kind, shape in _shapes(len(names), (height, width)).items():
            array, path = _map(folder, kind), folder / f"{kind}.npy"
            fits = array.dtype == np.uint8 and array.flags.c_contiguous and array.shape == shape
            if not fits or path.stat().st_size != array.offset + array.nbytes:
                raise ValueError(f"{path.name} is not an array of uint8 {list(shape)} in C order, and nothing else")
        if not labelled and shards.read_names(folder / _TRUTH) != names:
            raise ValueError(f"{_TRUTH} has other photos than {_INDEX}")
    if size not in (None, (height, width)):
        raise UserError(f"{folder} was made for another train.size; {again}")
    return Cache(folder, names, (height, width))


def _shapes(count: int, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    return {"photos": (count, *size, 3), "masks": (count, *size)}


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
    for kind, shape in _shapes(len(names), writer.size).items():
        _reserve(writer.folder / f"{kind}.npy", shape)
    lines = [_COLUMNS]
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
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
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
        """Writes a row: number, name, its mask's runs (None: in a zip). Returns the runs and a digest of the row."""
        row, name, runs = task
        photo = photos.decode_photo(self._archives[0].read(name), name, self.size)
        if runs is None:
            mask = photos.decode_mask(self._archives[1].read(mask_of(name)), mask_of(name))
            runs = rle.to_runs(mask)
        else:
            mask = rle.to_mask(runs, HEIGHT, WIDTH)
        soft = photos.soften(mask, self.size)
        for kind, pixels in (("photos", photo), ("masks", soft)):
            # On a full disk a memory map would die of SIGBUS; a file raises OSError.
            with (self.folder / f"{kind}.npy").open("r+b") as file:
                np.lib.format.read_magic(file)
                np.lib.format.read_array_header_1_0(file)
                file.seek(row * pixels.nbytes, os.SEEK_CUR)
                file.write(pixels.data)
        content = photo.tobytes() + soft.tobytes() + runs.tobytes()
        return runs, hashlib.blake2b(content, digest_size=16).hexdigest()
