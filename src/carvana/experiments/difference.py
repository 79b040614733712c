"""Two experiments photo by photo: how much each photo's Dice gained or lost."""

import pandas as pd

from carvana.base import paths
from carvana.base.errors import UserError, reading
from carvana.experiments.known import Experiment

_COLUMNS = ["image", "make", "view", "role", "dice"]


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


def by_role(photos: pd.DataFrame) -> pd.DataFrame:
    """Returns what became of the photos of each role, a row for each.

    `photos`, their number; `dice_one`, `dice_other` and `gain`, means; `worst_one` and `worst_other`; and how many
    `gained` and `lost`.
    """
    signs = photos.assign(gained=photos["gain"] > 0, lost=photos["gain"] < 0)
    return signs.groupby("role", as_index=False).agg(
        photos=("gain", "size"),
        dice_one=("dice_one", "mean"),
        dice_other=("dice_other", "mean"),
        gain=("gain", "mean"),
        worst_one=("dice_one", "min"),
        worst_other=("dice_other", "min"),
        gained=("gained", "sum"),
        lost=("lost", "sum"),
    )


def most(photos: pd.DataFrame, count: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Returns the photos that gained most and those that lost most, at most `count` each, the largest change first."""
    gained, lost = photos[photos["gain"] > 0], photos[photos["gain"] < 0]
    return gained.head(count), lost.iloc[::-1].head(count)
