"""Photos of a zip, read and decoded in batches by the workers of a torch DataLoader."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from carvana.base.errors import UserError
from carvana.data import workers
from carvana.data.archive import Archive
from carvana.data.photos import decode_photo

_BATCHES_AHEAD = 2  # that each worker decodes before they are needed


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
        photos = torch.zeros(len(names), *self._size, 3, dtype=torch.uint8)
        if get_worker_info():
            # Before it is filled: a batch is sent through shared memory, and would otherwise be copied there.
            photos.share_memory_()
        reasons = {}
        for photo, name in zip(photos.numpy(), names, strict=True):
            try:
                photo[...] = decode_photo(self._archive.read(name), f"{self._path}: {name}", self._size)
            except UserError as error:
                reasons[name] = error
        return Batch(names, photos, reasons)


def load(
    path: Path, names: list[str], size: tuple[int, int], batch_size: int, processes: int, pin: bool
) -> Iterator[Batch]:
    """Yields the named photos of a zip in batches, in order, each at `size` = (height, width).

    `processes` workers decode ahead of time; with 0 this process decodes. Raises UserError if a worker
    is killed.
    """
    if not names:
        return
    processes = _workers_that_fit(processes, min(batch_size, len(names)) * size[0] * size[1] * 3)
    loader = DataLoader(
        _Photos(path, names, size),
        batch_size,
        num_workers=processes,
        collate_fn=_as_it_is,
        pin_memory=pin,
        prefetch_factor=_BATCHES_AHEAD if processes else None,
        persistent_workers=processes > 0,
        worker_init_fn=workers.begin,
    )
    with workers.of(loader):
        yield from loader


def _workers_that_fit(wanted: int, batch_bytes: int) -> int:
    """Returns the number of workers, or 0 if the system's shared memory cannot hold their batches."""
    needed = batch_bytes * (wanted * _BATCHES_AHEAD + 2)
    free = workers.free_shared_memory()
    if not wanted or free is None or free > needed:
        return wanted
    print(
        f"shared memory is too small for {wanted} workers ({needed / 2**20:.0f} MiB), so that photos are decoded "
        "by one process; lower runtime.workers or the batch size, or start the container with --shm-size=1g",
        file=sys.stderr,
    )
    return 0


def _as_it_is(batch: Any) -> Any:
    return batch
