"""The training data on a page, before any training: counts, split, odd cars, and every car from every side."""

from collections.abc import Iterator

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from carvana.competition import HEIGHT, VIEWS, WIDTH, car_of, view_of
from carvana.data.cache import Cache
from carvana.data.photos import resize_by_area
from carvana.masks.rle import Runs
from carvana.results import charts, page, pictures

_THUMBNAIL = (64, 96)  # height and width
_VIEWS_A_ROW = 8
_OUTLINE = (255, 0, 255)


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


def render(seen: pd.DataFrame, truth: Cache, to_predict: list[str]) -> str:
    """Returns the page as HTML. `to_predict` are the names of the photos without masks."""
    return page.render(
        "look.html",
        counts=_counts(seen, to_predict),
        areas=charts.draw("areas", seen),
        makes=charts.draw("makes", seen),
        odd=odd(seen),
        cars=_cars(seen, truth),
    )


def _counts(seen: pd.DataFrame, to_predict: list[str]) -> pd.DataFrame:
    parts = {_spoken(role): photos for role, photos in seen.groupby("role")} | {"all": seen}
    rows: list[tuple[str, int, int, str]] = [
        (part, photos["car"].nunique(), len(photos), f"{photos['covered'].mean():.1%}")
        for part, photos in parts.items()
    ]
    rows.append(("to predict", len(set(map(car_of, to_predict))), len(to_predict), "unknown"))
    return pd.DataFrame(rows, columns=["split", "cars", "photos", "of the picture, car"])


def _spoken(role: str) -> str:
    return f"fold {role}" if role.isdigit() else role


def _cars(seen: pd.DataFrame, truth: Cache) -> Iterator[tuple[bytes, str, str]]:
    """Yields every car's picture, its alt text and its caption."""
    row_of = {name: row for row, name in enumerate(truth.names)}
    for (role, car), photos in seen.groupby(["role", "car"]):
        rows = photos["image"].map(row_of).to_numpy()
        sheet = strip(truth.read_photos(rows), truth.read_masks(rows), list(photos["view"]))
        title = f"{car}: {photos['make'].iloc[0] or 'unknown make'}, {_spoken(role)}"
        yield pictures.webp(sheet), f"{car} from {len(photos)} sides", title


def strip(photos: NDArray[np.uint8], masks: NDArray[np.uint8], views: list[int]) -> NDArray[np.uint8]:
    """Returns a car from all sides in two rows, RGB uint8; a missing view is white.

    `photos` uint8 [n, height, width, 3] and `masks` uint8 [n, height, width] in 0–255 show the views in `views`.
    """
    tiles = {view: np.full((*_THUMBNAIL, 3), 255, np.uint8) for view in VIEWS}
    for photo, mask, view in zip(photos, masks, views, strict=True):
        tile = resize_by_area(photo, _THUMBNAIL)
        inside = (resize_by_area(mask, _THUMBNAIL) >= 128).astype(np.uint8)
        tile[cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0] = _OUTLINE
        tiles[view] = tile
    return pictures.mosaic(list(tiles.values()), _VIEWS_A_ROW)
