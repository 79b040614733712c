"""The evaluation as a page: what it is of, its scores, its worst and best predictions, its charts."""

from dataclasses import dataclass
from typing import Any

import pandas as pd

from carvana.results import charts, page
from carvana.results.about import About, spoken
from carvana.results.charts import Chart
from carvana.results.pictures import Picture
from carvana.results.scoring import Score, worst_first
from carvana.results.totals import Findings

_SUMMARY = {
    "images": "photos",
    "dice": "Dice, mean",
    "dice_median": "median",
    "dice_p05": "5th percentile",
    "dice_worst": "worst photo",
    "dice_network_size": "mean at network size",
    "iou": "IoU, mean",
}


@dataclass(frozen=True)
class Shown:
    """The pictures on the page.

    `predictions` are tiles by name, `test-worst-01` for one, with the score; `error_map` and `samples` by caption.
    """

    predictions: dict[str, tuple[Score, dict[str, Picture]]]
    error_map: dict[str, Picture]
    samples: dict[str, Picture]


def render(
    about: About, findings: Findings, summaries: dict[str, dict[str, float | int]], curves: pd.DataFrame, shown: Shown
) -> str:
    """Returns the page as HTML; `curves` is the table of `history.curves`."""
    predictions = {
        f"The {kind} photos of {role} cars": {
            name: example for name, example in shown.predictions.items() if name.startswith(f"{role}-{kind}-")
        }
        for role in findings.roles
        for kind in ("worst", "best")
    }
    places = {(score.role, score.image): name for name, (score, _) in reversed(shown.predictions.items())}
    return page.render(
        "report.html",
        about=about,
        summary=_summary(summaries, about),
        parameters=pd.DataFrame(
            [(key, spoken(value)) for key, value in about.parameters.items()], columns=["parameter", "value"]
        ),
        predictions=predictions,
        shown=shown,
        scores=worst_first(findings.scores),
        places=places,
        charts=_charts(findings, curves),
    )


def _summary(summaries: dict[str, dict[str, float | int]], about: About) -> pd.DataFrame:
    """Returns a column for each role, and for each that the last commit has its values then and the change."""
    columns = [("", list(_SUMMARY.values()))]
    for role, summary in summaries.items():
        columns.append((f"{role} cars", [_number(summary[key]) for key in _SUMMARY]))
        before = about.before.get(role)
        if isinstance(before, dict):
            pairs = [(before.get(key), summary[key]) for key in _SUMMARY]
            columns.append((f"in {about.commit}", [_number(then) for then, _ in pairs]))
            columns.append(("change", [_change(then, now) for then, now in pairs]))
    names, values = zip(*columns, strict=True)
    return pd.DataFrame(zip(*values, strict=True), columns=names)


def _number(value: Any, sign: str = "") -> str:
    """Returns a count or a score in words; of a file of an earlier commit, it may be anything."""
    if isinstance(value, float):
        return f"{value:{sign}.4f}"
    return f"{value:{sign},}" if isinstance(value, int) else "–"


def _change(then: Any, now: float) -> str:
    return _number(now - then if isinstance(then, int | float) else None, sign="+")


def _charts(findings: Findings, curves: pd.DataFrame) -> dict[str, Chart]:
    scores = pd.DataFrame(findings.scores)
    columns = {
        "distribution": ["dice"],
        "by_view": ["view", "dice"],
        "worst_cars": ["car", "dice"],
        "by_make": ["make", "car", "dice"],
        "outline": ["wrong", "within_1", "within_2", "within_5"],
    }
    # Without the other columns: a chart's data are parsed and copied more than once.
    drawn = {name: charts.draw(name, scores[["role", *wanted]]) for name, wanted in columns.items()}
    return drawn | {name: charts.draw(name, curves) for name in ("dice_by_epoch", "loss_by_epoch")}
