"""Specks beside the car, such as remains of letters on the wall: found and removed."""

import cv2
import numpy as np

from carvana.cutouts.photo_pixels import Pixels, bands
from carvana.data.photos import resize_by_area

_SHARE = 0.05  # of the largest part's alpha; a part with less is a speck


def remove_specks(alpha: Pixels, cells: tuple[int, int]) -> None:
    """Sets alpha, uint8 [height, width], to 0 in each part with less than 5 % of the largest part's alpha, in place.

    Parts are looked for on `cells`, (rows, columns) that the photo is divided into. Those with at most two empty cells
    between them are one, so that an antenna or a mirror stays of which the network has missed the foot. A second car
    stays, too, unless it is small.
    """
    tops, lefts = (-(-np.arange(count) * side // count) for count, side in zip(cells, alpha.shape, strict=True))
    occupied = np.maximum.reduceat(np.maximum.reduceat(alpha, tops, axis=0), lefts, axis=1) > 0
    grown = cv2.dilate(occupied.view(np.uint8), np.ones((3, 3), np.uint8))
    count, parts = cv2.connectedComponents(grown)
    amounts = np.bincount(parts.ravel(), resize_by_area(alpha, cells).ravel(), count)
    small = amounts < _SHARE * amounts.max()
    small[0] = False  # no part, but what is empty
    if not small.any():
        return
    removed = small[parts]
    row, column = (np.arange(side) * count // side for count, side in zip(cells, alpha.shape, strict=True))
    for rows in bands(*alpha.shape):
        alpha[rows][removed[row[rows]][:, column]] = 0
