"""Shards of run lists into data/submission.csv: `python -m stages.encode`."""

from carvana import paths, submission
from stages.stage import run


def main() -> None:
    submission.write(paths.PREDICTIONS, paths.SAMPLE_SUBMISSION, paths.SUBMISSION)


if __name__ == "__main__":
    run(main, "encode")
