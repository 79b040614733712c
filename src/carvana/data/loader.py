"""Photos of a zip, decoded in batches by the workers of a torch DataLoader, and how such workers begin and end.

Resize, label, evaluate and predict decode here; training on a GPU reads its cache by the same workers.
"""

import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from carvana.base.errors import UserError
from carvana.base.processes import die_with_parent, end_if_orphaned, killed
from carvana.data.archive import Archive
from carvana.data.photos import decode_photo

_AHEAD = 2  # batches that each worker makes before they are needed
_ON_THE_WAY = 2  # batches, besides those of the workers, that have left shared memory for no other place yet
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it


@dataclass(frozen=True)
class Batch:
    """Names, photos uint8 [n, height, width, 3], and why a photo cannot be read; such a photo is black."""

    names: list[str]
    photos: Tensor
    reasons: dict[str, UserError]

    def pin_memory(self) -> Self:
        """Returns the batch in memory that a GPU can copy from; the DataLoader calls it."""
        return replace(self, photos=self.photos.pin_memory())

    def split(self, size: int) -> Iterator["Batch"]:
        """Yields the batch in parts of at most `size` photos."""
        for start in range(0, len(self.names), size):
            part = slice(start, start + size)
            yield Batch(self.names[part], self.photos[part], self.reasons)


class _Photos(Dataset[Batch]):
    """Photos of a zip, by their index in `names`. Every process that reads photos opens the zip itself."""

    def __init__(self, path: Path, names: list[str], size: tuple[int, int]) -> None:
        self._path, self._names, self._size = path, names, size
        self._archive: Archive | None = None

    def __len__(self) -> int:
        return len(self._names)

    def __getitems__(self, places: list[int]) -> Batch:
        self._archive = self._archive or Archive(self._path)
        names = [self._names[place] for place in places]
        photos, reasons = empty(len(names), *self._size, 3), {}
        for photo, name in zip(photos.numpy(), names, strict=True):
            try:
                photo[...] = decode_photo(self._archive.read(name), f"{self._path}: {name}", self._size)
            except UserError as error:
                reasons[name] = error
        return Batch(names, photos, reasons)


def load(
    path: Path, names: list[str], size: tuple[int, int], batch_size: int, processes: int, pin: bool
) -> Iterator[Batch]:
    """Yields the named photos of a zip in batches, in order, each at `size` = (height, width)."""
    photo_bytes = size[0] * size[1] * 3
    yield from batches(_Photos(path, names, size), len(names), batch_size, photo_bytes, processes, pin)


def batches(
    dataset: Any, count: int, batch_size: int, item_bytes: int, processes: int, pin: bool = False
) -> Iterator[Any]:
    """Yields what a dataset's `__getitems__` makes of its `count` items, `batch_size` at a time, in order.

    `processes` workers make batches ahead of time, as many as shared memory has room for; with 0 this process makes
    them. Raises UserError if a worker is killed.
    """
    if not count:
        return
    processes = fitting(processes, min(batch_size, count) * item_bytes, _AHEAD)
    loader = DataLoader(
        dataset,
        batch_size,
        num_workers=processes,
        collate_fn=_as_it_is,
        pin_memory=pin,
        prefetch_factor=_AHEAD if processes else None,
        persistent_workers=processes > 0,
        worker_init_fn=begin,
    )
    with ending(loader):
        yield from loader


def _as_it_is(batch: Any) -> Any:
    return batch


def empty(*shape: int) -> Tensor:
    """Returns a tensor of zeros, uint8, which a worker can send without a copy."""
    tensor = torch.zeros(shape, dtype=torch.uint8)
    # Before it is filled: what is sent goes through shared memory, and would otherwise be copied there.
    return tensor.share_memory_() if get_worker_info() else tensor


def fitting(wanted: int, batch_bytes: int, ahead: int, beside: int = 1) -> int:
    """Returns how many of the wanted workers have room in shared memory; if not all, prints a line that says so.

    Each has `ahead` batches of `batch_bytes` there. `beside` is the number of processes on this machine that have
    workers.
    """
    if not wanted or not _SHARED_MEMORY.is_dir():
        return wanted
    free = shutil.disk_usage(_SHARED_MEMORY).free // beside
    found = max(min(wanted, (free // batch_bytes - _ON_THE_WAY) // ahead), 0)
    if found < wanted:
        print(
            f"shared memory has room for the batches of {found} of {wanted} workers ({free / 2**20:.0f} MiB are free), "
            f"so that {found or 'no'} workers read photos; lower the batch size, or start the container with "
            "--shm-size=1g",
            file=sys.stderr,
        )
    return found


def begin(_worker: int) -> None:
    """Makes a worker end when its parent process ends, and leave Ctrl-C to the parent."""
    # The fork inherited the stage's handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _report
    die_with_parent()
    end_if_orphaned()


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an uncaught error of a worker's threads, unless it is that the parent process has ended."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


@contextlib.contextmanager
def ending(loader: DataLoader[Any]) -> Iterator[None]:
    """Ends the workers of a loader at the end of the block. Raises UserError if one of them is killed."""
    try:
        try:
            yield
        finally:
            # Otherwise torch would report a killed worker again as soon as any other child of this process ends.
            if loader._iterator is not None:
                cast("_MultiProcessingDataLoaderIter", loader._iterator)._shutdown_workers()
    except (RuntimeError, ConnectionError, EOFError) as error:
        # A connection breaks if a worker dies while it sends a batch.
        if not loader.num_workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
            raise
        raise UserError(killed("reads photos")) from error
