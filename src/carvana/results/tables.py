"""Tables as CSV."""

import csv
from pathlib import Path

from carvana.files import whole_file

Row = dict[str, int | str]


def write(path: Path, rows: list[Row], columns: list[str]) -> None:
    """Writes a header and the rows, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
