"""Computes Kaggle's score of a submission whose true masks are known: `carvana score submission.csv truth`.

`truth` is a CSV in the submission's form (`.csv`, `.csv.gz`, `.csv.zip`) or a zip of mask GIFs.
"""

import argparse
from pathlib import Path
from statistics import fmean

from carvana.base.errors import UserError
from carvana.kaggle import submission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, metavar="submission")
    parser.add_argument("truth", type=Path)


def needs_clone(**_: object) -> bool:
    return False


def main(path: Path, truth: Path) -> None:
    dice = submission.score(path, truth)
    if not dice:
        raise UserError(f"{truth} has no rows; there is nothing to score against")
    worst = min(dice, key=lambda image: dice[image])
    print(f"Dice {fmean(dice.values()):.6f} over {len(dice)} images; the worst {dice[worst]:.6f}, {worst}")
