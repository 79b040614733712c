"""Prints where the submission is and how it scored, at the end of `make submission`: `carvana summary`."""

import json
from pathlib import Path

from carvana.base import git, paths
from carvana.base.console import dice_of, score_of
from carvana.base.errors import reading

_AGAIN = ("cannot be read", "`dvc repro` makes it again", "`dvc repro` makes it")


def main() -> None:
    show()
    here = git.current([str(path) for path in (paths.LOCK, paths.PARAMS, paths.EVALUATION, paths.LEADERBOARD)])
    if here and here.edited:
        print("Keep this state, so that others can be compared with it: `git add -A && git commit -m baseline`")


def show() -> None:
    """Prints the scores, and where the report and the submission are."""
    print(*evaluated(paths.EVALUATION), scored(paths.LEADERBOARD), sep="\n")
    print(f"{paths.REPORT} shows the best and the worst of it")
    files = paths.SUBMISSION, paths.SUBMISSION_GZIP
    with reading(" or ".join(map(str, files)), *_AGAIN):
        sizes = [f"{path} ({path.stat().st_size / 2**20:.1f} MiB)" for path in files]
    print(f"{' and, for the upload, '.join(sizes)} are ready")


def evaluated(path: Path) -> list[str]:
    """Returns a line for each role of unseen cars."""
    with reading(path, *_AGAIN):
        evaluation = json.loads(path.read_text(encoding="utf-8"))
        return [dice_of(role, scores) for role, scores in sorted(evaluation.items()) if "dice" in scores]


def scored(path: Path) -> str:
    """Returns a line about the submission's score."""
    with reading(path, *_AGAIN):
        return score_of(json.loads(path.read_text(encoding="utf-8"))["leaderboard"])
