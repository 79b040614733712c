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
from carvana.cutouts.jobs import PROGRAM, SOFTWARE, Job
from carvana.data import any_photo
from carvana.data.any_photo import Pixels, bands, on_white
from carvana.data.photos import resize_by_area
from carvana.prediction.engines import Compute

_SURE = 0.2  # probability below which alpha is 0; above 1 − this, alpha is 255
_SPECK = 0.001  # share of a photo below which a find is no car: about 1/30 of its height times 1/30 of its width
_MOST_CELLS = 512  # a side of the network's view: finer cells take 400 MB, and edges.py spreads colours over few cells
_WEBP_SIDE = 16383  # pixels, the largest that the format allows


def cut_file(
    job: Job, size: tuple[int, int], compute: Compute, behind: Image.Image | None, margin: float | None
) -> bool:
    """Writes a photo's cut-out, and its mask if the job has two outputs; returns whether there is a car in the photo.

    `size` is the network's (height, width). With a margin, both are cropped to the car; a photo without a car, of which
    less than 0.1 % of the pixels are 128 or more, stays whole. Raises UserError if the photo cannot be cut out.
    """
    pixels = any_photo.read_rgba(job.photo)
    alpha = cut(pixels, size, compute)
    has_car = bool(np.count_nonzero(alpha >= 128) >= _SPECK * alpha.size)
    if margin is not None and has_car:
        pixels, alpha = crop(pixels, alpha, margin)
    picture = compose(pixels, alpha, behind)
    # Frees the photo's memory while a picture with a background is written.
    del pixels
    for path, content in zip(job.outputs, (picture, Image.fromarray(alpha)), strict=False):
        save(path, content, job.made_of)
    return has_car


def cut(photo: Pixels, size: tuple[int, int], compute: Compute) -> Pixels:
    """Returns the car's alpha, uint8 [height, width] in 0–255, for a photo RGBA uint8 [height, width, 4].

    Changes the photo: pixels at the outline, which show the car and what is behind it, get the car's colour alone. The
    result is the product of the car's alpha and the photo's own, so that transparent pixels stay transparent. The
    network sees the photo on white, because the studio that it was trained on is nearly white.
    """
    opaque = on_white(photo)
    alpha, cells = alpha_and_cells(opaque, size, compute)
    edges.clean(opaque, alpha, cells)
    # What is half transparent has its colour already.
    np.copyto(photo[..., :3], opaque, where=photo[..., 3:] == 255)
    return cv2.multiply(alpha, np.ascontiguousarray(photo[..., 3]), scale=1 / 255)


def alpha_and_cells(photo: Pixels, size: tuple[int, int], compute: Compute) -> tuple[Pixels, Pixels]:
    """Returns the car's share of every pixel of a photo, and the photo averaged over the cells that edges.py takes.

    The photo is RGB uint8 [height, width, 3], its alpha uint8 [height, width] in 0–255, and `size` is the network's
    (height, width). The photo is padded to the proportions of the training photos by repeating its border. Logits are
    enlarged bilinearly, so that their edge is about one network pixel wide; the photo's own edge makes it sharp. Where
    the network is sure, alpha is 0 or 255: otherwise highlights near the outline would become holes, and a faint
    background would remain. Specks beside the car are removed. Cells are what the network sees, averaged further if
    that is too fine.
    """
    height, width = photo.shape[:2]
    frame = max(height, width * HEIGHT / WIDTH), max(width, height * WIDTH / HEIGHT)
    rows, columns = (max(round(photo.shape[axis] / frame[axis] * size[axis]), 1) for axis in (0, 1))
    small = resize_by_area(photo, (rows, columns))
    top, left = (size[0] - rows) // 2, (size[1] - columns) // 2
    borders = (top, size[0] - rows - top, left, size[1] - columns - left)
    logits = compute(cv2.copyMakeBorder(small, *borders, cv2.BORDER_REPLICATE)[None])[0]
    # The padding is cut off first, so that its logits do not affect the photo's border.
    alpha = _enlarged(logits[top : top + rows, left : left + columns], height, width)
    coarser = min(1.0, _MOST_CELLS / max(rows, columns))
    grid = (max(min(round(rows * coarser), height), 1), max(min(round(columns * coarser), width), 1))
    cells = small if grid == (rows, columns) else resize_by_area(photo, grid)
    edges.sharpen(photo, alpha, cells)
    specks.remove_specks(alpha, grid)
    return alpha, cells


def crop(photo: Pixels, alpha: Pixels, margin: float) -> tuple[Pixels, Pixels]:
    """Returns the part of a photo and of its alpha with the car, and a margin in percent of the car's longer side."""
    left, top, width, height = cv2.boundingRect(alpha)
    border = round(margin / 100 * max(width, height))
    rows = slice(max(top - border, 0), top + height + border)
    columns = slice(max(left - border, 0), left + width + border)
    return photo[rows, columns], alpha[rows, columns]


def compose(photo: Pixels, alpha: Pixels, background: Image.Image | None) -> Image.Image:
    """Returns the car of a photo RGBA uint8 [height, width, 4] with the alpha that `cut` returns.

    The result is RGBA, in the photo's memory, or RGB with a background of any size, which is scaled and cropped.
    """
    photo[..., 3] = alpha
    car = Image.fromarray(photo)
    if background is None:
        return car
    picture = ImageOps.fit(background, car.size, Image.Resampling.BILINEAR)
    picture.paste(car, mask=car)
    return picture


def read_background(text: str) -> Image.Image | None:
    """Returns a background in RGB, a CSS colour or a picture; None for `none`. Raises UserError for anything else."""
    if text == "none":
        return None
    if Path(text).is_file():
        return Image.fromarray(any_photo.read(Path(text)))
    try:
        return Image.new("RGB", (1, 1), ImageColor.getrgb(text)[:3])
    except ValueError:
        raise UserError(f"the background {text} is neither none nor a colour (white, #204060) nor a picture") from None


def save(path: Path, picture: Image.Image, made_of: str) -> None:
    """Writes a picture as PNG or WebP, by its suffix, completely or not at all. WebP is lossy, but not visibly.

    Its EXIF says what it is made of, for `jobs.read_made_of`. Raises UserError if the picture is too wide or too high
    for WebP.
    """
    if path.suffix == ".webp" and max(picture.size) > _WEBP_SIDE:
        raise UserError(f"{path} would be wider or higher than WebP allows ({_WEBP_SIDE} pixels); use --format png")
    about = Image.Exif()
    about[SOFTWARE] = f"{PROGRAM} {made_of}"
    with whole_file(path) as temporary:
        # Each format ignores the other's options.
        picture.save(temporary, path.suffix[1:], exif=about, compress_level=1, quality=90, method=2)


def _enlarged(logits: NDArray[np.float32], height: int, width: int) -> Pixels:
    """Returns alpha uint8 [height, width] of logits of any size, enlarged bilinearly."""
    full = cv2.resize(logits, (width, height), interpolation=cv2.INTER_LINEAR)
    alpha = np.empty((height, width), np.uint8)
    for rows in bands(height, width):
        share = 1 / (1 + np.exp(-np.clip(full[rows], -30, 30)))
        alpha[rows] = np.rint(255 * np.clip((share - _SURE) / (1 - 2 * _SURE), 0, 1))
    return alpha
