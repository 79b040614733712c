"""Photos and masks as bytes, in the formats of Kaggle's files."""

import io

import numpy as np
import simplejpeg
from PIL import Image

JPEG_QUALITY = 55


def jpeg(photo: np.ndarray) -> bytes:
    """Returns a photo, uint8 [rows, columns, 3] RGB, as a baseline JPEG with halved colour resolution."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(photo), JPEG_QUALITY, "RGB", "420", fastdct=False)


def gif(mask: np.ndarray) -> bytes:
    """Returns a mask, uint8 [rows, columns] of {0, 1}, as a GIF89a whose palette begins with black and white."""
    image = Image.frombytes("P", mask.shape[::-1], mask.tobytes())
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    # Without a duration, Pillow writes a GIF87a.
    image.save(file, "GIF", optimize=False, duration=10)
    return file.getvalue()
