"""Writes predicted run lists to data/submission.csv, plain and as gzip: `python -m stages.encode`."""

from carvana import paths
from carvana.kaggle import submission
from stages.stage import command_line, run


def main() -> None:
    submission.write(paths.PREDICTIONS, paths.SAMPLE_SUBMISSION, paths.SUBMISSION, paths.SUBMISSION_GZIP)


if __name__ == "__main__":
    command_line("encode", __doc__).parse_args()
    run(main, "encode")
