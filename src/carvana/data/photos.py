"""Decodes Kaggle's photos and masks, and resizes them to the network's size, the same way for every stage."""

import io

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from carvana.base.errors import UserError, reading
from carvana.competition import HEIGHT, WIDTH

_AGAIN = "download it again, or remove it"

# Stages use threads or processes of their own, with which OpenCV's would compete for the cores.
cv2.setNumThreads(0)


def decode_photo(data: bytes, name: str, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns RGB uint8 [height, width, 3] of a JPEG, at `size` = (height, width).

    It is decoded at 1/8, 1/4, 1/2 or in full, the first that is not smaller than `size`, which averages by area and is
    much cheaper than decoding in full (from which it differs by 39 dB at 128² to 48 dB at 1024²), and then resized by
    linear interpolation. Raises UserError, which names the photo, if it is damaged or not 1918×1280.
    """
    with reading(name, "is not a complete JPEG", _AGAIN):
        height, width, _, _ = simplejpeg.decode_jpeg_header(data)
        _require_full_size(name, width, height)
        scale = next(k for k in (8, 4, 2, 1) if k == 1 or (k * size[0] <= HEIGHT and k * size[1] <= WIDTH))
        photo = simplejpeg.decode_jpeg(data, "RGB", min_height=-(-HEIGHT // scale), min_width=-(-WIDTH // scale))
    if WIDTH % scale == 0:
        return cv2.resize(photo, size[::-1], interpolation=cv2.INTER_LINEAR)
    # 1918 is no multiple of 4 or 8: the last column is partly outside the photo, and columns are mapped by true extent.
    across, down = WIDTH / scale / size[1], HEIGHT / scale / size[0]
    # Pixel centres lie at half: source = (target + 0.5) * step - 0.5.
    to_source = np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5]])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return cv2.warpAffine(photo, to_source, size[::-1], flags=how, borderMode=cv2.BORDER_REPLICATE)


def decode_mask(data: bytes, name: str) -> NDArray[np.uint8]:
    """Returns a mask uint8 [1280, 1918] of {0, 1} from a GIF (or PNG) whose pixels are {0, 1} or {0, 255}.

    Raises UserError, which names the mask, if it is damaged, not 1918×1280, or has other values.
    """
    with reading(name, "is not a complete mask", _AGAIN):
        try:
            image = Image.open(io.BytesIO(data), formats=["GIF", "PNG"])
        except UnidentifiedImageError:
            raise UserError(f"{name} is not a complete mask (GIF or PNG); {_AGAIN}") from None
        with image:
            _require_full_size(name, *image.size)
            indices = np.asarray(image)
    if indices.ndim != 2:
        raise UserError(f"{name} is a colour picture; a mask has one channel of {{0, 1}} or {{0, 255}}")
    car = indices != 0
    highest = indices.max()
    if highest not in (0, 1, 255) or np.count_nonzero(indices == highest) < np.count_nonzero(car):
        found = ", ".join(map(str, np.unique(indices)[:8]))
        raise UserError(f"{name} has the values {found}; a mask has {{0, 1}} or {{0, 255}}")
    return car.view(np.uint8)


def soften(mask: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns the coverage uint8 [height, width], 0–255, of a mask [1280, 1918] of {0, 1}: its mean by area.

    With soft masks a perfect network at 512² reaches a Dice of 0.9997 at full size; with hard masks, 0.998.
    """
    return resize_by_area(mask * np.uint8(255), size)


def resize_by_area(picture: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Returns a picture uint8 [height, width] or [height, width, channels] at `size`, (height, width).

    Each pixel is the mean of the area that it covers in `picture`, rounded once, whether a side grows or shrinks.
    """
    # OpenCV averages by area only if no side grows; otherwise INTER_AREA uses two pixels a side, at some sizes wrong
    # ones. Repeating pixels keeps their areas, and afterwards no side grows.
    for axis in (0, 1):
        if size[axis] > picture.shape[axis]:
            picture = np.repeat(picture, -(-size[axis] // picture.shape[axis]), axis=axis)
    return cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA)


def _require_full_size(name: str, width: int, height: int) -> None:
    if (width, height) != (WIDTH, HEIGHT):
        raise UserError(f"{name} is {width}×{height}; every photo and mask must be {WIDTH}×{HEIGHT}")
