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
import multiprocessing
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from carvana.base.console import Bar
from carvana.base.errors import UserError, reading
from carvana.base.files import whole_folder
from carvana.base.processes import die_with_parent, end_if_orphaned, none_killed
from carvana.competition import HEIGHT, WIDTH, mask_of
from carvana.data import photos
from carvana.data.archive import Archive
from carvana.masks import rle, shards

_TRUTH, _INDEX = "truth.parquet", "index.csv"
_COLUMNS = ["image", "digest"]
_INCOMPLETE, _DISAGREE = "is not a complete cache", "its files disagree"
_CHUNK = 16  # photos a task: a car's worth
_QUEUED = 4  # tasks a process that may wait, so that memory does not grow with the number of photos


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
class _Task:
    """Photos for a worker, the number of the first one's row, and their masks' runs; None: the masks are in a zip."""

    start: int
    names: list[str]
    runs: list[rle.Runs] | None


@dataclass(frozen=True)
class _Written:
    """What a worker returns of the rows that it has written: digests, and the runs of masks that it read from a zip."""

    start: int
    digests: list[str]
    runs: list[rle.Runs]


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
        runs = _fill(temporary, train, train_masks, names, None, size, workers, "resize")
        shards.write(temporary / _TRUTH, names, runs)


def write_labelled(
    photos: Path, names: list[str], runs: Iterable[rle.Runs], folder: Path, size: tuple[int, int], workers: int
) -> None:
    """Writes a cache of some photos of a zip with masks given as runs at 1918×1280, in the order of `names`.

    Neither the zip nor a process is opened if there are no names.
    """
    with whole_folder(folder) as temporary:
        _fill(temporary, photos, None, names, iter(runs), size, workers, "label")


def _fill(
    folder: Path,
    photos: Path,
    masks: Path | None,
    names: list[str],
    given: Iterator[rle.Runs] | None,
    size: tuple[int, int],
    workers: int,
    what: str,
) -> list[rle.Runs]:
    """Writes arrays and index of some photos, with masks from a zip or given; returns the runs of those from a zip."""
    targets = {"photos": (len(names), *size, 3), "masks": (len(names), *size)}
    offsets = {kind: _allocate(folder / f"{kind}.npy", shape) for kind, shape in targets.items()}
    context = multiprocessing.get_context("spawn")
    setup = (photos, masks, folder, size, offsets)
    most = max(1, min(workers, -(-len(names) // _CHUNK)))
    pool = ProcessPoolExecutor(most, context, initializer=_open, initargs=setup)
    try:
        with none_killed("resizes photos"), Bar(total=len(names), desc=what, unit=" photos") as bar:
            done: list[_Written] = []
            for written in _bounded(pool, _tasks(names, given), workers):
                done.append(written)
                bar.update(len(written.digests))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    done.sort(key=lambda written: written.start)
    digests = [digest for written in done for digest in written.digests]
    index = [f"{name},{digest}" for name, digest in zip(names, digests, strict=True)]
    (folder / _INDEX).write_text("\n".join([",".join(_COLUMNS), *index, ""]), encoding="ascii")
    return [runs for written in done for runs in written.runs]


def _tasks(names: list[str], given: Iterator[rle.Runs] | None) -> Iterator[_Task]:
    for start in range(0, len(names), _CHUNK):
        part = names[start : start + _CHUNK]
        yield _Task(start, part, None if given is None else list(islice(given, len(part))))


def _allocate(path: Path, shape: tuple[int, ...]) -> int:
    """Writes the header of a uint8 array, and returns the offset of its first element."""
    with path.open("wb") as file:
        header = {"descr": np.dtype(np.uint8).str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        offset = file.tell()
        # With the space reserved, a full disk is an error here rather than half-way.
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, offset + int(np.prod(shape)))
        else:
            file.truncate(offset + int(np.prod(shape)))
        return offset


def _bounded(pool: ProcessPoolExecutor, tasks: Iterable[_Task], workers: int) -> Iterator[_Written]:
    """Runs the tasks, a few ahead, and yields what is written as it is done."""
    pending: set[Future[_Written]] = set()
    for task in tasks:
        pending.add(pool.submit(_resize, task))
        if len(pending) >= _QUEUED * max(workers, 1):
            done, pending = wait(pending, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    while pending:
        done, pending = wait(pending, return_when=FIRST_COMPLETED)
        yield from (future.result() for future in done)


@dataclass(frozen=True)
class _Worker:
    """What a worker process has open."""

    photos: Archive
    masks: Archive | None
    photos_file: int
    masks_file: int
    size: tuple[int, int]
    offsets: dict[str, int]


_worker: _Worker | None = None


def _open(photos: Path, masks: Path | None, folder: Path, size: tuple[int, int], offsets: dict[str, int]) -> None:
    global _worker  # noqa: PLW0603 - how a pool's initializer hands over what its tasks need
    die_with_parent()
    end_if_orphaned()
    photos_file, masks_file = (os.open(folder / f"{kind}.npy", os.O_WRONLY) for kind in ("photos", "masks"))
    _worker = _Worker(Archive(photos), Archive(masks) if masks else None, photos_file, masks_file, size, offsets)


def _resize(task: _Task) -> _Written:
    assert _worker is not None
    height, width = _worker.size
    written = _Written(task.start, [], [])
    for place, name in enumerate(task.names):
        photo = photos.decode_photo(_worker.photos.read(name), name, _worker.size)
        if task.runs is None:
            mask = _read_mask(name)
            runs = rle.to_runs(mask)
            written.runs.append(runs)
        else:
            runs = task.runs[place]
            mask = rle.to_mask(runs, HEIGHT, WIDTH)
        soft = photos.soften(mask, _worker.size)
        row = task.start + place
        # On a full disk a memory map would die of SIGBUS; pwrite raises OSError.
        os.pwrite(_worker.photos_file, photo.data, _worker.offsets["photos"] + row * height * width * 3)
        os.pwrite(_worker.masks_file, soft.data, _worker.offsets["masks"] + row * height * width)
        digest = hashlib.blake2b(b"".join(each.tobytes() for each in (photo, soft, runs)), digest_size=16)
        written.digests.append(digest.hexdigest())
    return written


def _read_mask(name: str) -> NDArray[np.uint8]:
    assert _worker is not None
    assert _worker.masks is not None
    return photos.decode_mask(_worker.masks.read(mask_of(name)), mask_of(name))
