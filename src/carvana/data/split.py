"""Roles of cars: held-out test cars, and folds over the rest. Always by car, never by image.

The 16 photos of a car show the same car in the same paint before the same wall; a car in both training and
validation would flatter the score (the slides' "data leakage alert").
"""

import csv
import io
import re
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from carvana.competition import is_car
from carvana.errors import UserError
from carvana.files import whole_file

TEST = "test"

_HEADER = ["car", "role"]
_ROLE = re.compile(rf"{TEST}|0|[1-9][0-9]*")
_AGAIN = "`dvc repro -f split` writes it again"


def assign(cars: list[str], makes: dict[str, str], test_fraction: float, folds: int, seed: int) -> dict[str, str]:
    """Role of every car: 'test', or the number of its fold as a string ('0' … ).

    `makes` gives a car's make where it is known; test cars and folds each get their share of every make,
    to rounding. Fold sizes differ by one car at most. 318 cars, 0.2 and 4 folds: 64 test cars and folds
    of 64, 64, 63 and 63, the slides' 190 / 64 / 64 for fold 0. Raises UserError with fewer cars than folds.
    """
    shuffled = [sorted(cars)[i] for i in np.random.default_rng(seed).permutation(len(cars))]
    sizes = Counter(makes.get(car, "") for car in cars)
    # A stable sort: cars of one make side by side, in random order among themselves.
    ordered = sorted(shuffled, key=lambda car: (-sizes[makes.get(car, "")], makes.get(car, "")))
    tests = round(test_fraction * len(ordered))
    if len(ordered) - tests < folds:
        raise UserError(
            f"{len(ordered)} cars, {tests} of them held out (split.test_fraction: {test_fraction}), leave "
            f"{len(ordered) - tests} for split.folds: {folds}; use fewer folds or more cars"
        )
    # Evenly spaced places in that order take from every make its share.
    held_out = {ordered[(2 * i + 1) * len(ordered) // (2 * tests)] for i in range(tests)}
    rest = [car for car in ordered if car not in held_out]
    roles = dict.fromkeys(held_out, TEST) | {car: str(i % folds) for i, car in enumerate(rest)}
    return dict(sorted(roles.items()))


def read_makes(metadata: Path) -> dict[str, str]:
    """Make of every car in metadata.csv.zip that has one; ids stay strings, though some look like numbers."""
    try:
        with zipfile.ZipFile(metadata) as archive, archive.open(archive.namelist()[0]) as file:
            rows = list(csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline="")))
        return {row["id"]: row["make"] for row in rows if row["make"]}
    except (OSError, zipfile.BadZipFile, IndexError, KeyError, UnicodeDecodeError) as error:
        raise UserError(f"{metadata} is not Kaggle's metadata.csv in a zip ({error!r}); fetch it again") from error


def write(path: Path, roles: dict[str, str]) -> None:
    """Writes `car,role` rows."""
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_HEADER)
        writer.writerows(roles.items())


def read(path: Path) -> dict[str, str]:
    """Role of every car, as `write` wrote it.

    Raises UserError, naming the line, unless every row has a car, each once, and `test` or the number of a fold: a car
    whose role is misspelt would be trained on.
    """
    try:
        # Bytes that are not ASCII stay visible as \xff, and are refused with the line that has them.
        with path.open(encoding="ascii", errors="backslashreplace", newline="") as file:
            rows = csv.reader(file, strict=True)
            return _roles_of(rows, path)
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro split` makes it") from None
    except csv.Error as error:
        raise UserError(f"{path}, line {rows.line_num}: {error}; {_AGAIN}") from error


def _roles_of(rows: Iterator[list[str]], path: Path) -> dict[str, str]:
    roles: dict[str, str] = {}
    if (header := next(rows, [])) != _HEADER:
        raise UserError(f"{path}, line 1 is {_shown(header)} and must be {_shown(_HEADER)}; {_AGAIN}")
    for number, row in enumerate(rows, start=2):
        where = f"{path}, line {number}"
        if len(row) != len(_HEADER):
            raise UserError(f"{where}: {_shown(row)} is not a car and its role; {_AGAIN}")
        car, role = row
        if not is_car(car):
            raise UserError(f"{where}: {_shown(car)} is not a car's 12 hexadecimal digits; {_AGAIN}")
        if not _ROLE.fullmatch(role):
            raise UserError(f"{where}: the role {_shown(role)} is neither {TEST} nor a fold's number; {_AGAIN}")
        if car in roles:
            raise UserError(f"{where}: {car} is listed twice; {_AGAIN}")
        roles[car] = role
    return roles


def _shown(value: str | list[str]) -> str:
    return f"{value!r:.100}"
