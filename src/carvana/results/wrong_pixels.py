"""Where a prediction differs from the truth: how much, how far from the outline, and where in the picture."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from carvana.masks.rle import Runs

REACH = 5  # the largest distance that is counted by itself, in pixels
CELL = 8  # side of the squares of `Mistakes.places`, in pixels

# All steps of at most REACH pixels, shortest first, and their lengths rounded up.
_STEPS = np.array(
    sorted(
        ((y, x) for y in range(-REACH, REACH + 1) for x in range(-REACH, REACH + 1) if 0 < y * y + x * x <= REACH**2),
        key=lambda step: step[0] ** 2 + step[1] ** 2,
    )
)
_LENGTHS = np.ceil(np.hypot(*_STEPS.T)).astype(np.int64)


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
    by_distance = np.zeros(REACH + 1, np.int64)
    places = np.zeros((2, -(-height // CELL), -(-width // CELL)), np.int32)
    _count(difference(predicted, true), mask, by_distance, places)
    return Mistakes(by_distance, places)


def difference(one: Runs, other: Runs) -> Runs:
    """Returns runs of the pixels that are in exactly one of two run lists."""
    edges = np.concatenate([one[:, 0], one.sum(axis=1), other[:, 0], other.sum(axis=1)])
    # Where two edges meet, nothing changes.
    places, counts = np.unique(edges, return_counts=True)
    starts, ends = places[counts % 2 == 1].astype(np.int32).reshape(-1, 2).T
    return np.stack([starts, ends - starts], axis=1)


@njit(nogil=True, cache=True)
def _count(wrong: Runs, mask: NDArray[np.uint8], by_distance: NDArray[np.int64], places: NDArray[np.int32]) -> None:
    height, width = mask.shape
    flat = mask.reshape(-1)
    offsets = _STEPS[:, 0] * width + _STEPS[:, 1]
    for run in range(len(wrong)):
        start = wrong[run, 0] - 1
        for pixel in range(start, start + wrong[run, 1]):
            y, x = divmod(pixel, width)
            own = flat[pixel]
            places[1 - own, y // CELL, x // CELL] += 1
            inside = REACH <= y < height - REACH and REACH <= x < width - REACH
            distance = REACH + 1
            for step in range(len(offsets)):
                if not inside:
                    row, column = y + _STEPS[step, 0], x + _STEPS[step, 1]
                    if not (0 <= row < height and 0 <= column < width):
                        continue
                if flat[pixel + offsets[step]] != own:
                    distance = _LENGTHS[step]
                    break
            by_distance[distance - 1] += 1
