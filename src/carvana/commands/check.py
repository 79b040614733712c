"""Checks that Kaggle will accept a submission: `carvana check data/submission.csv`."""

import argparse
from pathlib import Path

from carvana.base import paths
from carvana.kaggle import submission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, nargs="?", default=paths.SUBMISSION, help="%(default)s by default")
    sample = "Kaggle's sample submission, %(default)s by default"
    parser.add_argument("--sample", type=Path, default=paths.SAMPLE_SUBMISSION, help=sample)


def needs_clone(path: Path, sample: Path) -> bool:
    return path == paths.SUBMISSION or sample == paths.SAMPLE_SUBMISSION


def main(path: Path, sample: Path) -> None:
    rows, empty = submission.check(path, sample)
    print(f"{path} is as Kaggle wants it: {rows} rows, {empty} of them without a car")
