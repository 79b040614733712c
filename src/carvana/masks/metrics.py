"""Dice and IoU from run lists, exact and without a mask."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from carvana.masks.rle import Runs


@dataclass(frozen=True)
class Overlap:
    """Pixel counts of a predicted and a true mask."""

    predicted: int
    true: int
    both: int

    @property
    def dice(self) -> float:
        """2|P∩T| / (|P| + |T|), in [0, 1]; 1 for a pair of empty masks, as Kaggle scores it."""
        total = self.predicted + self.true
        return 2 * self.both / total if total else 1.0

    @property
    def iou(self) -> float:
        """|P∩T| / |P∪T|, in [0, 1]; 1 for a pair of empty masks."""
        union = self.predicted + self.true - self.both
        return self.both / union if union else 1.0


def overlap_of_runs(predicted: Runs, true: Runs) -> Overlap:
    """Returns the overlap of two run lists of one picture."""
    both = _pixels_before(predicted, true.sum(axis=1)) - _pixels_before(predicted, true[:, 0])
    return Overlap(int(predicted[:, 1].sum()), int(true[:, 1].sum()), int(both.sum()))


def overlap_of_masks(predicted: NDArray[np.bool_], true: NDArray[np.bool_]) -> Overlap:
    """Returns the overlap of two bool masks of the same shape."""
    return Overlap(*(int(np.count_nonzero(mask)) for mask in (predicted, true, predicted & true)))


def _pixels_before(runs: Runs, positions: NDArray[np.integer]) -> NDArray[np.int64]:
    """Returns how many pixels of `runs` are before each of `positions` (counted from 1)."""
    if not len(runs):
        return np.zeros(len(positions), dtype=np.int64)
    starts, lengths = runs[:, 0].astype(np.int64), runs[:, 1].astype(np.int64)
    whole = np.concatenate([[0], np.cumsum(lengths)])
    last = np.searchsorted(starts, positions, side="right") - 1
    inside = np.minimum(positions - starts[last], lengths[last])
    return np.where(last < 0, 0, whole[last] + inside)
