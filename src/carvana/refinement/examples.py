"""What a second look learns from: photos of Kaggle's zip at full size, with the true runs from the cache."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from carvana.competition import HEIGHT, WIDTH
from carvana.data.cache import Cache
from carvana.masks import rle
from carvana.networks.second_look import SIZE
from carvana.prediction import loader

Batch = tuple[Tensor, Tensor]

_EVERY = 4  # validation photo is looked at after an epoch: four of a car's sixteen views


@dataclass(frozen=True)
class Examples:
    """Photos of a zip to train on and to validate on, by name, and the true runs at 1918×1280 of all of them."""

    photos: Path
    train: list[str]
    validation: list[str]
    truth: dict[str, rle.Runs]

    @classmethod
    def of(cls, photos: Path, cache: Cache, train: list[str], validation: list[str]) -> "Examples":
        """Returns examples with the runs in the cache. Only every fourth photo is kept for validation."""
        some = sorted(validation)[::_EVERY]
        wanted = {*train, *some}
        truth = {name: runs.copy() for name, runs in cache.each_truth() if name in wanted}
        return cls(photos, train, some, truth)

    def load(
        self, names: list[str], batch_size: int, workers: int, on: torch.device
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields photos uint8 [n, 1280, 1918, 3] and masks uint8 [n, 1280, 1918] of {0, 255} on the device.

        Raises UserError if a photo cannot be read.
        """
        for batch in loader.load(self.photos, names, SIZE, batch_size, workers, pin=on.type == "cuda"):
            for reason in batch.reasons.values():
                raise reason
            masks = np.stack([rle.to_mask(self.truth[name], HEIGHT, WIDTH) for name in batch.names])
            yield batch.photos.to(on, non_blocking=True), torch.from_numpy(masks * np.uint8(255)).to(on)
