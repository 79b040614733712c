"""Reads any photo's file into pixels, in bounded memory; `photos.py` has a faster way for Kaggle's photos."""

import io
import warnings
from collections.abc import Iterator
from pathlib import Path

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

_BAND = 1 << 20  # pixels: their floats stay in a processor's cache

_DAMAGED = ("is damaged or incomplete", "replace or remove it")

# Pillow would warn from 89 megapixels on.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


def read(path: Path) -> Pixels:
    """Reads a photo as RGB uint8 [height, width, 3], on white if transparent. Raises UserError as `read_rgba` does."""
    return on_white(read_rgba(path))


def count_pixels(path: Path) -> int:
    """Returns how many pixels a photo has, without decoding it. Raises UserError as `read_rgba` does."""
    with _open(path) as image:
        return image.width * image.height


def read_rgba(path: Path) -> Pixels:
    """Reads a photo as RGBA uint8 [height, width, 4], in the colours of sRGB and turned as its EXIF says.

    Grey of 16 bits becomes 8 bits: 65535 becomes 255. Uses at most 8 bytes a pixel, or 10 for a progressive JPEG; the
    result has 4. Raises UserError if the photo is damaged, is not of KINDS, has more than MOST_PIXELS, or has pixels
    that cannot be shown in 8 bits.
    """
    with _open(path) as image, reading(path, *_DAMAGED):
        if image.format in ("JPEG", "MPO"):
            # Refuses damaged data, which Pillow would show as grey.
            mode = "CMYK" if image.mode == "CMYK" else "RGBA"
            values = simplejpeg.decode_jpeg(path.read_bytes(), mode)
            if mode == "CMYK":
                np.invert(values, out=values)  # as Pillow does, since Adobe's programs write it so
            decoded = Image.frombuffer(mode, image.size, values)
            decoded.info = image.info  # EXIF and the colour profile
        else:
            decoded = image
        ImageOps.exif_transpose(decoded, in_place=True)
        to_srgb = _to_srgb(decoded.info.get("icc_profile"))
        width, height = decoded.size
        pixels = np.empty((height, width, 4), np.uint8)
        for rows in bands(height, width):
            band = decoded.crop((0, rows.start, width, rows.stop))
            if band.mode.startswith("I;16"):
                # Pillow's own conversion would make everything above 255 white.
                band = Image.fromarray(np.rint(np.asarray(band) / 257).astype(np.uint8))
            band = band.convert("RGBA")
            if to_srgb:
                ImageCms.applyTransform(band, to_srgb, inPlace=True)
            pixels[rows] = np.asarray(band)
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


def _open(path: Path) -> Image.Image:
    """Opens a photo that can be read, without decoding it."""
    with reading(path, *_DAMAGED, missing="check the path"):
        try:
            image = Image.open(path, formats=_FORMATS)
        except UnidentifiedImageError:
            raise UserError(f"{path} is damaged, or it is not {KINDS}; convert other kinds to JPEG first") from None
        except PermissionError:
            raise UserError(f"{path} cannot be read; check its permissions") from None
        except Image.DecompressionBombError:
            image = None
    if image is None or image.width * image.height > MOST_PIXELS:
        raise UserError(f"{path} has more than {MOST_PIXELS // 10**6} megapixels, the limit; make it smaller first")
    if image.mode in ("F", "I", "LAB"):
        raise UserError(f"{path} has floating-point, 32-bit or Lab pixels; convert it to 8 or 16 bits, grey or RGB")
    return image


def _to_srgb(profile: bytes | None) -> ImageCms.ImageCmsTransform | None:
    """Returns the conversion of RGBA to sRGB; None for sRGB, and if the profile is missing, damaged, grey or CMYK."""
    if not profile:
        return None
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
        return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), "RGBA", "RGBA")
    except (OSError, ImageCms.PyCMSError):
        return None
