"""A car cut out of a photo of any size: its soft mask, and the car on nothing, on a colour or on a picture."""

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageOps

from carvana.base.errors import UserError
from carvana.base.files import whole_file
from carvana.competition import HEIGHT, WIDTH
from carvana.cutouts import edges, specks
from carvana.data import any_photo
from carvana.data.any_photo import Pixels, bands, on_white
from carvana.data.photos import resize_by_area
from carvana.prediction.engines import Compute

_SURE = 0.2  # probability below which alpha is 0; above 1 − this, alpha is 255
_SPECK = 0.001  # share of a photo below which a find is no car: about 1/30 of its height times 1/30 of its width

_MOST_CELLS = 512  # a side of the network's view: finer cells take 400 MB, and edges.py spreads colours over few cells

_WEBP_SIDE = 16383  # pixels, the largest that the format allows


def cut(photo: Pixels, size: tuple[int, int], compute: Compute) -> Pixels:
    """Returns the car's alpha, uint8 [height, width] in 0–255, for a photo RGBA uint8 [height, width, 4].

    Changes the photo: pixels at the outline, which show the car and what is behind it, get the car's colour alone.

    `size` is the network's (height, width). The result is the product of the car's alpha and the photo's own, so
    transparent pixels stay transparent and their colours never show. The network sees the photo on white, because the
    studio that it was trained on is nearly white.
    """
    opaque = on_white(photo)
    alpha, cells = _alpha_and_cells(opaque, size, compute)
    edges.clean(opaque, alpha, cells)
    if not np.may_share_memory(opaque, photo):
        # What is half transparent has its colour already.
        np.copyto(photo[..., :3], opaque, where=photo[..., 3:] == 255)
    for rows in bands(*alpha.shape):
        product = alpha[rows].astype(np.uint16) * photo[rows, :, 3]
        alpha[rows] = (product + 127) // 255
    return alpha


def alpha_of(photo: Pixels, size: tuple[int, int], compute: Compute) -> Pixels:
    """Returns the car's share of every pixel, uint8 [height, width] in 0–255, for a photo RGB uint8 [height, width, 3].

    `size` is the network's (height, width). The photo is padded to the proportions of the training photos by repeating
    its border. Logits are enlarged bilinearly and then turned into probabilities, so their edge is about one network
    pixel wide; the photo's own edge makes it sharp. Where the network is sure, alpha is 0 or 255: otherwise highlights
    near the outline would become holes, and a faint background would remain, which is invisible but breaks trimming and
    pixel counts. Specks beside the car are removed.
    """
    return _alpha_and_cells(photo, size, compute)[0]


def has_car(alpha: Pixels) -> bool:
    """Returns whether at least 0.1 % of the pixels of an alpha uint8 [height, width] are 128 or more."""
    return bool(np.count_nonzero(alpha >= 128) >= _SPECK * alpha.size)


def crop(photo: Pixels, alpha: Pixels, margin: float) -> tuple[Pixels, Pixels]:
    """Returns the part of a photo and of its alpha that holds the car: both [height, width, …], without a copy.

    `margin` is left on each side, in percent of the car's longer side, where the photo has it.
    """
    spans = [np.flatnonzero(alpha.max(axis=axis))[[0, -1]] for axis in (1, 0)]
    border = round(margin / 100 * max(int(last - first) + 1 for first, last in spans))
    rows, columns = (slice(max(first - border, 0), last + 1 + border) for first, last in spans)
    return photo[rows, columns], alpha[rows, columns]


def compose(photo: Pixels, alpha: Pixels, background: Image.Image | None) -> Image.Image:
    """Returns the car of a photo RGBA uint8 [height, width, 4] with the alpha that `cut` returns.

    Without a background the result is RGBA, and shares the photo's memory. With a background, RGB of any size, it is
    RGB, and the background is scaled and cropped to fill it.
    """
    height, width = alpha.shape
    if background is None:
        photo[..., 3] = alpha
        return Image.fromarray(photo)
    picture = ImageOps.fit(background, (width, height), Image.Resampling.BILINEAR)
    for rows in bands(height, width):
        picture.paste(Image.fromarray(photo[rows, :, :3]), (0, rows.start), Image.fromarray(alpha[rows]))
    return picture


