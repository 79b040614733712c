"""Charts as SVG, drawn by Vega-Lite from the same templates that `dvc plots` uses."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import vl_convert

_FOLDER = Path(__file__).parent / "charts"
_VEGA_LITE = "5.8"  # the oldest available: `dvc plots` draws with 5.2
_WIDTH = 340  # of a phone

# Most are of Okabe and Ito's palette (https://jfly.uni-koeln.de/color). Each has a contrast of 3:1 or more to white and
# to the black of a browser's dark pages.
_COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#a6761d", "#888888"]
_TEXT = {"labelColor": "currentColor", "titleColor": "currentColor", "labelFontSize": 12, "titleFontSize": 12}
_LINES = {"domainColor": "currentColor", "tickColor": "currentColor", "gridColor": "#8885"}
_THEME = {
    "aria": False,
    "background": None,
    "font": "Arial, Liberation Sans, Helvetica, sans-serif",
    "view": {"stroke": None},
    "axis": _TEXT | _LINES,
    "axisX": {"labelFlush": False, "tickCount": 6},
    "legend": _TEXT
    | {"orient": "bottom", "columns": 3, "labelLimit": 300, "symbolBaseStrokeColor": "currentColor"}
    | {"layout": {"bottom": {"anchor": "start", "direction": "vertical"}}},
    "text": {"color": "currentColor", "fontSize": 12},
    "mark": {"color": _COLOURS[0]},
    "rule": {"color": "#888888"},
    "range": {"category": _COLOURS},
}


@dataclass(frozen=True)
class Chart:
    """A chart as an <svg> for an HTML page, and the sentence that says what to read from it."""

    svg: str
    caption: str


def draw(name: str, rows: pd.DataFrame, width: int = _WIDTH) -> Chart:
    """Returns the chart of `charts/<name>.json` with those rows, `width` pixels across, in the page's text colour."""
    chart = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    title = chart.pop("title")
    # As in the CSVs that `dvc plots` reads, a missing value is an empty string.
    chart["data"]["values"] = rows.round(6).astype(object).fillna("").to_dict("records")
    chart["width"] = width
    chart["autosize"] = {"type": "fit-x", "contains": "padding"}
    svg = vl_convert.vegalite_to_svg(chart, vl_version=_VEGA_LITE, config=_THEME)
    # An id within an <svg> must be unique on the whole page.
    return Chart(re.sub(r'(\bid="|url\(#)', rf"\1{name}-", svg), " ".join(title["subtitle"]))
