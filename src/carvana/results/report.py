"""The evaluation as a page: what it is of, its scores, its worst and best predictions, its charts."""

from typing import Any

import pandas as pd

from carvana.results import charts, page
from carvana.results.about import About
from carvana.results.charts import Chart
from carvana.results.pictures import Picture, Tiles, encode
from carvana.results.scoring import Findings, Score, summarise, worst_first

_SUMMARY = {
    "images": "photos",
    "dice": "Dice, mean",
    "dice_median": "median",
    "dice_p05": "5th percentile",
    "dice_worst": "worst photo",
    "dice_network_size": "mean at network size",
    "iou": "IoU, mean",
}


def render(
    about: About,
    findings: Findings,
    curves: pd.DataFrame,
    predictions: dict[str, list[Score]],
    drawn: dict[str, dict[str, Picture]],
    error_map: Tiles,
    samples: Tiles,
) -> str:
    """Returns the page as HTML: `curves` of `history.curves`, and `predictions` under their headings, as `drawn`."""
    return page.render(
        "report.html",
        about=about,
        summary=_summary(findings, about),
        predictions=predictions,
        drawn=drawn,
        error_map=encode(error_map),
        samples=encode(samples),
        scores=worst_first(findings.scores),
        charts=_charts(findings, curves),
    )


def _summary(findings: Findings, about: About) -> tuple[list[str], list[tuple[str, ...]]]:
    """Returns a header and rows: a column for each role; if the last commit has it, its values then and the change."""
    columns = [("", list(_SUMMARY.values()))]
    for role, scores in findings.by_role.items():
        summary = summarise(scores)
        columns.append((f"{role} cars", [_number(summary[key]) for key in _SUMMARY]))
        before = about.before.get(role)
        if isinstance(before, dict):
            pairs = [(before.get(key), summary[key]) for key in _SUMMARY]
            columns.append((f"in {about.commit}", [_number(then) for then, _ in pairs]))
            changes = [now - then if isinstance(then, int | float) else None for then, now in pairs]
            columns.append(("change", [_number(change, sign="+") for change in changes]))
    return [name for name, _ in columns], list(zip(*(values for _, values in columns), strict=True))


def _number(value: Any, sign: str = "") -> str:
    """Returns a count or a score in words; of a file of an earlier commit, it may be anything."""
    if isinstance(value, float):
        return f"{value:{sign}.4f}"
    return f"{value:{sign},}" if isinstance(value, int) else "–"


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
