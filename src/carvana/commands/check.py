"""Checks that Kaggle will accept a submission: `carvana check data/submission.csv`."""

import argparse
from pathlib import Path

from carvana.base import paths
from carvana.kaggle import submission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "path", type=Path, nargs="?", default=paths.SUBMISSION, help=f"the submission, {paths.SUBMISSION} by default"
    )


def main(path: Path) -> None:
    rows, empty = submission.check(path, paths.SAMPLE_SUBMISSION)
    print(f"{path} is as Kaggle wants it: {rows} rows, {empty} of them without a car")
