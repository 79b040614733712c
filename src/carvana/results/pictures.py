"""Pictures of predictions in tiles: mistakes in two colours, a zoom on the worst spot."""

import functools
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import cv2
import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from carvana.competition import HEIGHT, WIDTH
from carvana.masks import rle
from carvana.results import wrong_pixels

Pixels = NDArray[np.uint8]

Tiles = dict[str, Pixels]
"""Pictures RGB uint8 of one size, by what they show."""

# Two hues, one darker and one lighter than the photo, which is made grey and of medium lightness.
MISSED = (10, 35, 170)
ADDED = (255, 205, 0)

_TILE = (384, 256)  # width and height
_SAMPLE = 256  # width of a training sample
_SHEET = 900  # pixels across, at most
_GAP = 6
_TITLE = 48
_MAT = 128  # grey, so that it glares neither on a light page nor on a dark one
_FONT_SIZE = 20


@dataclass(frozen=True)
class Picture:
    """A picture on a page: WebP, and its size in pixels."""

    webp: bytes
    width: int
    height: int

    @classmethod
    def of(cls, pixels: Pixels) -> Self:
        """Encodes RGB uint8 [height, width, 3]; WebP is half as large as JPEG."""
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "WEBP", quality=65, method=2)
        return cls(file.getvalue(), pixels.shape[1], pixels.shape[0])


