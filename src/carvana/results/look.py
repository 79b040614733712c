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
from carvana.data.photos import decode_photo, soften
from carvana.masks import rle
from carvana.results import charts, page, pictures
from carvana.results.pictures import Picture, Pixels

_TILE = (96, 144)  # height and width of a view
_ACROSS = 4  # views
_OUTLINE = np.array((255, 0, 255), np.uint8)
_MISSING = 112  # grey


@dataclass(frozen=True)
class Car:
    """A car from all sides, in one picture."""

    car: str
    caption: str
    picture: Picture


def survey(truth: Cache, roles: dict[str, str], makes: dict[str, str]) -> pd.DataFrame:
    """Returns a row for each photo: `image`, `car`, `view`, `role`, `make` ('' if unknown), `covered` and `borders`.

    The last two are the share of the picture that is car, and the borders that the car touches.
    """
    rows = []
    for name, runs in truth.each_truth():
        car, mask = car_of(name), rle.to_mask(runs, HEIGHT, WIDTH)
        edges = {"left": mask[:, 0], "right": mask[:, -1], "top": mask[0], "bottom": mask[-1]}
        borders = ", ".join(border for border, edge in edges.items() if edge.any())
        covered = runs[:, 1].sum() / mask.size
        rows.append((name, car, view_of(name), roles[car], makes.get(car, ""), covered, borders))
    return pd.DataFrame(rows, columns=["image", "car", "view", "role", "make", "covered", "borders"])


def odd(seen: pd.DataFrame) -> list[tuple[str, str]]:
    """Returns the cars that need a look, and why."""
    found = []
    for car, photos in seen.groupby("car", sort=False):
        touching = photos[photos["borders"] != ""]
        where = [f"{view} ({names})" for view, names in zip(touching["view"], touching["borders"], strict=True)]
        for views, what in (
            (_missing(photos), "is missing the views"),
            (where, "touches the border in view"),
            (photos.loc[photos["covered"] == 0, "view"].astype(str), "has an empty mask in view"),
        ):
            if len(views):
                found.append((car, f"{what} {', '.join(views)}"))
        if "" in set(photos["make"]):
            found.append((car, "is of unknown make"))
    return found


def draw(seen: pd.DataFrame, truth: Cache, photos: Archive, workers: int) -> Iterator[Car]:
    """Yields every car, by their roles; reads the photos from the zip, several at a time."""
    runs_of = dict(truth.each_truth())

    def one(views: pd.DataFrame) -> Car:
        tiles = dict.fromkeys(VIEWS, np.full((*_TILE, 3), _MISSING, np.uint8))
        for name, view in zip(views["image"], views["view"], strict=True):
            mask = soften(rle.to_mask(runs_of[name], HEIGHT, WIDTH), _TILE)
            tiles[view] = outlined(decode_photo(photos.read(name), name, _TILE), mask)
        car, make, role = views.iloc[0][["car", "make", "role"]]
        missing = f"; without the views {', '.join(absent)}" if (absent := _missing(views)) else ""
        picture = Picture.of(pictures.mosaic(list(tiles.values()), _ACROSS))
        return Car(car, f"{make or 'unknown make'}, {_spoken(role)}{missing}", picture)

    with ThreadPoolExecutor(max(workers, 1)) as pool:
        yield from pool.map(one, (views for _, views in seen.groupby(["role", "car"])))


def render(seen: pd.DataFrame, to_predict: list[str], cars: list[Car]) -> str:
    """Returns the page as HTML; `to_predict` are photos without masks."""
    parts = {_spoken(role): photos for role, photos in seen.groupby("role")} | {"all with masks": seen}
    counts = [
        (part, photos["car"].nunique(), len(photos), f"{photos['covered'].mean():.1%}")
        for part, photos in parts.items()
    ]
    return page.render(
        "look.html",
        counts=[*counts, ("to predict", len(set(map(car_of, to_predict))), len(to_predict), "unknown")],
        areas=charts.draw("areas", seen),
        makes=charts.draw("makes", seen),
        odd=odd(seen),
        cars=cars,
    )


def outlined(photo: Pixels, mask: Pixels) -> Pixels:
    """Returns a photo with the outline of its mask uint8 [height, width] in 0–255."""
    inside = (mask >= 128).astype(np.uint8)
    outline = cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8))
    return np.where(outline[..., None] > 0, _OUTLINE, photo)


def _missing(photos: pd.DataFrame) -> list[str]:
    """Returns the views of which a car has no photo."""
    return [str(view) for view in VIEWS if view not in set(photos["view"])]


def _spoken(role: str) -> str:
    return f"fold {role}" if role.isdigit() else f"{role} cars"
