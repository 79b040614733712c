"""The page of two experiments: what differs, how much each photo gained or lost, and pictures of both."""

import pandas as pd

from carvana.base.console import duration
from carvana.experiments import difference
from carvana.experiments.known import Experiment, different
from carvana.experiments.redrawn import Photo
from carvana.experiments.table import brief
from carvana.results import charts, page
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
        roles=difference.by_role(photos),
        chart=charts.draw("gains", photos[["gain"]], width=480),
        sections={"Gained most": gained, "Lost most": lost},
        photos=photos,
        drawn=drawn,
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
