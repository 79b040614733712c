"""The outline of a cut-out: alpha as sharp as the photo, and the car's own colours up to it.

Both are quick because a photo's colours are averaged over *cells*, at most as fine as the network's pixels, and at full
size only the pixels along the outline are computed.

Alpha: Fast Guided Filter (He and Sun, 2015, arXiv:1505.00996). Colours: the blurring of Approximate Fast Foreground
Colour Estimation (Forte and Pitié, ICIP 2021).
"""

from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from carvana.data.any_photo import Pixels, bands
from carvana.data.photos import resize_by_area

_Floats = NDArray[np.float32]

_SIDES = (7, 3)  # cells: the squares in which alpha follows the photo, one after the other
_NOISE = 1e-4  # variance of colours in 0–1 that shows no edge
_GAIN = 3.0  # how much steeper alpha becomes each time

_NEAR, _FAR = 3, 9  # cells: the squares whose mean is the car's colour; the far one if there is none near
_FAINT = 0.02  # weight of far cells
_RIM = 2  # pixels inside of the soft ones
_SAME = 1e-4  # square of a difference of colours, of 1/100 of their range
_AT_ONCE = 32_000  # pixels; OpenCV takes at most 32766


def sharpen(photo: Pixels, alpha: Pixels, small: Pixels) -> None:
    """Moves and narrows the soft edge of alpha, uint8 [height, width], to the edge in a photo RGB uint8, in place.

    In a square around each cell, alpha is fitted by a line of the photo's colours. Such a line is as sharp as the photo
    is; where the photo shows no edge (a white car on a white wall), it is flat, and alpha stays where it was predicted.
    The second time in smaller squares, because a sharper alpha gives a better line. Pixels of 0 and 255 stay.
    `small` is the photo averaged over cells, RGB uint8 [rows, columns, 3].
    """
    for side in _SIDES:
        lines = _lines(_unit(small), _unit(resize_by_area(alpha, small.shape[:2])), side)
        for rows, columns in _pixels((alpha > 0) & (alpha < 255)):
            line = _at(lines, rows, columns, alpha.shape)
            fitted = (line[:, :3] * _unit(photo[rows, columns])).sum(axis=1) + line[:, 3]
            alpha[rows, columns] = np.rint(255 * np.clip(0.5 + _GAIN * (fitted - 0.5), 0, 1))


def clean(photo: Pixels, alpha: Pixels, small: Pixels) -> None:
    """Replaces the colours along the outline of a photo RGB uint8 [height, width, 3] by the car's own, in place.

    Otherwise what was behind the car would shine around it on another background. It is in the soft pixels and, because
    lenses blur and JPEG does, in the rim of two pixels inside of them. `small` is as in `sharpen`.
    """
    inside = cv2.erode(alpha, np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8))
    cars = _spread(_unit(small), resize_by_area(inside, small.shape[:2]) == 255)
    walls = _spread(_unit(small), resize_by_area(alpha, small.shape[:2]) == 0)
    for rows, columns in _pixels((alpha > 0) & (inside < 255)):
        colour = _unit(photo[rows, columns])
        car, wall = (_at(colours, rows, columns, alpha.shape) for colours in (cars, walls))
        # Where the colour lies between the wall's, 0, and the car's, 1; 1 if both are equal.
        across = car - wall
        distance = np.maximum(np.square(across).sum(axis=1), _SAME)
        between = np.clip(1 - ((car - colour) * across).sum(axis=1) / distance, 0, 1)
        share = np.minimum(_unit(alpha[rows, columns]), between)[:, None]
        own = car + share * (colour - share * car - (1 - share) * wall)
        photo[rows, columns] = np.rint(255 * np.clip(own, 0, 1))


def _lines(colours: _Floats, alpha: _Floats, side: int) -> _Floats:
    """Returns slopes and offset, float32 [rows, columns, 4], of the line from RGB to alpha in a square of `side`."""
    rows, columns = alpha.shape
    products = (colours[..., :, None] * colours[..., None, :]).reshape(rows, columns, 9)
    mean, mean_alpha = _mean(colours, side), _mean(alpha, side)
    variance = _mean(products, side).reshape(rows, columns, 3, 3) - mean[..., :, None] * mean[..., None, :]
    covariance = _mean(colours * alpha[..., None], side) - mean * mean_alpha[..., None]
    # Elsewhere alpha is the same all over the square, and the line is flat.
    edge = (mean_alpha > 0) & (mean_alpha < 1)
    lines = np.zeros((rows, columns, 4), np.float32)
    regular = variance[edge] + np.float32(_NOISE) * np.eye(3, dtype=np.float32)
    lines[edge, :3] = np.linalg.solve(regular, covariance[edge, :, None])[..., 0]
    lines[..., 3] = mean_alpha - (lines[..., :3] * mean).sum(axis=2)
    return _mean(lines, side)


def _spread(colours: _Floats, known: NDArray[np.bool_]) -> _Floats:
    """Returns for every cell the mean of the known colours near it, or of those far from it if there are none near."""
    weights = known.astype(np.float32)
    near = _mean(np.dstack([colours * weights[..., None], weights]), _NEAR)
    total = near + _FAINT * _mean(near, _FAR)
    return np.divide(total[..., :3], np.maximum(total[..., 3:], 1e-9))


def _mean(values: _Floats, side: int) -> _Floats:
    return cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REPLICATE)


def _unit(values: Pixels) -> _Floats:
    return np.divide(values, 255, dtype=np.float32)


def _pixels(wanted: NDArray[np.bool_]) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields rows and columns of the wanted pixels, a bounded number at a time."""
    for band in bands(*wanted.shape):
        rows, columns = np.nonzero(wanted[band])
        for first in range(0, len(rows), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            yield rows[part] + band.start, columns[part]


def _at(cells: _Floats, rows: NDArray[np.int64], columns: NDArray[np.int64], shape: tuple[int, ...]) -> _Floats:
    """Returns cells [rows, columns, channels], interpolated at n pixels of a photo of `shape`: [n, channels]."""
    down = (rows + 0.5) * (cells.shape[0] / shape[0]) - 0.5
    right = (columns + 0.5) * (cells.shape[1] / shape[1]) - 0.5
    places = np.dstack([right, down]).astype(np.float32)
    return cv2.remap(cells, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
