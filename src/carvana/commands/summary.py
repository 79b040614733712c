"""Prints where the submission is and how it scored, at the end of `make submission`: `carvana summary`."""

import json
from pathlib import Path

from carvana.base import git, paths
from carvana.base.errors import reading


def main() -> None:
    show()
    here = git.current([str(path) for path in (paths.LOCK, paths.PARAMS, paths.EVALUATION, paths.LEADERBOARD)])
    if here and here.edited:
        print("Keep this state, so that others can be compared with it: `git add -A && git commit -m baseline`")


def show() -> None:
    """Prints the scores, and where the report and the submission are."""
    evaluation, leaderboard = _read(paths.EVALUATION), _read(paths.LEADERBOARD)["leaderboard"]
    for role, scores in sorted((role, scores) for role, scores in evaluation.items() if "dice" in scores):
        print(
            f"Dice at 1918×1280 on {scores['images']} photos of unseen {role} cars: {scores['dice']:.4f} "
            f"(worst {scores['dice_worst']:.4f})"
        )
    if "dice" in leaderboard:
        print(f"Score of the submission on {leaderboard['images']} test photos: {leaderboard['dice']:.4f}")
    else:
        print("Score of the submission: not known here; Kaggle tells")
    print(f"{paths.REPORT} shows the best and the worst of it")
    sizes = [f"{path} ({path.stat().st_size / 2**20:.1f} MiB)" for path in (paths.SUBMISSION, paths.SUBMISSION_GZIP)]
    print(f"{' and, for the upload, '.join(sizes)} are ready")


def _read(path: Path) -> dict:
    with reading(path, "cannot be read", "`dvc repro` makes it again", "`dvc repro` makes it"):
        return dict(json.loads(path.read_text(encoding="utf-8")))
