"""Writes predicted run lists to data/submission.csv, plain and as gzip: `python -m stages.encode`."""

from carvana.base import paths
from carvana.base.stage import command_line, run
from carvana.kaggle import submission


def main() -> None:
    submission.write(paths.PREDICTIONS, paths.SAMPLE_SUBMISSION, paths.SUBMISSION, paths.SUBMISSION_GZIP)


if __name__ == "__main__":
    command_line("encode", __doc__).parse_args()
    run(main, "encode")
