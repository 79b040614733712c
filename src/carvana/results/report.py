"""The evaluation as a page: what it is of, its scores, its worst and best predictions, its charts."""

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
        summary=_summary(findings),
        predictions=predictions,
        drawn=drawn,
        error_map=encode(error_map),
        samples=encode(samples),
        scores=worst_first(findings.scores),
        charts=_charts(findings, curves),
    )


def _summary(findings: Findings) -> tuple[list[str], list[list[str]]]:
    """Returns a header and rows, with a column for each role."""
    summaries = {f"{role} cars": summarise(scores) for role, scores in findings.by_role.items()}
    rows = [[words, *(_number(each[key]) for each in summaries.values())] for key, words in _SUMMARY.items()]
    return ["", *summaries], rows


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


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
