"""Two experiments photo by photo: how much each photo's Dice gained or lost."""

import math

import numpy as np
import pandas as pd

from carvana.base import paths
from carvana.base.errors import UserError, reading
from carvana.experiments import svg
from carvana.experiments.known import Experiment

_COLUMNS = ["image", "make", "view", "role", "dice"]
_BARS = 24  # of the histogram, about


def scores(experiment: Experiment) -> pd.DataFrame:
    """Returns the Dice of every photo that was scored: `image`, `make`, `view`, `role` and `dice`."""
    path = experiment.file(paths.SCORES)
    with reading(
        f"{paths.SCORES} of {experiment.name}", "is not a table of scores", "`dvc repro -f evaluate` makes it"
    ):
        table = pd.read_csv(path, usecols=_COLUMNS, dtype={"image": str, "make": str, "role": str, "dice": float})
        if not table["dice"].between(0, 1).all():
            raise ValueError("a Dice is missing or not from 0 to 1")
    return table.fillna({"make": ""})[_COLUMNS]


def both(one: Experiment, other: Experiment) -> tuple[pd.DataFrame, tuple[int, int]]:
    """Returns the photos that both have scored in the same role, and how many only the first and the second have.

    Those that gained most come first. `dice_one`, `dice_other` and their difference `gain` stand beside `image`,
    `make`, `view` and `role`. Raises UserError if there is no such photo.
    """
    left, right = scores(one), scores(other)[["image", "role", "dice"]]
    found = left.merge(right, on=["image", "role"], suffixes=("_one", "_other"))
    if found.empty:
        raise UserError(
            f"{one.name} and {other.name} have scored no photo in common: their data or their splits differ "
            "(the parameters in data, demo and split), so that their Dice cannot be compared"
        )
    found["gain"] = found["dice_other"] - found["dice_one"]
    alone = len(left) - len(found), len(right) - len(found)
    return found.sort_values(["gain", "image"], ascending=[False, True], ignore_index=True), alone


def by_role(photos: pd.DataFrame) -> list[dict[str, float | int | str]]:
    """Returns what became of the photos of each role: count, mean and worst Dice of both, how many gained and lost."""
    return [
        {
            "role": str(role),
            "photos": len(group),
            "dice_one": group["dice_one"].mean(),
            "dice_other": group["dice_other"].mean(),
            "gain": group["gain"].mean(),
            "worst_one": group["dice_one"].min(),
            "worst_other": group["dice_other"].min(),
            "gained": int((group["gain"] > 0).sum()),
            "lost": int((group["gain"] < 0).sum()),
        }
        for role, group in photos.groupby("role")
    ]


def most(photos: pd.DataFrame, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the photos that gained most and those that lost most, at most `count` each, the largest change first."""
    gained, lost = photos[photos["gain"] > 0], photos[photos["gain"] < 0]
    return gained.head(count), lost.iloc[::-1].head(count)


def histogram(photos: pd.DataFrame) -> str:
    """Returns the distribution of the gain by photo as an <svg>; losses and gains have a colour each."""
    gains = photos["gain"].to_numpy()
    x = svg.linear([*gains, 0.0])
    width = svg.linear([x.ticks[0], x.ticks[-1]], _BARS)
    # A bar begins at 0, so that none holds both losses and gains.
    step = width.ticks[1] - width.ticks[0]
    numbers, counts = np.unique(np.floor(gains / step).astype(int), return_counts=True)
    y = svg.linear([0.0, float(counts.max())])
    parts = [svg.frame(x, y, "gain in Dice", "photos")]
    for number, count in zip(numbers.tolist(), counts.tolist(), strict=True):
        left, right = (svg.x_of(x.place(edge * step)) for edge in (number, number + 1))
        top, bottom = svg.y_of(y.place(count)), svg.y_of(0)
        colour = svg.BLUE if number >= 0 else svg.ORANGE
        words = f"{count} photos: {number * step:+.4g} to {(number + 1) * step:+.4g}"
        parts.append(
            f'<rect x="{left}" y="{top}" width="{max(right - left - 1, 1):.1f}" height="{bottom - top:.1f}" '
            f'fill="{colour}"><title>{words}</title></rect>'
        )
    return svg.whole("Photos by gain in Dice", parts)


def signed(value: float) -> str:
    """Returns a difference of Dice with its sign."""
    return f"{value:+.4f}".replace("-", "−") if math.isfinite(value) else "–"
