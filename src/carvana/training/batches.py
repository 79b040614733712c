"""Photos and masks of the cache, piece by piece: at once on a CPU, ahead of a GPU by processes of their own."""

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from carvana.data.cache import Cache
from carvana.errors import UserError, first_line
from carvana.processes import die_with_parent, end_if_orphaned

Rows = NDArray[np.integer]
Batch = tuple[Tensor, Tensor]
Read = Callable[[Iterable[Rows]], Iterator[Batch]]

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it


@contextlib.contextmanager
def batches(cache: Cache, on: torch.device, workers: int) -> Iterator[Read]:
    """A function that reads pieces, each of some rows, in their order.

    It returns photos uint8 [n, height, width, 3] and masks uint8 [n, height, width] on the device. `workers` processes
    read ahead, and serve all calls; with 0 this process reads. Raises UserError if one of them is killed.
    """
    pieces: list[Rows] = []
    loader = DataLoader(
        _Pieces(cache),
        batch_size=None,
        sampler=pieces,
        num_workers=workers,
        # Shared memory holds what is read ahead, and containers have little of it.
        prefetch_factor=1 if workers else None,
        persistent_workers=workers > 0,
        pin_memory=on.type == "cuda",
        worker_init_fn=_begin,
        # Or the loader would draw from the random numbers of dropout.
        generator=torch.Generator(),
    )

    def read(wanted: Iterable[Rows]) -> Iterator[Batch]:
        pieces[:] = wanted
        for photos, masks in loader:
            yield photos.to(on, non_blocking=True), masks.to(on, non_blocking=True)

    try:
        yield read
    except (RuntimeError, ConnectionError, EOFError) as error:
        # Connections break if a worker dies while it hands over what it has read.
        if not workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
            raise
        raise UserError(
            f"a process that reads photos for training ended ({first_line(error)}), most likely for want of memory; "
            f"lower runtime.workers"
        ) from error
    finally:
        # Or torch would complain of a killed worker again as soon as any other child ends.
        if loader._iterator is not None:
            cast("_MultiProcessingDataLoaderIter", loader._iterator)._shutdown_workers()


def workers_for(on: torch.device, wanted: int, size: int, processes: int) -> int:
    """How many workers each of a machine's `processes` has, for pieces of `size` bytes.

    None on a CPU, where there is no transfer to hide: this process reads 5 times as many photos a second at 128², and
    7 to 9 times as many at 512², as it gets from two workers. On a GPU, as many as shared memory has room for.
    """
    if on.type != "cuda":
        return 0
    workers = max(wanted // processes, min(wanted, 1))
    if not _SHARED_MEMORY.is_dir():
        return workers
    room = shutil.disk_usage(_SHARED_MEMORY).free // processes // size
    # Besides those that are being read, one is on its way to pinned memory, and one to the GPU.
    return max(min(workers, room - 2), 0)


class _Pieces(Dataset[Batch]):
    """A cache as torch's loader reads it: an item is a piece."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def __getitem__(self, rows: Rows) -> Batch:
        return torch.from_numpy(self._cache.read_photos(rows)), torch.from_numpy(self._cache.read_masks(rows))


def _begin(_worker: int) -> None:
    # A stage's handlers came with the fork. It ends its workers itself, and Ctrl-C reaches them as well.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    end_if_orphaned()
