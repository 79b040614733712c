"""What a training learns from: rows of a cache to train on and to validate on, and the order of an epoch."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from carvana.data.cache import Cache, Rows
from carvana.masks.rle import Runs


@dataclass(frozen=True)
class Examples:
    """Rows of a cache to train on, `pseudo` with predicted masks, and to validate on, with `truth` at 1918×1280."""

    cache: Cache
    train: Rows
    pseudo: Rows
    validation: Rows
    truth: list[Runs]

    @classmethod
    def of(cls, cache: Cache, train: Rows, validation: Rows, pseudo: Cache | None = None) -> "Examples":
        """Returns examples with the true runs from a cache, and with all photos of another one to train on as well."""
        truth = cache.read_truth(validation)
        if pseudo is None:
            return cls(cache, train, np.arange(0), validation, truth)
        rows = len(cache.names) + np.arange(len(pseudo.names))
        return cls(cache.followed_by(pseudo), train, rows, validation, truth)

    def photos_of_an_epoch(self, share: float) -> int:
        """Returns how many photos an epoch has: the real ones, and as many others as make `share` of all, below 1.

        With few pseudo-labelled photos, each comes several times in an epoch; with none, there are the real ones alone.
        """
        return len(self.train) + (round(len(self.train) * share / (1 - share)) if len(self.pseudo) else 0)

    def draw(self, share: float, random: torch.Generator) -> Rows:
        """Returns an epoch's rows: all real ones in a new order, and among them `share` of pseudo-labelled ones.

        Every part of the order has its share, to a photo, and so has every batch. None is drawn twice before all were.
        """
        order = self.train[torch.randperm(len(self.train), generator=random).numpy()]
        count = self.photos_of_an_epoch(share)
        added = count - len(order)
        if not added:
            return order
        turns = [torch.randperm(len(self.pseudo), generator=random) for _ in range(math.ceil(added / len(self.pseudo)))]
        is_pseudo = np.diff(np.arange(count + 1) * added // count) == 1
        mixed = np.empty(count, order.dtype)
        mixed[~is_pseudo], mixed[is_pseudo] = order, self.pseudo[torch.cat(turns)[:added].numpy()]
        return mixed
