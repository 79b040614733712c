"""Pictures of predictions for people: tiles beside each other, mistakes in two colours, a zoom on the worst spot."""

import functools
import io

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from carvana.competition import HEIGHT, WIDTH
from carvana.masks import rle
from carvana.results import wrong_pixels

Pixels = NDArray[np.uint8]

# Two hues that differ in lightness, too, on photos made grey and of medium lightness.
MISSED = (10, 35, 170)
ADDED = (255, 205, 0)

_TILE = (384, 256)  # width and height
_SAMPLE = 256  # width of a training sample
_GAP = 6
_FONT_SIZE = 20


def example(photo: Pixels, predicted: rle.Runs, true: rle.Runs, title: str) -> Pixels:
    """One prediction in six tiles of two columns, RGB uint8.

    Photo and mistakes, true and predicted mask, and the place with the most wrong pixels at full resolution, in the
    photo and with the mistakes. `photo` is RGB uint8 [1280, 1918, 3].
    """
    guess, mask = (rle.to_mask(runs, HEIGHT, WIDTH) for runs in (predicted, true))
    spot = worst_spot(wrong_pixels.find(predicted, true, mask).places)
    box = (slice(spot[1], spot[1] + _TILE[1]), slice(spot[0], spot[0] + _TILE[0]))
    small = _resize(photo, _TILE)
    overlay = show_mistakes(small, guess, mask)
    corner, far = ((x * _TILE[0] // WIDTH, y * _TILE[1] // HEIGHT) for x, y in (spot, np.add(spot, _TILE)))
    cv2.rectangle(overlay, corner, far, (255, 255, 255), 2)
    tiles = {
        "photo": small,
        "missed (dark blue) and added (yellow)": overlay,
        "true mask": _as_picture(mask),
        "predicted mask": _as_picture(guess),
        "most mistakes, one pixel for one": np.ascontiguousarray(photo[box]),
        "the same, missed and added": show_mistakes(photo[box], guess[box], mask[box]),
    }
    return mosaic([label(tile, text) for text, tile in tiles.items()], 2, title)


def worst_spot(places: NDArray[np.int32]) -> tuple[int, int]:
    """The left upper corner (x, y) of a tile at full resolution in whose middle the most wrong pixels lie.

    `places` is that of `Mistakes`. Pixels count the less, the farther they are from the middle.
    """
    counts = cv2.GaussianBlur(places.sum(axis=0).astype(np.float32), (0, 0), _TILE[1] / wrong_pixels.CELL / 4)
    _, _, _, centre = cv2.minMaxLoc(counts)
    left, top = (place * wrong_pixels.CELL - side // 2 for place, side in zip(centre, _TILE, strict=True))
    return min(max(left, 0), WIDTH - _TILE[0]), min(max(top, 0), HEIGHT - _TILE[1])


def show_mistakes(photo: Pixels, predicted: Pixels, true: Pixels) -> Pixels:
    """The photo in grey with missed and added pixels coloured.

    `predicted` and `true` are masks of {0, 1}, of the photo's size or larger; a line of wrong pixels that is made
    smaller keeps its strength.
    """
    height, width, _ = photo.shape
    picture = np.repeat((cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) * 0.45 + 75)[..., None], 3, axis=2)
    for colour, wrong in ((MISSED, true > predicted), (ADDED, predicted > true)):
        share = _resize(wrong.view(np.uint8) * np.uint8(255), (width, height))
        alpha = np.minimum(share * (true.shape[1] / width / 255), 1)[..., None]
        picture += alpha * (np.array(colour) - picture)
    return picture.astype(np.uint8)


def error_map(views: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Pixels:
    """Where wrong pixels lie in the mean of each view's photos, four views a row.

    `views` has for each view the shares of `Findings.shares`. The grey shape is where cars are.
    """
    # Full colour but for a few squares, which would make all others pale.
    full = max(np.percentile([wrong.max(axis=0) for wrong, _ in views.values()], 99.8), 1e-6)
    tiles = []
    for view, (wrong, coverage) in sorted(views.items()):
        picture = np.repeat((255 - 90 * coverage)[..., None], 3, axis=2)
        for colour, share in zip((MISSED, ADDED), wrong, strict=True):
            alpha = np.sqrt(np.minimum(share / full, 1))[..., None]
            picture += alpha * (np.array(colour) - picture)
        tiles.append(label(picture.astype(np.uint8), f"view {view}"))
    return mosaic(tiles, 4)


def training_samples(photos: Pixels, masks: Pixels, names: list[str]) -> Pixels:
    """Photos uint8 [n, height, width, 3] as the network is given them, and each without what its mask calls no car.

    `masks` are uint8 [n, height, width] in 0–255. A mask of another photo shows at once.
    """
    tiles = []
    height, width = photos.shape[1:3]
    size = (_SAMPLE, _SAMPLE * height // width)
    for photo, mask, name in zip(photos, masks, names, strict=True):
        share = mask[..., None] / np.float32(255)
        cut = (photo * share + np.array((255, 0, 255)) * (1 - share)).astype(np.uint8)
        for picture, text in ((photo, name), (cut, "with its mask")):
            # Small photos by whole pixels, as the network has them.
            method = cv2.INTER_NEAREST if width <= _SAMPLE else cv2.INTER_AREA
            tiles.append(label(_resize(picture, size, method), text))
    return mosaic(tiles, 4)


def label(tile: Pixels, text: str) -> Pixels:
    """The tile with a text in its upper left corner."""
    image = Image.fromarray(tile)
    draw = ImageDraw.Draw(image)
    right, bottom = draw.textbbox((6, 4), text, font=_font())[2:]
    draw.rectangle((0, 0, right + 6, bottom + 5), fill=(0, 0, 0))
    draw.text((6, 4), text, fill=(255, 255, 255), font=_font())
    return np.asarray(image)


def mosaic(tiles: list[Pixels], columns: int, title: str = "") -> Pixels:
    """Tiles of one size in rows of so many, on white, below a title."""
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    top = 2 * _FONT_SIZE if title else 0
    sheet = np.full((top + rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), 255, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = top + number // columns * (height + _GAP), number % columns * (width + _GAP)
        sheet[y : y + height, x : x + width] = tile
    if title:
        image = Image.fromarray(sheet)
        ImageDraw.Draw(image).text((6, 4), title, fill=(0, 0, 0), font=_font())
        sheet = np.array(image)
    return sheet


def jpeg(picture: Pixels) -> bytes:
    """RGB uint8 [height, width, 3] as JPEG, which is all that `dvc plots` takes of photos."""
    encoded: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(picture), quality=80, colorsubsampling="420")
    return encoded


def webp(picture: Pixels) -> bytes:
    """RGB uint8 [height, width, 3] as WebP, half as large as JPEG."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "WEBP", quality=65, method=2)
    return file.getvalue()


def _as_picture(mask: Pixels) -> Pixels:
    return np.repeat(_resize(mask * np.uint8(255), _TILE)[..., None], 3, axis=2)


def _resize(picture: Pixels, size: tuple[int, int], method: int = cv2.INTER_AREA) -> Pixels:
    """The picture at `size`, (width, height)."""
    return cv2.resize(picture, size, interpolation=method).astype(np.uint8, copy=False)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_SIZE)
