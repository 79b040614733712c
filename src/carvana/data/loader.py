"""Photos of a zip, decoded in batches by the workers of a torch DataLoader, and how such workers begin and end."""

import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from carvana.base.errors import UserError
from carvana.base.processes import beside, die_with_parent, end_if_orphaned, keep_freed_memory, killed
from carvana.data.archive import Archive
from carvana.data.photos import decode_photo

_AHEAD = 2  # batches that each worker makes before they are needed
_ON_THE_WAY = 2  # batches, besides those of the workers, that have left shared memory for no other place yet
_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it

Task = TypeVar("Task")
Made = TypeVar("Made")


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


def load(
    path: Path, names: list[str], size: tuple[int, int], batch_size: int, processes: int, pin: bool, held: int = 0
) -> Iterator[Batch]:
    """Yields the named photos of a zip in batches, in order, each at `size` = (height, width); `held` as in `each`."""
    if not names:
        return
    tasks = [names[start : start + batch_size] for start in range(0, len(names), batch_size)]
    batch_bytes = len(tasks[0]) * size[0] * size[1] * 3
    yield from each(_Photos(path, size), tasks, processes, batch_bytes, pin, held)


class _Photos:
    """Makes the batch of some names. Every process that reads photos opens the zip itself."""

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        self._path, self._size = path, size

    @cached_property
    def _archive(self) -> Archive:
        return Archive(self._path)

    def __call__(self, names: list[str]) -> Batch:
        photos, reasons = torch.zeros(len(names), *self._size, 3, dtype=torch.uint8), {}
        if get_worker_info():
            # Before it is filled: a batch is sent through shared memory, and would otherwise be copied there.
            photos.share_memory_()
        for photo, name in zip(photos.numpy(), names, strict=True):
            try:
                photo[...] = decode_photo(self._archive.read(name), f"{self._path}: {name}", self._size)
            except UserError as error:
                reasons[name] = error
        return Batch(names, photos, reasons)


def each(
    make: Callable[[Task], Made], tasks: Iterable[Task], processes: int, sent: int = 0, pin: bool = False, held: int = 0
) -> Generator[Made, None, None]:
    """Yields what `make` returns for each task, in order.

    `processes` workers, each with a copy of `make`, work ahead of time; with 0 this process works. If shared memory has
    no room for all of them there are fewer: `sent` is the size in bytes of the tensors that `make` returns, and the
    caller keeps `held` of them at a time. Tasks are taken a few ahead, so that memory stays constant.

    Raises UserError if a worker is killed, and what `make` raises.
    """
    processes = fitting(processes, sent, _AHEAD, held)
    loader = DataLoader(
        _Tasks(make),
        batch_size=None,
        sampler=tasks,
        num_workers=processes,
        collate_fn=_as_it_is,
        pin_memory=pin,
        prefetch_factor=_AHEAD if processes else None,
        persistent_workers=processes > 0,
        worker_init_fn=begin,
    )
    with ending(loader):
        for made in loader:
            if isinstance(made, UserError | OSError):
                raise made
            yield made


class _Tasks(Dataset[Made | UserError | OSError], Generic[Task, Made]):
    """A data set of torch's, whose indices are tasks."""

    def __init__(self, make: Callable[[Task], Made]) -> None:
        self._make = make

    def __getitem__(self, task: Task) -> Made | UserError | OSError:
        try:
            return self._make(task)
        except (UserError, OSError) as error:
            # If a worker raised it, torch would put a traceback into its message, and lose the system's number.
            return error


def _as_it_is(made: Made) -> Made:
    return made


def fitting(wanted: int, batch_bytes: int, ahead: int, held: int = 0) -> int:
    """Returns how many of the wanted workers, each with `ahead` batches of `batch_bytes`, have room in shared memory.

    If not all, prints a line that says so. The caller keeps `held` batches too, and the processes that torchrun started
    on this machine share the memory.
    """
    if not wanted or not batch_bytes or not _SHARED_MEMORY.is_dir():
        return wanted
    free = shutil.disk_usage(_SHARED_MEMORY).free // beside()
    found = max(min(wanted, (free // batch_bytes - _ON_THE_WAY - held) // ahead), 0)
    if found < wanted:
        print(
            f"shared memory ({free / 2**20:.0f} MiB are free) has room for the batches of {found} of {wanted} workers; "
            "lower the batch size, or start the container with --shm-size=1g",
            file=sys.stderr,
        )
    return found


def begin(_worker: int) -> None:
    """Makes a worker end when its parent process ends, leave Ctrl-C to the parent, and keep freed memory."""
    # The fork inherited the stage's handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _report
    # To decode at 64² costs a quarter less so: every photo needs some blocks of the size of a whole mask.
    keep_freed_memory()
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
        raise UserError(killed()) from error
