"""The training data on a page, before any training: counts, split, odd cars, and every car from every side."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from carvana.competition import HEIGHT, VIEWS, WIDTH, car_of, view_of
from carvana.data.archive import Archive
from carvana.data.cache import Cache
from carvana.data.photos import decode_photo, resize_by_area, soften
from carvana.masks import rle
from carvana.masks.rle import Runs
from carvana.results import charts, page, pictures
from carvana.results.pictures import Picture, Pixels

_THUMBNAIL = (64, 96)  # height and width
_TILE = (256, 384)
_OUTLINE = (255, 0, 255)
_MISSING = 112  # grey


@dataclass(frozen=True)
class Car:
    """A car from all sides: a strip of small pictures, and a sheet of large ones."""

    car: str
    caption: str
    strip: Picture
    sheet: Picture


def survey(truth: Cache, roles: dict[str, str], makes: dict[str, str]) -> pd.DataFrame:
    """Returns a table with a row for each photo, in the cache's order.

    `image`, its `car`, `view`, `role` in the split and `make`, '' if unknown; `covered`, the share of the picture that
    is car; `borders`, those that the car touches.
    """
    rows = []
    for name, runs in truth.each_truth():
        car = car_of(name)
        covered = float(runs[:, 1].sum()) / (HEIGHT * WIDTH)
        rows.append((name, car, view_of(name), roles[car], makes.get(car, ""), covered, ", ".join(borders(runs))))
    return pd.DataFrame(rows, columns=["image", "car", "view", "role", "make", "covered", "borders"])


def borders(runs: Runs) -> tuple[str, ...]:
    """Returns the borders of the picture that a mask touches, from its runs at 1918×1280."""
    first, last = runs[:, 0].astype(np.int64) - 1, runs.sum(axis=1).astype(np.int64) - 2
    # A run that continues in the next row touches both sides.
    over = first // WIDTH != last // WIDTH
    touched = {
        "left": (first % WIDTH == 0) | over,
        "right": (last % WIDTH == WIDTH - 1) | over,
        "top": first < WIDTH,
        "bottom": last >= (HEIGHT - 1) * WIDTH,
    }
    return tuple(border for border, where in touched.items() if where.any())


def odd(seen: pd.DataFrame) -> pd.DataFrame:
    """Returns the cars that need a look, and why, in columns `car` and `what`."""
    found = []
    for car, photos in seen.groupby("car", sort=False):
        missing = [str(view) for view in VIEWS if view not in set(photos["view"])]
        touching = photos[photos["borders"] != ""]
        empty = photos.loc[photos["covered"] == 0, "view"].astype(str)
        if missing:
            found.append((car, f"is missing the views {', '.join(missing)}"))
        if len(touching):
            where = ", ".join(
                f"{view} ({names})" for view, names in zip(touching["view"], touching["borders"], strict=True)
            )
            found.append((car, f"touches the border in view {where}"))
        if len(empty):
            found.append((car, f"has an empty mask in view {', '.join(empty)}"))
        if "" in set(photos["make"]):
            found.append((car, "is of unknown make"))
    return pd.DataFrame(found, columns=["car", "what"])


def draw(seen: pd.DataFrame, truth: Cache, photos: Archive, workers: int) -> Iterator[Car]:
    """Yields every car, by their roles; reads the photos from the zip, several at a time."""
    runs_of = dict(truth.each_truth())

    def one(views: pd.DataFrame) -> Car:
        tiles = {}
        for name, view in zip(views["image"], views["view"], strict=True):
            mask = rle.to_mask(runs_of[name], HEIGHT, WIDTH)
            tiles[view] = (decode_photo(photos.read(name), name, _TILE), soften(mask, _TILE))
        first = views.iloc[0]
        missing = ", ".join(str(view) for view in VIEWS if view not in tiles)
        caption = f"{first['make'] or 'unknown make'}, {_spoken(first['role'])}"
        return Car(
            first["car"],
            caption + (f"; without the views {missing}" if missing else ""),
            Picture.of(pictures.mosaic(_views(tiles, _THUMBNAIL), 8)),
            Picture.of(pictures.mosaic(list(map(pictures.label, _views(tiles, _TILE), map(str, VIEWS))), 4)),
        )

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        yield from pool.map(one, (views for _, views in seen.groupby(["role", "car"])))


def render(seen: pd.DataFrame, to_predict: list[str], cars: list[Car], sheets: str) -> str:
    """Returns the page as HTML.

    `to_predict` are the names of the photos without masks; `sheets` is the folder beside the page in which each car's
    sheet is, as `<car>.webp`.
    """
    return page.render(
        "look.html",
        counts=_counts(seen, to_predict),
        areas=charts.draw("areas", seen),
        makes=charts.draw("makes", seen),
        odd=odd(seen),
        cars=cars,
        sheets=sheets,
    )


def _counts(seen: pd.DataFrame, to_predict: list[str]) -> pd.DataFrame:
    parts = {_spoken(role): photos for role, photos in seen.groupby("role")} | {"all with masks": seen}
    rows: list[tuple[str, int, int, str]] = [
        (part, photos["car"].nunique(), len(photos), f"{photos['covered'].mean():.1%}")
        for part, photos in parts.items()
    ]
    rows.append(("to predict", len(set(map(car_of, to_predict))), len(to_predict), "unknown"))
    return pd.DataFrame(rows, columns=["part", "cars", "photos", "of the picture covered by the car"])


def _spoken(role: str) -> str:
    return f"fold {role}" if role.isdigit() else f"{role} cars"


def _views(tiles: dict[int, tuple[Pixels, Pixels]], size: tuple[int, int]) -> list[Pixels]:
    """Returns all 16 views at `size`; `tiles` are photos and masks uint8 in 0–255 by view."""
    missing = np.full((*size, 3), _MISSING, np.uint8)
    return [outlined(*tiles[view], size) if view in tiles else missing for view in VIEWS]


def outlined(photo: Pixels, mask: Pixels, size: tuple[int, int]) -> Pixels:
    """Returns a photo at `size` (height, width) with the outline of its mask uint8 [height, width] in 0–255."""
    tile = resize_by_area(photo, size)
    inside = (resize_by_area(mask, size) >= 128).astype(np.uint8)
    tile[cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0] = _OUTLINE
    return tile
