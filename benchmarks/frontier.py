"""Draws measured points as a chart of Dice against photos a second.

`python benchmarks/frontier.py frontier.svg` reads benchmarks/frontier.csv, whose columns are label, photos_per_second
and dice; `--points` names another file.
"""

import argparse
import csv
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from carvana.base.errors import UserError, reading  # noqa: E402
from carvana.base.files import whole_file  # noqa: E402
from carvana.experiments import frontier  # noqa: E402


def read(path: Path) -> list[frontier.Point]:
    """Returns the points of a CSV. Raises UserError if a column is missing or a value is out of range."""
    advice = "its columns are label, photos_per_second (above 0) and dice (0 to 1)"
    with reading(path, "is not a table of points", advice, advice):
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        points = [frontier.Point(row["label"], float(row["photos_per_second"]), float(row["dice"])) for row in rows]
        if not points:
            raise ValueError("it has no rows")
        if wrong := [each.label for each in points if not (0 < each.photos_per_second < 1e9 and 0 <= each.dice <= 1)]:
            raise ValueError(f"out of range: {', '.join(wrong)}")
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
    with whole_file(arguments.out) as temporary:
        temporary.write_text(frontier.document(points), encoding="utf-8")


if __name__ == "__main__":
    main()
