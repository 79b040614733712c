"""Computes Kaggle's score of a submission: `python -m stages.score submission.csv truth`.

`truth` is a CSV in the submission's form (`.csv`, `.csv.gz`, `.csv.zip`) or a zip of mask GIFs. Without arguments, this
is the pipeline's last stage: it scores data/submission.csv against the demo's truth, and writes to metrics/.
"""

from pathlib import Path
from statistics import fmean

from carvana import paths
from carvana.errors import UserError
from carvana.files import write_json
from carvana.kaggle import submission
from stages.stage import command_line, run


def main() -> None:
    dice = submission.score(paths.SUBMISSION, paths.TEST_MASKS)
    # Without true masks (only the demo has them) there is no score, rather than a score of 0.
    content = {"dice": round(fmean(dice.values()), 6)} if dice else {}
    write_json(paths.LEADERBOARD, {"leaderboard": content | {"images": len(dice)}})


def show(given: Path, truth: Path) -> None:
    dice = submission.score(given, truth)
    if not dice:
        raise UserError(f"{truth} has no rows; there is nothing to score against")
    worst = min(dice, key=lambda image: dice[image])
    print(f"Dice {fmean(dice.values()):.6f} over {len(dice)} images; the worst {dice[worst]:.6f}, {worst}")


if __name__ == "__main__":
    parser = command_line("score", __doc__)
    parser.add_argument("submission", type=Path, nargs="?")
    parser.add_argument("truth", type=Path, nargs="?")
    arguments = parser.parse_args()
    if (arguments.submission is None) != (arguments.truth is None):
        parser.error("name both a submission and a truth, or neither")
    if arguments.submission is None:
        run(main, "score")
    else:
        run(lambda: show(arguments.submission, arguments.truth), "score", writes=False)