def read_background(text: str) -> Image.Image | None:
    """Returns a background in RGB, or None for `none`.

    `text` is `none`, a CSS colour (`white`, `#204060`) or the path of a picture, whose transparent pixels become white.
    Raises UserError if it is none of these.
    """
    if text == "none":
        return None
    if Path(text).is_file():
        return Image.fromarray(any_photo.read(Path(text)))
    try:
        return Image.new("RGB", (1, 1), ImageColor.getrgb(text)[:3])
    except ValueError:
        raise UserError(f"the background {text} is neither none nor a colour (white, #204060) nor a picture") from None


def save(path: Path, picture: Image.Image) -> None:
    """Writes a picture in the format of its suffix, completely or not at all. WebP is lossy, but not visibly.

    Raises UserError if the picture is too wide or too high for WebP.
    """
    if path.suffix == ".webp" and max(picture.size) > _WEBP_SIDE:
        raise UserError(f"{path} would be wider or higher than WebP allows ({_WEBP_SIDE} pixels); use --format png")
    options = {".png": {"compress_level": 1}, ".webp": {"quality": 90, "method": 2}}[path.suffix]
    with whole_file(path) as temporary:
        picture.save(temporary, path.suffix[1:], **options)


def _reduced(photo: Pixels, size: tuple[int, int]) -> Pixels:
    """Returns a photo RGB uint8 as the network of `size` (height, width) sees it, without the padding."""
    height, width = photo.shape[:2]
    frame_height, frame_width = max(height, width * HEIGHT / WIDTH), max(width, height * WIDTH / HEIGHT)
    inner = (max(round(height / frame_height * size[0]), 1), max(round(width / frame_width * size[1]), 1))
    return resize_by_area(photo, inner)


def _cells(photo: Pixels, small: Pixels) -> Pixels:
    """Returns the cells of edges.py: what the network sees, averaged further if that is too fine."""
    share = min(1.0, _MOST_CELLS / max(small.shape[:2]))
    rows, columns = (
        max(min(round(side * share), own), 1) for side, own in zip(small.shape[:2], photo.shape[:2], strict=True)
    )
    return small if (rows, columns) == small.shape[:2] else resize_by_area(photo, (rows, columns))


def _alpha_and_cells(photo: Pixels, size: tuple[int, int], compute: Compute) -> tuple[Pixels, Pixels]:
    small = _reduced(photo, size)
    height, width = small.shape[:2]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    borders = (top, size[0] - height - top, left, size[1] - width - left)
    logits = compute(cv2.copyMakeBorder(small, *borders, cv2.BORDER_REPLICATE)[None])[0]
    # The padding is cut off first, so that its logits do not affect the photo's border.
    own = np.ascontiguousarray(logits[top : top + height, left : left + width])
    alpha = _enlarged_alpha(own, *photo.shape[:2])
    cells = _cells(photo, small)
    edges.sharpen(photo, alpha, cells)
    specks.remove_specks(alpha, cells.shape[:2])
    return alpha, cells


def _enlarged_alpha(logits: NDArray[np.float32], height: int, width: int) -> Pixels:
    """Returns alpha uint8 [height, width] of logits of any size, enlarged bilinearly."""
    full = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = np.empty((height, width), np.uint8)
    for rows in bands(height, width):
        share = 1 / (1 + np.exp(-np.clip(full[rows], -30, 30)))
        alpha[rows] = np.rint(255 * np.clip((share - _SURE) / (1 - 2 * _SURE), 0, 1))
    return alpha
