"""Roles of cars: held-out test cars, and folds over the rest. Always by car, never by image.

The 16 photos of a car show the same car in the same paint before the same wall; a car in both training and
validation would flatter the score (the slides' "data leakage alert").
"""

import io
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from carvana.base.errors import UserError, reading, some
from carvana.base.files import write_text
from carvana.competition import car_of, is_car
from carvana.data.archive import open_csv

TEST = "test"
VALIDATION = "validation"  # the role in results of a car whose fold validates the model; split.csv has the fold

_HEADER = "car,role"
_ROLE = re.compile(rf"{TEST}|0|[1-9][0-9]*")
_MOST_METADATA = 2**24  # bytes; Kaggle's file has half a million
_AGAIN = "`dvc repro -f split` writes it again"


def assign(cars: list[str], makes: dict[str, str], test_fraction: float, folds: int, seed: int) -> dict[str, str]:
    """Returns the role of every car: 'test', or the number of its fold as a string ('0' … ).

    `makes` holds the known makes of cars; test cars and folds each get their share of every make, to rounding. Fold
    sizes differ by at most one car. Raises UserError if fewer cars than folds are left.
    """
    shuffled = [sorted(cars)[i] for i in np.random.default_rng(seed).permutation(len(cars))]
    sizes = Counter(makes.get(car, "") for car in cars)
    # A stable sort: cars of one make side by side, in random order among themselves.
    ordered = sorted(shuffled, key=lambda car: (-sizes[makes.get(car, "")], makes.get(car, "")))
    tests = round(test_fraction * len(ordered))
    if (left := len(ordered) - tests) < folds:
        raise UserError(
            f"{tests} of {len(ordered)} cars are held out (split.test_fraction: {test_fraction}) and leave {left} for "
            f"split.folds: {folds}; use fewer folds or more cars"
        )
    # Evenly spaced places in that order take a fair share of every make.
    held_out = {ordered[(2 * i + 1) * len(ordered) // (2 * tests)] for i in range(tests)}
    rest = [car for car in ordered if car not in held_out]
    roles = dict.fromkeys(held_out, TEST) | {car: str(i % folds) for i, car in enumerate(rest)}
    return dict(sorted(roles.items()))


def read_makes(metadata: Path) -> dict[str, str]:
    """Returns the make of every car in metadata.csv.zip that has one."""
    with reading(metadata, "is not Kaggle's metadata.csv in a zip", "download it again"), ExitStack() as stack:
        content = open_csv(metadata, stack).read(_MOST_METADATA + 1)
        if len(content) > _MOST_METADATA:
            raise ValueError(f"it has more than {_MOST_METADATA} bytes")
        table = pd.read_csv(io.BytesIO(content), index_col=False, dtype=str, keep_default_na=False)
        return {car: make for car, make in zip(table["id"], table["make"], strict=True) if make}


def write(path: Path, roles: dict[str, str]) -> None:
    """Writes `car,role` rows."""
    write_text(path, "\n".join([_HEADER, *map(",".join, roles.items()), ""]))


def read(path: Path, photos: Iterable[str] = (), advice: str = _AGAIN) -> dict[str, str]:
    """Returns the role of every car, as `write` wrote it.

    Raises UserError, which names the line and ends in `advice`, unless every row has a car, each once, and `test` or
    the number of a fold: a car whose role is misspelt would be trained on. Raises it as well if the car of one of
    `photos` is missing.
    """
    with reading(path, "cannot be read", advice, "`dvc repro split` makes it"):
        # Nothing is skipped or converted: a line's number is that of the file, and an id is a text.
        header, *lines = path.read_text(encoding="ascii", errors="backslashreplace").removesuffix("\n").split("\n")
    if header != _HEADER:
        raise UserError(f"{path}, line 1 must be {_HEADER}; {advice}")
    roles: dict[str, str] = {}
    for number, line in enumerate(lines, start=2):
        car, _, role = line.partition(",")
        if not is_car(car) or car in roles or not _ROLE.fullmatch(role):
            raise UserError(
                f"{path}, line {number}: {line!r:.100} must be a car (12 hexadecimal digits, each once), a comma, and "
                f"{TEST} or a fold's number; {advice}"
            )
        roles[car] = role
    if unknown := {car_of(name) for name in photos} - roles.keys():
        raise UserError(f"{path} has no role for {some(sorted(unknown))}; {advice}")
    return roles
