"""A car cut out of a photo of any size: its soft mask, and the car on nothing, a colour or a picture."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor

from carvana.competition import HEIGHT, WIDTH
from carvana.cutouts.photo_files import open_file
from carvana.cutouts.photo_pixels import Pixels, bands, blend, on_white, read_rgb
from carvana.data.photos import resize_by_area
from carvana.errors import UserError
from carvana.files import whole_file
from carvana.prediction.engines import Compute

_SURE = 0.02  # the probability below which a pixel is nothing of the car; all of it, above its complement
_SPECK = 0.001  # the share of a photo below which what is found is no car: a thirtieth of its height and width

_WEBP_SIDE = 16383  # pixels, the most that the format can have


def cut(photo: Pixels, size: tuple[int, int], compute: Compute) -> Pixels:
    """The alpha of the car in a photo RGBA uint8 [height, width, 4]: uint8 [height, width] in 0–255.

    `size` is the network's (height, width). The result is the product of the predicted alpha and the photo's own, so
    what was transparent stays so, and a colour that is hidden behind it never shows. The network sees the photo on
    white, because the studio that it has learned is nearly white.
    """
    alpha = alpha_of(on_white(photo), size, compute)
    for rows in bands(*alpha.shape):
        product = alpha[rows].astype(np.uint16) * photo[rows, :, 3]
        alpha[rows] = (product + 127) // 255
    return alpha


def alpha_of(photo: Pixels, size: tuple[int, int], compute: Compute) -> Pixels:
    """The car's share of every pixel, uint8 [height, width] in 0–255, of a photo RGB uint8 [height, width, 3].

    `size` is the network's (height, width). The photo keeps its proportions in a frame of those that the network has
    learned, whose rest repeats the photo's border. Logits are enlarged bilinearly, then made probabilities, so that
    the edge is about one pixel of the network wide. What the network is all but sure of is 0 or 255: else a ghost of
    the whole studio would stay behind, not to be seen but in the way of whatever trims or counts.
    """
    height, width = photo.shape[:2]
    frame_height, frame_width = max(height, width * HEIGHT / WIDTH), max(width, height * WIDTH / HEIGHT)
    inner = (max(round(height / frame_height * size[0]), 1), max(round(width / frame_width * size[1]), 1))
    top, left = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    small = resize_by_area(photo, inner)
    borders = (top, size[0] - inner[0] - top, left, size[1] - inner[1] - left)
    logits = compute(cv2.copyMakeBorder(small, *borders, cv2.BORDER_REPLICATE)[None])[0]
    # Without the frame first: its logits must not reach into the photo's border.
    own = np.ascontiguousarray(logits[top : top + inner[0], left : left + inner[1]])
    return _enlarged_alpha(own, height, width)


def has_car(alpha: Pixels) -> bool:
    """Whether an alpha uint8 [height, width] shows more than a speck: 0.1 % of its pixels are at least 128."""
    return bool(np.count_nonzero(alpha >= 128) >= _SPECK * alpha.size)


def compose(photo: Pixels, alpha: Pixels, background: Pixels | None) -> Pixels:
    """The car of a photo RGBA uint8 [height, width, 4] with the alpha that `cut` returns.

    Without a background it is RGBA uint8 [height, width, 4]; on a background RGB uint8 of any size, which is cut to
    fill, it is RGB uint8 [height, width, 3]. The photo's alpha is replaced in place.
    """
    photo[..., 3] = alpha
    return photo if background is None else blend(photo, _filling(background, photo.shape[:2]))


def read_background(text: str) -> Pixels | None:
    """`none`, a colour as CSS has it (`white`, `#204060`), or a picture's path, as RGB uint8 [height, width, 3].

    What is transparent in the picture is white. Raises UserError if it is none of them.
    """
    if text == "none":
        return None
    if Path(text).is_file():
        with open_file(Path(text)) as file:
            # In one piece, or OpenCV would copy all of it for every photo.
            return np.ascontiguousarray(read_rgb(file, text))
    try:
        return np.array(ImageColor.getrgb(text)[:3], np.uint8).reshape(1, 1, 3)
    except ValueError:
        raise UserError(f"the background {text} is neither none nor a colour (white, #204060) nor a picture") from None


def save(path: Path, picture: Pixels) -> None:
    """Writes a picture as its name's suffix says, whole or not at all; WebP is lossy, but not to be seen.

    Raises UserError if the picture is too wide or high for WebP.
    """
    if path.suffix == ".webp" and max(picture.shape[:2]) > _WEBP_SIDE:
        raise UserError(f"{path} would be wider or higher than WebP allows ({_WEBP_SIDE} pixels); use --format png")
    options = {".png": {"compress_level": 1}, ".webp": {"quality": 90, "method": 2}}[path.suffix]
    with whole_file(path) as temporary:
        Image.fromarray(picture).save(temporary, path.suffix[1:], **options)


def _enlarged_alpha(logits: NDArray[np.float32], height: int, width: int) -> Pixels:
    """Alpha uint8 [height, width] of logits of any size, enlarged bilinearly: whole columns first, then by bands."""
    wide = cv2.resize(logits, (width, len(logits)), interpolation=cv2.INTER_LINEAR)
    # Pixel centres lie at half: source = (target + 0.5) * step - 0.5.
    places = np.clip((np.arange(height) + 0.5) * (len(wide) / height) - 0.5, 0, len(wide) - 1)
    above = places.astype(np.int64)
    below = np.minimum(above + 1, len(wide) - 1)
    weights = (places - above).astype(np.float32)[:, None]
    alpha = np.empty((height, width), np.uint8)
    for rows in bands(height, width):
        upper, lower = wide[above[rows]], wide[below[rows]]
        full = upper + weights[rows] * (lower - upper)
        share = 1 / (1 + np.exp(-np.clip(full, -30, 30)))
        alpha[rows] = np.rint(255 * np.clip((share - _SURE) / (1 - 2 * _SURE), 0, 1)).astype(np.uint8)
    return alpha


def _filling(picture: Pixels, size: tuple[int, int]) -> Pixels:
    """The middle of a picture, enlarged or reduced to `size` (height, width), as an array of its own."""
    scale = max(size[0] / picture.shape[0], size[1] / picture.shape[1])
    # Cut before it is scaled: a long and narrow picture would become far larger than the photo.
    height, width = (min(max(round(side / scale), 1), most) for side, most in zip(size, picture.shape[:2], strict=True))
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(picture[top : top + height, left : left + width], size[::-1], interpolation=method)
