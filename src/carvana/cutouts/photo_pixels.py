"""From the file of any photo to its pixels, in bounded memory.

`data/photos.py` has a faster way for Kaggle's photos, which are all JPEGs of one size.
"""

import warnings
from collections.abc import Iterator
from typing import IO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from carvana.base.errors import UserError, reading

Pixels = NDArray[np.uint8]

KINDS = "JPEG, PNG, WebP, BMP or TIFF"

# Enough for cameras and phones of 102 and 108 megapixels. A file smaller than 1 MB can hold far more.
MOST_PIXELS = 120_000_000

# Pillow goes by a file's content, not by its name, and would run Ghostscript for EPS.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

_PLAIN = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr"}
_DEEP_GREY = {"I;16", "I;16L", "I;16B", "I;16N", "I"}

_BAND = 1 << 20  # pixels: their floats stay in a processor's cache

_DAMAGED = ("is damaged or incomplete", "replace or remove it")

# MOST_PIXELS is the limit here; Pillow would print a warning from 89 megapixels on.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def bands(height: int, width: int) -> Iterator[slice]:
    """Yields the rows of a picture, about a million pixels at a time, so that temporary arrays are small."""
    rows = max(_BAND // width, 1)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def open_photo(file: IO[bytes], name: str) -> Image.Image:
    """Opens a photo without decoding its pixels.

    Raises UserError, naming the photo, if it is not of KINDS, has more than MOST_PIXELS, or has pixels that cannot be
    shown in 8 bits (floating point, Lab).
    """
    with reading(name, *_DAMAGED):
        try:
            image = Image.open(file, formats=_FORMATS)
        except UnidentifiedImageError:
            raise UserError(f"{name} is damaged, or it is not {KINDS}; convert other kinds to JPEG first") from None
        except Image.DecompressionBombError:
            raise _too_large(name) from None
    if image.width * image.height > MOST_PIXELS:
        raise _too_large(name)
    if image.mode not in _PLAIN | _DEEP_GREY:
        kind = {"F": "floating-point values", "LAB": "Lab colours"}.get(image.mode, f"pixels of mode {image.mode}")
        raise UserError(
            f"{name} has {kind}, which are not supported; convert it to 8 or 16 bits a channel, grey or RGB"
        )
    return image


def decode(image: Image.Image, name: str) -> Pixels:
    """Decodes what `open_photo` returns to RGBA uint8 [height, width, 4], turned as its EXIF says; closes the image.

    Alpha is 255 if the photo is opaque. Grey of 16 bits becomes 8 bits: 65535 becomes 255. Uses at most 8 bytes a
    pixel, or 10 for a progressive JPEG; the result has 4. Raises UserError, naming the photo, if it is damaged.
    """
    try:
        with reading(name, *_DAMAGED):
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            pixels = np.empty((image.height, image.width, 4), np.uint8)
            for rows in bands(image.height, image.width):
                band = image.crop((0, rows.start, image.width, rows.stop))
                pixels[rows] = _deep_grey(band, name) if image.mode in _DEEP_GREY else np.asarray(band.convert("RGBA"))
    finally:
        # The end of a `with` would close the file only, and keep the pixels.
        image.close()
    return pixels


def read_rgb(file: IO[bytes], name: str) -> Pixels:
    """Reads a photo as RGB uint8 [height, width, 3], on white if transparent. Raises as `open_photo` and `decode`."""
    return on_white(decode(open_photo(file, name), name))


def on_white(photo: Pixels) -> Pixels:
    """Returns a photo RGBA uint8 [height, width, 4] on white, RGB uint8 [height, width, 3]; a view if it is opaque."""
    if photo[..., 3].min() == 255:
        return photo[..., :3]
    return blend(photo, np.full((*photo.shape[:2], 3), 255, np.uint8))


def blend(photo: Pixels, behind: Pixels) -> Pixels:
    """Draws a photo RGBA uint8 [height, width, 4] over `behind`, RGB uint8 of that size, in place; returns `behind`."""
    for rows in bands(*photo.shape[:2]):
        below = behind[rows].astype(np.float32)
        share = photo[rows, :, 3:].astype(np.float32) / 255
        behind[rows] = np.rint(below + share * (photo[rows, :, :3] - below)).astype(np.uint8)
    return behind


def _deep_grey(band: Image.Image, name: str) -> Pixels:
    """Returns RGBA uint8 of rows of 16-bit grey, which Pillow's own conversion would clip at 255."""
    values = np.asarray(band).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UserError(f"{name} has values below 0 or above 65535; convert it to 8 or 16 bits a channel")
    pixels = np.empty((*values.shape, 4), np.uint8)
    pixels[..., :3] = ((values * 255 + 32767) // 65535)[..., None]
    pixels[..., 3] = np.where(values == band.info.get("transparency"), 0, 255)
    return pixels


def _too_large(name: str) -> UserError:
    return UserError(
        f"{name} has more than {MOST_PIXELS // 10**6} megapixels, which is the limit; make it smaller first"
    )
