"""Checks that Kaggle will accept a submission: `python -m stages.check data/submission.csv`."""

from pathlib import Path

from carvana import paths
from carvana.kaggle import submission
from stages.stage import command_line, run


def main(path: Path) -> None:
    rows, empty = submission.check(path, paths.SAMPLE_SUBMISSION)
    print(f"{path} is as Kaggle wants it: {rows} rows, {empty} of them without a car")


if __name__ == "__main__":
    parser = command_line("check", __doc__)
    parser.add_argument(
        "submission", type=Path, nargs="?", default=paths.SUBMISSION, help=f"{paths.SUBMISSION} by default"
    )
    arguments = parser.parse_args()
    run(lambda: main(arguments.submission), "check", writes=False)
