"""Where a prediction differs from the truth: how much, how far from the outline, and where in the picture."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from carvana.masks.rle import Runs

REACH = 5  # the largest distance that is counted by itself, in pixels
CELL = 8  # side of the squares of `Mistakes.places`, in pixels

# All steps of at most REACH pixels by their length, rounded up.
_STEPS = np.mgrid[-REACH : REACH + 1, -REACH : REACH + 1].reshape(2, -1)
_LENGTHS = np.ceil(np.hypot(*_STEPS))
_RINGS = [_STEPS[:, length == _LENGTHS] for length in range(1, REACH + 1)]


@dataclass(frozen=True)
class Mistakes:
    """The wrong pixels of one prediction.

    `by_distance` int64 [REACH + 1]: wrong pixels at most 1, 2, … REACH pixels from the true outline, each counted once,
    and those beyond. The distance is between pixel centres, to the nearest one on the other side of the outline.
    `places` int32 [2, height / CELL, width / CELL]: wrong pixels by square of the picture; missed ones (car that was
    not found) and added ones (background taken for car).
    """

    by_distance: NDArray[np.int64]
    places: NDArray[np.int32]

    @property
    def missed(self) -> int:
        """Pixels of the car that were not found."""
        return int(self.places[0].sum())

    @property
    def wrong(self) -> int:
        """All wrong pixels."""
        return int(self.by_distance.sum())

    def within(self, pixels: int) -> int:
        """Returns how many wrong pixels are at most so many pixels from the true outline, up to REACH."""
        return int(self.by_distance[:pixels].sum())


def find(predicted: Runs, true: Runs, mask: NDArray[np.uint8]) -> Mistakes:
    """Returns the mistakes of a prediction; `mask` uint8 [height, width] of {0, 1} is `true` as pixels."""
    height, width = mask.shape
    rows, columns = np.divmod(_pixels(difference(predicted, true)), width)
    added = 1 - mask[rows, columns].astype(np.int64)
    shape = (2, -(-height // CELL), -(-width // CELL))
    squares = np.ravel_multi_index((added, rows // CELL, columns // CELL), shape)
    places = np.bincount(squares, minlength=math.prod(shape)).reshape(shape)
    return Mistakes(_by_distance(mask, rows, columns), places.astype(np.int32))


def difference(one: Runs, other: Runs) -> Runs:
    """Returns runs of the pixels that are in exactly one of two run lists."""
    edges = np.concatenate([one[:, 0], one.sum(axis=1), other[:, 0], other.sum(axis=1)])
    # Where two edges meet, nothing changes.
    places, counts = np.unique(edges, return_counts=True)
    starts, ends = places[counts % 2 == 1].astype(np.int32).reshape(-1, 2).T
    return np.stack([starts, ends - starts], axis=1)


def _pixels(runs: Runs) -> NDArray[np.int64]:
    """Returns the numbers of all pixels of some runs, counted from 0."""
    starts, lengths = runs.T.astype(np.int64)
    before = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(starts - 1 - before, lengths)


def _by_distance(mask: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns how many of those pixels are at most 1, 2, … REACH pixels from one of the other kind, and beyond.

    Looking around the wrong pixels alone is some twenty times faster than a distance transform of the picture.
    """
    # Beyond the border, the pixels at the border go on: what is found there was found at the border before.
    around = cv2.copyMakeBorder(mask, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE)
    width, flat = around.shape[1], around.reshape(-1)
    left = (rows + REACH) * width + columns + REACH
    counts = []
    for ring in _RINGS:
        own = flat[left]
        found = np.zeros(len(left), np.bool_)
        for down, right in ring.T:
            found |= flat[left + down * width + right] != own
        counts.append(np.count_nonzero(found))
        left = left[~found]
    return np.array([*counts, len(left)])
