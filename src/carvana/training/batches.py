"""Photos and masks of the cache in pieces: read on demand for a CPU; for a GPU from its memory, or ahead by workers."""

import contextlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from carvana.data import loader
from carvana.data.cache import Cache, Rows
from carvana.devices import device

Batch = tuple[Tensor, Tensor]
Read = Callable[[Iterable[Rows]], Iterator[Batch]]

_COPIED = 64  # photos that are copied into a GPU's memory at a time


@contextlib.contextmanager
def reader_of(cache: Cache, photos: int, workers: int, on: torch.device) -> Iterator[Read]:
    """Yields a function that reads pieces, each of about `photos` rows, in order.

    The function yields photos uint8 [n, height, width, 3] and masks uint8 [n, height, width] on the device on which
    they are augmented. Workers read ahead, and serve all calls. Raises UserError if one of them is killed.
    """
    if fits_into_memory(cache, on):
        yield from_memory(cache, on)
        return
    # MPS may lack bicubic sampling.
    on = torch.device("cpu") if on.type == "mps" else on
    height, width = cache.size
    # A piece has one photo more where a rest is spread over the batches.
    processes = workers_for(on, workers, (photos + 1) * height * width * 4)
    pieces: list[Rows] = []
    made = DataLoader(
        _Pieces(cache),
        batch_size=None,
        sampler=pieces,
        num_workers=processes,
        # Pieces that are read ahead are in shared memory, of which containers have little.
        prefetch_factor=1 if processes else None,
        persistent_workers=processes > 0,
        pin_memory=on.type == "cuda",
        worker_init_fn=loader.begin,
        # Otherwise the loader would draw from the same random numbers as dropout.
        generator=torch.Generator(),
    )

    def read(wanted: Iterable[Rows]) -> Iterator[Batch]:
        pieces[:] = wanted
        for read_photos, masks in made:
            yield read_photos.to(on, non_blocking=True), masks.to(on, non_blocking=True)

    with loader.ending(made):
        yield read


def half_size(photos: Tensor, masks: Tensor) -> Batch:
    """Returns photos and masks of half the height and width, still uint8: each pixel is the mean of four."""
    channels = torch.cat([photos, masks[..., None]], dim=3).permute(0, 3, 1, 2)
    halves = functional.avg_pool2d(channels.float(), 2).round_().to(torch.uint8).permute(0, 2, 3, 1)
    return halves[..., :3].contiguous(), halves[..., 3].contiguous()


def fits_into_memory(cache: Cache, on: torch.device) -> bool:
    """Returns whether a GPU holds all photos and masks in a quarter of its free memory; the rest is for training."""
    height, width = cache.size
    return on.type == "cuda" and len(cache.names) * height * width * 4 <= torch.cuda.mem_get_info(on)[0] // 4


def from_memory(cache: Cache, on: torch.device) -> Read:
    """Returns a function as `reader_of` yields it, after copying all photos and masks into the device's memory."""
    photos = torch.empty(len(cache.names), *cache.size, 3, dtype=torch.uint8, device=on)
    masks = torch.empty(photos.shape[:3], dtype=torch.uint8, device=on)
    for rows in np.array_split(np.arange(len(photos)), -(-len(photos) // _COPIED)):
        photos[rows] = torch.from_numpy(cache.read_photos(rows)).to(on)
        masks[rows] = torch.from_numpy(cache.read_masks(rows)).to(on)

    def read(wanted: Iterable[Rows]) -> Iterator[Batch]:
        for rows in wanted:
            places = device.send(torch.from_numpy(rows), on)
            yield photos[places], masks[places]

    return read


def workers_for(on: torch.device, wanted: int, size: int) -> int:
    """Returns the number of workers for pieces of `size` bytes.

    It is 0 on a CPU, where there is no transfer to hide: the process itself reads 5 times as many photos a second at
    128², and 7 to 9 times as many at 512², as two workers deliver. On a GPU, it is the `wanted` number as far as shared
    memory has room.
    """
    if on.type != "cuda":
        return 0
    return loader.fitting(wanted, size, ahead=1)


class _Pieces(Dataset[Batch]):
    """A cache as a data set of torch's: an index is the rows of a piece, an item its photos and masks."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def __getitem__(self, rows: Rows) -> Batch:
        return torch.from_numpy(self._cache.read_photos(rows)), torch.from_numpy(self._cache.read_masks(rows))