def example(photo: Pixels, predicted: rle.Runs, true: rle.Runs) -> Tiles:
    """Returns one prediction of a photo RGB uint8 [1280, 1918, 3] as six tiles.

    Photo and mistakes, with a frame around the worst spot; true and predicted mask; and the spot at full resolution,
    without and with mistakes.
    """
    guess, mask = (rle.to_mask(runs, HEIGHT, WIDTH) for runs in (predicted, true))
    spot = worst_spot(wrong_pixels.places(predicted, true, mask))
    whole = show_mistakes(_resize(photo, _TILE), guess, mask)
    places = ((spot[1].start, spot[0].start), (spot[1].stop, spot[0].stop))
    cv2.rectangle(whole, *((x * _TILE[0] // WIDTH, y * _TILE[1] // HEIGHT) for x, y in places), (255, 255, 255), 2)
    return {
        "photo": _resize(photo, _TILE),
        "missed (dark blue) and added (yellow)": whole,
        "true mask": _as_picture(mask),
        "predicted mask": _as_picture(guess),
        "most mistakes, at full resolution": np.ascontiguousarray(photo[spot]),
        "the same, missed and added": show_mistakes(photo[spot], guess[spot], mask[spot]),
    }


def worst_spot(places: NDArray[np.int32]) -> tuple[slice, slice]:
    """Returns rows and columns of the tile at full resolution with the most wrong pixels in its middle.

    `places` are those of `wrong_pixels`. A pixel counts less the farther it is from the middle.
    """
    counts = cv2.GaussianBlur(places.sum(axis=0).astype(np.float32), (0, 0), _TILE[1] / wrong_pixels.CELL / 4)
    _, _, _, centre = cv2.minMaxLoc(counts)
    left, top = (place * wrong_pixels.CELL - side // 2 for place, side in zip(centre, _TILE, strict=True))
    left, top = min(max(left, 0), WIDTH - _TILE[0]), min(max(top, 0), HEIGHT - _TILE[1])
    return slice(top, top + _TILE[1]), slice(left, left + _TILE[0])


def show_mistakes(photo: Pixels, predicted: Pixels, true: Pixels) -> Pixels:
    """Returns the photo in grey, with pixels coloured that masks of {0, 1}, of its size or larger, miss or add."""
    height, width, _ = photo.shape
    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY) * 0.45 + 75
    wrong = (part.view(np.uint8) * np.uint8(255) for part in (true > predicted, predicted > true))
    return _tinted(grey, [_resize(part, (width, height)) * (true.shape[1] / width / 255) for part in wrong])


def error_map(views: dict[int, tuple[NDArray[np.float32], NDArray[np.float32]]]) -> Tiles:
    """Returns maps of the wrong pixels, of what `examples.shares` returns. The darker shape is where cars are."""
    # A percentile, not the maximum: a few squares would make all others pale.
    full = max(np.percentile([wrong.max(axis=0) for wrong, _ in views.values()], 99.8), 1e-6)
    return {
        f"view {view}": _tinted(190 - 70 * coverage, np.sqrt(np.minimum(wrong / full, 1)))
        for view, (wrong, coverage) in views.items()
    }


def training_samples(photos: Pixels, masks: Pixels, names: list[str]) -> Tiles:
    """Returns photos as the network receives them, each beside a copy with the background in magenta, by name.

    Photos are uint8 [n, height, width, 3], masks uint8 [n, height, width]; that of another photo would show at once.
    """
    tiles = {}
    height, width = photos.shape[1:3]
    size = (_SAMPLE, _SAMPLE * height // width)
    for photo, mask, name in zip(photos, masks, names, strict=True):
        share = mask[..., None] / np.float32(255)
        cut = (photo * share + np.array((255, 0, 255)) * (1 - share)).astype(np.uint8)
        # Small photos keep sharp pixels, to show what the network receives.
        method = cv2.INTER_NEAREST if width <= _SAMPLE else cv2.INTER_AREA
        tiles[name] = np.hstack([_resize(picture, size, method) for picture in (photo, cut)])
    return tiles


def encode(tiles: Tiles) -> dict[str, Picture]:
    """Returns tiles as pictures on a page."""
    return {text: Picture.of(tile) for text, tile in tiles.items()}


def sheet(tiles: Tiles, columns: int, title: str = "") -> bytes:
    """Returns labelled tiles in rows of `columns`, at most 900 pixels across, as JPEG: `dvc plots` shows no WebP."""
    height, width = next(iter(tiles.values())).shape[:2]
    across = min(width, (_SHEET + _GAP) // columns - _GAP)
    size = (across, height * across // width)
    picture = mosaic([label(_resize(tile, size), text) for text, tile in tiles.items()], columns, title)
    encoded: bytes = simplejpeg.encode_jpeg(picture, quality=80, colorsubsampling="420")
    return encoded


def label(tile: Pixels, text: str) -> Pixels:
    """Returns the tile with a text in its upper left corner."""
    image = Image.fromarray(tile)
    draw = ImageDraw.Draw(image)
    right, bottom = draw.textbbox((6, 4), text, font=_font())[2:]
    draw.rectangle((0, 0, right + 6, bottom + 5), fill=(0, 0, 0))
    draw.text((6, 4), text, fill=(255, 255, 255), font=_font())
    return np.asarray(image)


def mosaic(tiles: list[Pixels], columns: int, title: str = "") -> Pixels:
    """Returns tiles of one size in rows of `columns`, on grey, below a title."""
    height, width, _ = tiles[0].shape
    rows = -(-len(tiles) // columns)
    top = 2 * _FONT_SIZE if title else 0
    sheet = np.full((top + rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, 3), _MAT, np.uint8)
    for number, tile in enumerate(tiles):
        y, x = top + number // columns * (height + _GAP), number % columns * (width + _GAP)
        sheet[y : y + height, x : x + width] = tile
    if title:
        sheet[:top] = _TITLE
        image = Image.fromarray(sheet)
        ImageDraw.Draw(image).text((6, 6), title, fill=(255, 255, 255), font=_font())
        sheet = np.array(image)
    return sheet


def _tinted(grey: NDArray[np.floating], shares: Iterable[NDArray[np.floating]]) -> Pixels:
    """Returns a grey picture [height, width] in 0–255, coloured by its shares of missed and of added pixels."""
    picture = np.repeat(grey[..., None], 3, axis=2)
    for colour, share in zip((MISSED, ADDED), shares, strict=True):
        picture += np.minimum(share, 1)[..., None] * (np.array(colour) - picture)
    return picture.astype(np.uint8)


def _as_picture(mask: Pixels) -> Pixels:
    return np.repeat(_resize(mask * np.uint8(255), _TILE)[..., None], 3, axis=2)


def _resize(picture: Pixels, size: tuple[int, int], method: int = cv2.INTER_AREA) -> Pixels:
    """Returns the picture at `size`, (width, height)."""
    return cv2.resize(picture, size, interpolation=method).astype(np.uint8, copy=False)


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_SIZE)
