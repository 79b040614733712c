"""The outline of a cut-out: alpha as sharp as the photo, and the car's own colours up to it.

Near the outline a photo's pixel is a mixture, alpha · car + (1 − alpha) · behind. The colours of both sides are taken
from pixels close by that belong to one side for sure, averaged over *cells*: half a network pixel, because that is how
far the predicted outline may be off. This is the blurring of Forte and Pitié, Approximate Fast Foreground Colour
Estimation (ICIP 2021), and costs next to nothing, because only the cells and the outline's pixels are computed.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from carvana.cutouts.photo_pixels import Pixels, bands
from carvana.data.photos import resize_by_area

_Floats = NDArray[np.float32]

_NEAR, _FAR = 5, 15  # cells: sides of the squares whose means are the colours; far if there is nothing near
_FAINT = 0.02  # weight of far cells
_DISTINCT = 0.3  # difference of the two sides' colours, 0–√3, at which the photo counts half
_TRUST = 0.5  # weight of what the colours say against what the network says
_GAIN = 3.0  # how much steeper alpha becomes
_RIM = 2  # pixels inside of the soft ones
_SAME = 1e-4  # square of a difference of colours, of 1/100 of their range

_AT_ONCE = 1 << 17  # pixels: their floats take 10 MB
_ROW = 4096  # pixels; OpenCV takes at most 32766


class _Sides(NamedTuple):
    """RGB float32 [rows, columns, 3] in 0–1 of each cell: the car's colour there, and what is behind it."""

    car: _Floats
    behind: _Floats


def sharpen(photo: Pixels, alpha: Pixels, cells: tuple[int, int]) -> None:
    """Moves and narrows the soft edge of alpha, uint8 [height, width], to the edge in a photo RGB uint8, in place.

    Where the two sides have different colours, a pixel's place between them is as good a guess of its alpha as the
    network's; where they do not (a white car on a white wall), the network's is kept. Pixels of 0 and 255 stay.
    `cells` is how many (rows, columns) the photo is divided into.
    """
    sides = _sides(photo, alpha, alpha, cells)
    for rows, columns in _pixels(lambda band: (alpha[band] > 0) & (alpha[band] < 255), alpha.shape):
        colour, car, behind = _colours(photo, sides, rows, columns)
        before = np.divide(alpha[rows, columns], 255, dtype=np.float32)
        distance = np.square(car - behind).sum(axis=1)
        trust = _TRUST * distance / (distance + _DISTINCT**2)
        unsure = 4 * before * (1 - before)
        after = before + trust * unsure * (_between(colour, car, behind) - 0.5)
        alpha[rows, columns] = np.rint(255 * np.clip(0.5 + _GAIN * (after - 0.5), 0, 1))


def clean(photo: Pixels, alpha: Pixels, cells: tuple[int, int]) -> None:
    """Replaces the colours along the outline of a photo RGB uint8 [height, width, 3] by the car's own, in place.

    Otherwise what was behind the car would shine around it on another background. It is in the soft pixels and, because
    lenses blur and JPEG does, in the rim of two pixels inside of them.
    """
    inside = cv2.erode(alpha, np.ones((2 * _RIM + 1, 2 * _RIM + 1), np.uint8))
    sides = _sides(photo, inside, alpha, cells)
    for rows, columns in _pixels(lambda band: (alpha[band] > 0) & (inside[band] < 255), alpha.shape):
        colour, car, behind = _colours(photo, sides, rows, columns)
        share = np.minimum(alpha[rows, columns] / 255, _between(colour, car, behind))[:, None]
        own = car + share * (colour - share * car - (1 - share) * behind)
        photo[rows, columns] = np.rint(255 * np.clip(own, 0, 1))


def _between(colour: _Floats, car: _Floats, behind: _Floats) -> _Floats:
    """Returns where colours [n, 3] lie between what is behind the car, 0, and the car, 1; 1 if both are equal."""
    across = car - behind
    distance = np.square(across).sum(axis=1)
    place = 1 - ((car - colour) * across).sum(axis=1) / np.maximum(distance, _SAME)
    return np.clip(place, 0, 1)


def _sides(photo: Pixels, inside: Pixels, alpha: Pixels, cells: tuple[int, int]) -> _Sides:
    """Returns the colours of both sides from cells in which all of `inside` is 255, or all of alpha is 0."""
    small = np.divide(resize_by_area(photo, cells), 255, dtype=np.float32)
    car, behind = resize_by_area(inside, cells) == 255, resize_by_area(alpha, cells) == 0
    return _Sides(_spread(small, car), _spread(small, behind))


def _spread(colours: _Floats, known: NDArray[np.bool_]) -> _Floats:
    """Returns for every cell the mean of the known colours near it, or of those far from it if there are none near."""
    weights = known.astype(np.float32)
    sums = np.dstack([colours * weights[..., None], weights])
    near = _blur(sums, _NEAR)
    total = near + _FAINT * _blur(near, _FAR)
    return np.divide(total[..., :3], np.maximum(total[..., 3:], 1e-9))


def _blur(values: _Floats, side: int) -> _Floats:
    for _ in range(2):
        values = cv2.boxFilter(values, -1, (side, side), borderType=cv2.BORDER_REPLICATE)
    return values


def _pixels(
    wanted: Callable[[slice], NDArray[np.bool_]], shape: tuple[int, ...]
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields rows and columns of the wanted pixels, a bounded number at a time."""
    for band in bands(*shape):
        rows, columns = np.nonzero(wanted(band))
        rows += band.start
        for first in range(0, len(rows), _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            yield rows[part], columns[part]


def _colours(
    photo: Pixels, sides: _Sides, rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[_Floats, _Floats, _Floats]:
    """Returns three colours float32 [n, 3] in 0–1 of n pixels: the photo's, the car's and what is behind it."""
    places = [
        ((at + 0.5) * (cells / side) - 0.5).astype(np.float32)
        for at, cells, side in zip((rows, columns), sides.car.shape, photo.shape, strict=False)
    ]
    across, down = (np.resize(place, (-(-len(rows) // _ROW), _ROW)) for place in reversed(places))
    maps = (cv2.remap(side, across, down, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for side in sides)
    car, behind = (each.reshape(-1, 3)[: len(rows)] for each in maps)
    return np.divide(photo[rows, columns], 255, dtype=np.float32), car, behind
