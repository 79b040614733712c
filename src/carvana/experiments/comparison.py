"""Two experiments photo by photo: how much each photo's Dice gained or lost, and a page that shows it."""

import pandas as pd

from carvana.base import paths
from carvana.base.console import duration
from carvana.base.errors import UserError, reading
from carvana.experiments.known import MISSING, Experiment, different
from carvana.experiments.table import brief
from carvana.results import charts, page
from carvana.results.pictures import Picture

_COLUMNS = ["image", "make", "view", "role", "dice"]


def scores(experiment: Experiment) -> pd.DataFrame:
    """Returns the Dice of every photo that was scored: `image`, `make`, `view`, `role` and `dice`."""
    path = experiment.file(paths.SCORES)
    where = f"{paths.SCORES} of {experiment.name}"
    with reading(where, "is not a table of scores", "`dvc repro -f evaluate` makes it"):
        table = pd.read_csv(path, usecols=_COLUMNS, dtype={"image": str, "make": str, "role": str, "dice": float})
        if not table["dice"].between(0, 1).all():
            raise ValueError("a Dice is missing or not from 0 to 1")
    return table.fillna({"make": ""})[_COLUMNS]


def gains(one: Experiment, other: Experiment) -> tuple[pd.DataFrame, dict[str, int]]:
    """Returns the photos that both have scored in the same role, and how many only one of them has, by its name.

    Those that gained most come first. `dice_one`, `dice_other` and their difference `gain` stand beside `image`,
    `make`, `view` and `role`. Raises UserError if there is no such photo.
    """
    left, right = scores(one), scores(other)
    found = left.merge(right[["image", "role", "dice"]], on=["image", "role"], suffixes=("_one", "_other"))
    if found.empty:
        raise UserError(
            f"{one.name} and {other.name} have scored no photo in common: their data or their splits differ "
            "(the parameters in data, demo and split), so that their Dice cannot be compared"
        )
    found["gain"] = found["dice_other"] - found["dice_one"]
    alone = {one.name: len(left) - len(found), other.name: len(right) - len(found)}
    return found.sort_values(["gain", "image"], ascending=[False, True], ignore_index=True), alone


def by_role(photos: pd.DataFrame) -> pd.DataFrame:
    """Returns what became of the photos of each role, a row for each."""
    return photos.groupby("role", as_index=False).agg(
        photos=("gain", "size"),
        dice_one=("dice_one", "mean"),
        dice_other=("dice_other", "mean"),
        gain=("gain", "mean"),
        worst_one=("dice_one", "min"),
        worst_other=("dice_other", "min"),
        gained=("gain", lambda gains: (gains > 0).sum()),
        lost=("gain", lambda gains: (gains < 0).sum()),
    )


def most(photos: pd.DataFrame, count: int) -> dict[str, pd.DataFrame]:
    """Returns the photos that gained most and those that lost most, at most `count` each, the largest change first."""
    gained, lost = photos[photos["gain"] > 0], photos[photos["gain"] < 0]
    return {"Gained most": gained.head(count), "Lost most": lost.iloc[::-1].head(count)}


def render(
    one: Experiment,
    other: Experiment,
    photos: pd.DataFrame,
    alone: dict[str, int],
    drawn: dict[str, dict[str, Picture]],
    count: int,
) -> str:
    """Returns the page as HTML. `photos` and `alone` are those of `gains`; `count` each way are shown as `drawn`."""
    changed = different(one.params, other.params)
    return page.render(
        "comparison.html",
        names=(one.name, other.name),
        facts=list(zip(["commit", "date", "prediction", "by", "training"], _facts(one), _facts(other), strict=True)),
        params=[(name, brief(one.params.get(name)), brief(value)) for name, value in changed.items()],
        alone=alone,
        roles=by_role(photos),
        chart=charts.draw("gains", photos[["gain"]], width=480),
        sections=most(photos, count),
        photos=photos,
        drawn=drawn,
    )


def _facts(experiment: Experiment) -> list[str]:
    return [
        experiment.commit[:7] or MISSING,
        f"{experiment.created:%Y-%m-%d %H:%M}" if experiment.created else "now",
        f"{experiment.photos_per_second:,.1f} photos/s" if experiment.photos_per_second else MISSING,
        experiment.machine,
        duration(experiment.training_seconds) if experiment.training_seconds else MISSING,
    ]
