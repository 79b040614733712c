"""Where a prediction differs from the truth: how much, how far from the outline, and where in the picture."""

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from carvana.masks.rle import Runs

DISTANCES = (1, 2, 5)  # in pixels
CELL = 8  # side of the squares of `places`, in pixels


def places(predicted: Runs, true: Runs, mask: NDArray[np.uint8]) -> NDArray[np.int32]:
    """Returns how many pixels are wrong in each square of the picture, int32 [2, height / CELL, width / CELL].

    The first are missed, the second added (background taken for car). `mask` of {0, 1} is `true` as pixels.
    """
    height, width = mask.shape
    rows, columns = np.divmod(_pixels(difference(predicted, true)), width)
    added = 1 - mask[rows, columns].astype(np.int64)
    shape = (2, -(-height // CELL), -(-width // CELL))
    squares = np.ravel_multi_index((added, rows // CELL, columns // CELL), shape)
    return np.bincount(squares, minlength=math.prod(shape)).reshape(shape).astype(np.int32)


def within(predicted: Runs, true: Runs, mask: NDArray[np.uint8]) -> list[int]:
    """Returns how many wrong pixels are at most 1, 2 and 5 pixels from the true outline, between pixel centres."""
    rows, columns = np.divmod(_pixels(difference(predicted, true)), mask.shape[1])
    # In the car to the nearest pixel that is none, and outside to the nearest that is; the other of both is 0.
    inside, outside = (cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for part in (mask, 1 - mask))
    distances = (inside + outside)[rows, columns]
    return [int((distances <= pixels + 1e-4).sum()) for pixels in DISTANCES]


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
