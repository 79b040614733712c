"""Checks the form of a submission, and says whose photos it is of: `carvana check data/submission.csv`."""

import argparse
from pathlib import Path

from carvana.base import paths
from carvana.competition import TEST_PHOTOS
from carvana.kaggle import submission


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("path", type=Path, nargs="?", default=paths.SUBMISSION, help="%(default)s by default")
    sample = "Kaggle's sample submission, %(default)s by default"
    parser.add_argument("--sample", type=Path, default=paths.SAMPLE_SUBMISSION, help=sample)


def needs_clone(path: Path, sample: Path) -> bool:
    return path == paths.SUBMISSION or sample == paths.SAMPLE_SUBMISSION


def main(path: Path, sample: Path) -> None:
    rows, empty = submission.check(path, sample)
    whose = "Kaggle" if rows == TEST_PHOTOS else str(sample)
    print(f"{path} is as {whose} wants it: {rows} rows, {empty} of them without a car")
    if rows != TEST_PHOTOS:
        print(f"The contest has {TEST_PHOTOS:,} rows: these are the demo's, or a part, and Kaggle would refuse them")
