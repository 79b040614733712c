"""The page of two experiments: what differs, how much each photo gained or lost, and pictures of both."""

import pandas as pd

from carvana.base.console import duration
from carvana.experiments import difference
from carvana.experiments.difference import signed
from carvana.experiments.known import Experiment, different
from carvana.experiments.redrawn import Photo
from carvana.experiments.table import brief
from carvana.results import page
from carvana.results.pictures import Picture

_UNKNOWN = "–"


def render(
    one: Experiment,
    other: Experiment,
    photos: pd.DataFrame,
    alone: tuple[int, int],
    count: int,
    drawn: dict[Photo, dict[str, Picture]],
) -> str:
    """Returns the page as HTML. `photos` and `alone` are those of `difference.both`; `count` each way are shown."""
    gained, lost = difference.most(photos, count)
    changed = different(one.params, other.params)
    return page.render(
        "comparison.html",
        names=(one.name, other.name),
        facts=[(what, _facts(one)[what], fact) for what, fact in _facts(other).items()],
        params=[(name, brief(one.params.get(name)), brief(value)) for name, value in changed.items()],
        alone=[(each.name, number) for each, number in zip((one, other), alone, strict=True) if number],
        roles=[_summary(role) for role in difference.by_role(photos)],
        histogram=difference.histogram(photos),
        sections=[("Gained most", _shown(gained, drawn)), ("Lost most", _shown(lost, drawn))],
        photos=_rows(photos, drawn),
    )


def _facts(experiment: Experiment) -> dict[str, str]:
    speed, training = experiment.prediction_speed(), experiment.training_seconds()
    return {
        "commit": experiment.commit[:7] or _UNKNOWN,
        "date": f"{experiment.created:%Y-%m-%d %H:%M}" if experiment.created else "now",
        "prediction": f"{speed.photos_per_second:,.1f} photos/s" if speed else _UNKNOWN,
        "by": f"{speed.engine} on {speed.processor}, {speed.precision}" if speed else _UNKNOWN,
        "training": duration(training) if training else _UNKNOWN,
    }


def _summary(role: dict[str, float | int | str]) -> list[str]:
    dice = [f"{role[name]:.4f}" for name in ("dice_one", "dice_other")]
    worst = [f"{role[name]:.4f}" for name in ("worst_one", "worst_other")]
    counts = [f"{role[name]:,}" for name in ("gained", "lost")]
    return [str(role["role"]), f"{role['photos']:,}", *dice, signed(float(role["gain"])), *worst, *counts]


def _shown(photos: pd.DataFrame, drawn: dict[Photo, dict[str, Picture]]) -> list[dict[str, object]]:
    return [row | {"images": drawn[str(row["role"]), str(row["image"])]} for row in _rows(photos, drawn)]


def _rows(photos: pd.DataFrame, drawn: dict[Photo, dict[str, Picture]]) -> list[dict[str, object]]:
    return [
        {
            "image": photo.image,
            "role": photo.role,
            "make": photo.make,
            "view": photo.view,
            "dice": (f"{photo.dice_one:.4f}", f"{photo.dice_other:.4f}"),
            "gain": signed(photo.gain),
            "linked": (photo.role, photo.image) in drawn,
        }
        for photo in photos.itertuples(index=False)
    ]
