"""Draws measured points as a chart of Dice against photos a second.

`python benchmarks/frontier.py frontier.svg` reads benchmarks/frontier.csv, whose columns are label, photos_per_second
and dice; `--points` names another file.
"""

import argparse
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from carvana.base.errors import UserError, reading  # noqa: E402
from carvana.base.files import whole_file  # noqa: E402
from carvana.results import charts  # noqa: E402

# A picture in a document knows only whether the system is dark.
STYLE = "<style>svg { color: #222 } @media (prefers-color-scheme: dark) { svg { color: #ddd } }</style>"


def read(path: Path) -> pd.DataFrame:
    """Returns the points of a CSV. Raises UserError if a column is missing or a value is out of range."""
    advice = "its columns are label, photos_per_second (above 0) and dice (0 to 1)"
    with reading(path, "is not a table of points", advice, advice):
        columns = {"label": str, "photos_per_second": float, "dice": float}
        points = pd.read_csv(path, usecols=list(columns), dtype=columns)
        if points.empty:
            raise ValueError("it has no rows")
        right = points["photos_per_second"].between(0, 1e9, "neither") & points["dice"].between(0, 1)
        if not right.all():
            raise ValueError(f"out of range: {', '.join(points['label'][~right])}")
    return points


def main() -> None:
    """Reads the points and writes the chart."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("out", type=Path, help="the SVG file to write")
    parser.add_argument("--points", type=Path, default=ROOT / "benchmarks/frontier.csv")
    arguments = parser.parse_args()
    try:
        points = read(arguments.points)
    except UserError as error:
        sys.exit(f"error: {error}")
    svg = charts.draw("frontier", points, width=480).svg
    with whole_file(arguments.out) as temporary:
        temporary.write_text(svg.replace(">", f">{STYLE}", 1), encoding="utf-8")


if __name__ == "__main__":
    main()
