"""The training data before any training: what there is, how it is split, what is odd, and every car from every side."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from carvana.competition import HEIGHT, VIEWS, WIDTH, car_of, view_of
from carvana.data.cache import Cache
from carvana.data.photos import resize_by_area
from carvana.masks.rle import Runs
from carvana.results import charts, page, pictures
from carvana.results.tables import Row

_THUMBNAIL = (64, 96)  # height and width
_VIEWS_A_ROW = 8
_OUTLINE = (255, 0, 255)


@dataclass(frozen=True)
class Seen:
    """A photo's car, view and role in the split, its car's make ('' where unknown), and of its mask:

    the share of the picture that is car, and the borders that it touches.
    """

    image: str
    car: str
    view: int
    role: str
    make: str
    covered: float
    borders: tuple[str, ...]


def survey(truth: Cache, roles: dict[str, str], makes: dict[str, str]) -> list[Seen]:
    """What there is to say of every photo, in the cache's order."""
    return [
        Seen(
            name,
            car_of(name),
            view_of(name),
            roles[car_of(name)],
            makes.get(car_of(name), ""),
            float(runs[:, 1].sum()) / (HEIGHT * WIDTH),
            borders(runs),
        )
        for name, runs in truth.each_truth()
    ]


def borders(runs: Runs) -> tuple[str, ...]:
    """Which borders of the picture a mask's runs at 1918×1280 touch."""
    first, last = runs[:, 0].astype(np.int64) - 1, runs.sum(axis=1).astype(np.int64) - 2
    # A run that goes on in the next row touches both sides.
    over = first // WIDTH != last // WIDTH
    touched = {
        "left": (first % WIDTH == 0) | over,
        "right": (last % WIDTH == WIDTH - 1) | over,
        "top": first < WIDTH,
        "bottom": last >= (HEIGHT - 1) * WIDTH,
    }
    return tuple(border for border, where in touched.items() if where.any())


def odd(seen: list[Seen]) -> list[tuple[str, str]]:
    """The cars that a person should look at, and why."""
    found = []
    for car, photos in _by_car(seen).items():
        there = {each.view for each in photos}
        touching = [f"{each.view} ({', '.join(each.borders)})" for each in photos if each.borders]
        empty = [str(each.view) for each in photos if not each.covered]
        if len(there) < len(VIEWS):
            found.append((car, f"lacks the views {', '.join(str(view) for view in VIEWS if view not in there)}"))
        if touching:
            found.append((car, f"touches the border in view {', '.join(touching)}"))
        if empty:
            found.append((car, f"has an empty mask in view {', '.join(empty)}"))
        if not photos[0].make:
            found.append((car, "is of unknown make"))
    return found


def write(seen: list[Seen], truth: Cache, to_predict: list[str]) -> str:
    """A page of HTML. `to_predict` are the names of the photos without masks."""
    rows: list[Row] = [
        {"car": each.car, "view": each.view, "role": each.role, "make": each.make, "covered": f"{each.covered:.6f}"}
        for each in seen
    ]
    strange = [{"car": car, "what": what} for car, what in odd(seen)]
    return page.document(
        "The training data",
        page.table(_counts(seen, to_predict)),
        page.section(
            "Charts",
            page.grid(
                page.chart(
                    charts.draw("areas", rows),
                    "Cars' size by view",
                    "Of all photos of a view: the least and the most, the middle half, and the median.",
                ),
                page.chart(charts.draw("makes", rows), "Cars by make"),
            ),
        ),
        page.section("Odd ones out", page.table(strange) if strange else page.paragraph("There are none.")),
        page.section(
            "Every car",
            page.paragraph("Views 1 to 8 and 9 to 16, each with the outline of its mask."),
            page.grid(*_cars(seen, truth), kind="wide"),
        ),
    )


def _counts(seen: list[Seen], to_predict: list[str]) -> list[dict[str, str]]:
    parts = {role: [each for each in seen if each.role == role] for role in sorted({each.role for each in seen})}
    rows = [
        (_spoken(role), len(_by_car(photos)), len(photos), f"{np.mean([each.covered for each in photos]):.1%}")
        for role, photos in (parts | {"all": seen}).items()
    ]
    rows.append(("to predict", len({car_of(name) for name in to_predict}), len(to_predict), "unknown"))
    columns = ("split", "cars", "photos", "of the picture, car")
    return [dict(zip(columns, map(str, row), strict=True)) for row in rows]


def _by_car(seen: list[Seen]) -> dict[str, list[Seen]]:
    cars: dict[str, list[Seen]] = {}
    for each in seen:
        cars.setdefault(each.car, []).append(each)
    return cars


def _spoken(role: str) -> str:
    return f"fold {role}" if role.isdigit() else role


def _cars(seen: list[Seen], truth: Cache) -> Iterator[str]:
    row_of = {name: row for row, name in enumerate(truth.names)}
    for car, photos in sorted(_by_car(seen).items(), key=lambda item: (item[1][0].role, item[0])):
        rows = np.array([row_of[each.image] for each in photos])
        sheet = strip(truth.read_photos(rows), truth.read_masks(rows), [each.view for each in photos])
        title = f"{car}: {photos[0].make or 'unknown make'}, {_spoken(photos[0].role)}"
        yield page.picture(pictures.webp(sheet), f"{car} from {len(photos)} sides", title)


def strip(photos: NDArray[np.uint8], masks: NDArray[np.uint8], views: list[int]) -> NDArray[np.uint8]:
    """A car from all sides in two rows, RGB uint8; a view that is missing is white.

    `photos` uint8 [n, height, width, 3] and `masks` uint8 [n, height, width] in 0–255 are of those views.
    """
    tiles = {view: np.full((*_THUMBNAIL, 3), 255, np.uint8) for view in VIEWS}
    for photo, mask, view in zip(photos, masks, views, strict=True):
        tile = resize_by_area(photo, _THUMBNAIL)
        inside = (resize_by_area(mask, _THUMBNAIL) >= 128).astype(np.uint8)
        tile[cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, np.ones((2, 2), np.uint8)) > 0] = _OUTLINE
        tiles[view] = tile
    return pictures.mosaic(list(tiles.values()), _VIEWS_A_ROW)
