"""Photos and masks of the cache, piece by piece: at once on a CPU, ahead of a GPU by processes of their own."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from carvana import workers
from carvana.data.cache import Cache

Rows = NDArray[np.integer]
Batch = tuple[Tensor, Tensor]
Read = Callable[[Iterable[Rows]], Iterator[Batch]]


@contextlib.contextmanager
def batches(cache: Cache, on: torch.device, processes: int) -> Iterator[Read]:
    """A function that reads pieces, each of some rows, in their order.

    It returns photos uint8 [n, height, width, 3] and masks uint8 [n, height, width] on the device. `processes` workers
    read ahead, and serve all calls; with 0 this process reads. Raises UserError if one of them is killed.
    """
    pieces: list[Rows] = []
    loader = DataLoader(
        _Pieces(cache),
        batch_size=None,
        sampler=pieces,
        num_workers=processes,
        # Shared memory holds what is read ahead, and containers have little of it.
        prefetch_factor=1 if processes else None,
        persistent_workers=processes > 0,
        pin_memory=on.type == "cuda",
        worker_init_fn=workers.begin,
        # Or the loader would draw from the random numbers of dropout.
        generator=torch.Generator(),
    )

    def read(wanted: Iterable[Rows]) -> Iterator[Batch]:
        pieces[:] = wanted
        for photos, masks in loader:
            yield photos.to(on, non_blocking=True), masks.to(on, non_blocking=True)

    with workers.of(loader):
        yield read


def workers_for(on: torch.device, wanted: int, size: int, processes: int) -> int:
    """How many workers each of a machine's `processes` has, for pieces of `size` bytes.

    None on a CPU, where there is no transfer to hide: this process reads 5 times as many photos a second at 128², and
    7 to 9 times as many at 512², as it gets from two workers. On a GPU, as many as shared memory has room for.
    """
    if on.type != "cuda":
        return 0
    count = max(wanted // processes, min(wanted, 1))
    free = workers.free_shared_memory()
    if free is None:
        return count
    # Besides those that are being read, one is on its way to pinned memory, and one to the GPU.
    return max(min(count, free // processes // size - 2), 0)


class _Pieces(Dataset[Batch]):
    """A cache as torch's loader reads it: an item is a piece."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def __getitem__(self, rows: Rows) -> Batch:
        return torch.from_numpy(self._cache.read_photos(rows)), torch.from_numpy(self._cache.read_masks(rows))
