"""Reads any photo's file into pixels, in bounded memory; `photos.py` has a faster way for Kaggle's photos."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from carvana.base.errors import UserError, reading

Pixels = NDArray[np.uint8]

KINDS = "JPEG, PNG, WebP, BMP or TIFF"
SUFFIXES = {".jpg", ".jpeg", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff"}

# Enough for cameras and phones of 102 and 108 megapixels. A file smaller than 1 MB can hold far more.
MOST_PIXELS = 120_000_000

# Pillow goes by a file's content, not by its name, and would run Ghostscript for EPS.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")

_NOT_SHOWN = {"F": "floating-point values", "LAB": "Lab colours"}  # by Pillow's names of modes

_BAND = 1 << 20  # pixels: their floats stay in a processor's cache

_DAMAGED = ("is damaged or incomplete", "replace or remove it")

# MOST_PIXELS is the limit here; Pillow would print a warning from 89 megapixels on.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read(path: Path) -> Pixels:
    """Reads a photo as RGB uint8 [height, width, 3], on white if transparent. Raises UserError as `read_rgba` does."""
    with open_file(path) as file:
        return on_white(read_rgba(file, str(path)))


def open_file(path: Path) -> IO[bytes]:
    """Opens a file to read its bytes. Raises UserError, naming it, if that is not possible."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def count_pixels(file: IO[bytes], name: str) -> int:
    """Returns how many pixels a photo has, without decoding it. Raises UserError as `read_rgba` does."""
    image = _open(file, name)
    return image.width * image.height


def read_rgba(file: IO[bytes], name: str) -> Pixels:
    """Reads a photo as RGBA uint8 [height, width, 4], in the colours of sRGB and turned as its EXIF says.

    Alpha is 255 if the photo is opaque. Grey of 16 bits becomes 8 bits: 65535 becomes 255. Uses at most 8 bytes a
    pixel, or 10 for a progressive JPEG; the result has 4.

    Raises UserError, naming the photo, if it is damaged, is not of KINDS, has more than MOST_PIXELS, or has pixels that
    cannot be shown in 8 bits (floating point, Lab).
    """
    image = _open(file, name)
    with reading(name, *_DAMAGED):
        if image.format in ("JPEG", "MPO") and image.mode == "RGB":
            image = _decoded_jpeg(image, file)
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        to_srgb = _to_srgb(image)
        pixels = np.empty((image.height, image.width, 4), np.uint8)
        for rows in bands(image.height, image.width):
            band = image.crop((0, rows.start, image.width, rows.stop))
            shown = _shown(band, name) if image.mode.startswith("I") else band.convert("RGBA")
            if to_srgb:
                ImageCms.applyTransform(shown, to_srgb, inPlace=True)
            pixels[rows] = np.asarray(shown)
    return pixels


def on_white(photo: Pixels) -> Pixels:
    """Returns a photo RGBA uint8 [height, width, 4] on white, RGB uint8 [height, width, 3]; a view if it is opaque."""
    if photo[..., 3].min() == 255:
        return photo[..., :3]
    opaque = np.empty((*photo.shape[:2], 3), np.uint8)
    for rows in bands(*photo.shape[:2]):
        share = photo[rows, :, 3:] / np.float32(255)
        opaque[rows] = np.rint(255 + share * (photo[rows, :, :3] - np.float32(255)))
    return opaque


def bands(height: int, width: int) -> Iterator[slice]:
    """Yields the rows of a picture, about a million pixels at a time, so that temporary arrays are small."""
    rows = max(_BAND // width, 1)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _open(file: IO[bytes], name: str) -> Image.Image:
    """Opens a photo that can be read, without decoding it."""
    file.seek(0)
    with reading(name, *_DAMAGED):
        try:
            image = Image.open(file, formats=_FORMATS)
        except UnidentifiedImageError:
            raise UserError(f"{name} is damaged, or it is not {KINDS}; convert other kinds to JPEG first") from None
        except Image.DecompressionBombError:
            image = None
    if image is None or image.width * image.height > MOST_PIXELS:
        raise UserError(
            f"{name} has more than {MOST_PIXELS // 10**6} megapixels, which is the limit; make it smaller first"
        )
    if image.mode in _NOT_SHOWN:
        raise UserError(
            f"{name} has {_NOT_SHOWN[image.mode]}, which are not supported; "
            "convert it to 8 or 16 bits a channel, grey or RGB"
        )
    return image


def _decoded_jpeg(image: Image.Image, file: IO[bytes]) -> Image.Image:
    """Returns a JPEG decoded by simplejpeg, which refuses damaged data; Pillow would show it as grey."""
    file.seek(0)
    decoded = Image.fromarray(simplejpeg.decode_jpeg(file.read(), "RGBA"))
    # EXIF and the colour profile.
    decoded.info = image.info
    return decoded


def _to_srgb(image: Image.Image) -> ImageCms.ImageCmsTransform | None:
    """Returns the conversion of an image's RGBA pixels to sRGB; None if they are in sRGB, or no profile says otherwise.

    Damaged profiles are ignored, as in viewers, and so are those of grey and CMYK.
    """
    profile = image.info.get("icc_profile")
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGBA", "RGBA")
    except (OSError, ImageCms.PyCMSError):
        return None


def _shown(grey: Image.Image, name: str) -> Image.Image:
    """Returns grey of 16 bits as RGBA of 8 bits; Pillow's own conversion would make everything above 255 white."""
    values = np.asarray(grey).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise UserError(f"{name} has values below 0 or above 65535; convert it to 8 or 16 bits a channel")
    light = ((values * 255 + 32767) // 65535).astype(np.uint8)
    alpha = np.where(values == grey.info.get("transparency"), 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([light, light, light, alpha]))
