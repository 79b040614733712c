"""Specks beside the car, such as remains of letters on the wall: found and removed."""

import cv2
import numpy as np

from carvana.data.any_photo import Pixels, bands

_SHARE = 0.05  # of the largest part; a smaller one is a speck


def remove_specks(alpha: Pixels, cells: tuple[int, int]) -> None:
    """Sets alpha, uint8 [height, width], to 0 in each part that is smaller than 5 % of the largest, in place.

    Parts are looked for on `cells`, (rows, columns) that the photo is divided into; a part's size is the sum of its
    cells' highest alphas. Parts with at most two empty cells between them are one, so that an antenna or a mirror stays
    of which the network has missed the foot. A second car stays, too, unless it is small.
    """
    cells = (min(cells[0], alpha.shape[0]), min(cells[1], alpha.shape[1]))
    tops, lefts = (-(-np.arange(count) * side // count) for count, side in zip(cells, alpha.shape, strict=True))
    highest = np.maximum.reduceat(np.maximum.reduceat(alpha, tops, axis=0), lefts, axis=1)
    count, parts = cv2.connectedComponents(cv2.dilate(highest, np.ones((3, 3), np.uint8)))
    sizes = np.bincount(parts.ravel(), highest.ravel(), count)
    small = sizes < _SHARE * sizes.max()
    small[0] = False  # no part, but what is empty
    if not small.any():
        return
    removed = small[parts]
    row, column = (np.arange(side) * count // side for count, side in zip(cells, alpha.shape, strict=True))
    for rows in bands(*alpha.shape):
        alpha[rows][removed[row[rows]][:, column]] = 0
