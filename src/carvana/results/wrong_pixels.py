"""Where a prediction differs from the truth: how much, how far from the outline, and where in the picture."""

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from carvana.masks.rle import Runs

DISTANCES = (1, 2, 5)  # in pixels
CELL = 8  # side of the squares of `Mistakes.places`, in pixels

_REACH = max(DISTANCES)
_STEPS = np.mgrid[-_REACH : _REACH + 1, -_REACH : _REACH + 1].reshape(2, -1)


@dataclass(frozen=True)
class Mistakes:
    """The wrong pixels of one prediction.

    `missed` are car that was not found, `added` background taken for car. `within` counts those at most 1, 2 and 5
    pixels from the true outline; the distance is between pixel centres, to the nearest one on the other side of the
    outline. `places` int32 [2, height / CELL, width / CELL]: missed and added pixels by square of the picture.
    """

    missed: int
    added: int
    within: dict[int, int]
    places: NDArray[np.int32]


def find(predicted: Runs, true: Runs, mask: NDArray[np.uint8]) -> Mistakes:
    """Returns the mistakes of a prediction; `mask` uint8 [height, width] of {0, 1} is `true` as pixels."""
    height, width = mask.shape
    rows, columns = np.divmod(_pixels(difference(predicted, true)), width)
    added = 1 - mask[rows, columns].astype(np.int64)
    shape = (2, -(-height // CELL), -(-width // CELL))
    squares = np.ravel_multi_index((added, rows // CELL, columns // CELL), shape)
    places = np.bincount(squares, minlength=math.prod(shape)).reshape(shape).astype(np.int32)
    missed, more = places.sum(axis=(1, 2)).tolist()
    return Mistakes(missed, more, _within(mask, rows, columns), places)


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


def _within(mask: NDArray[np.uint8], rows: NDArray[np.int64], columns: NDArray[np.int64]) -> dict[int, int]:
    """Returns how many of those pixels are at most 1, 2 and 5 pixels from one of the other kind.

    Looking around the wrong pixels alone is some twenty times faster than a distance transform of the picture.
    """
    # Beyond the border, the pixels at the border go on: what is found there was found at the border before.
    around = cv2.copyMakeBorder(mask, _REACH, _REACH, _REACH, _REACH, cv2.BORDER_REPLICATE)
    width, flat = around.shape[1], around.reshape(-1)
    left = (rows + _REACH) * width + columns + _REACH
    lengths, shorter, within = np.hypot(*_STEPS), 0, {}
    for distance in DISTANCES:
        own, found = flat[left], np.zeros(len(left), np.bool_)
        for down, right in _STEPS[:, (lengths > shorter) & (lengths <= distance)].T:
            found |= flat[left + down * width + right] != own
        left, shorter = left[~found], distance
        within[distance] = len(rows) - len(left)
    return within
