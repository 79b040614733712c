"""Scores data/submission.csv against the demo's true masks, into metrics/leaderboard.json: `python -m stages.score`."""

from statistics import fmean

from carvana.base import paths
from carvana.base.console import say, score_of
from carvana.base.files import write_json
from carvana.base.stage import command_line, run
from carvana.kaggle import submission


def main() -> None:
    dice = submission.score(paths.SUBMISSION, paths.TEST_MASKS)
    # Without true masks (only the demo has them) there is no score, rather than a score of 0.
    content = ({"dice": round(fmean(dice.values()), 6)} if dice else {}) | {"images": len(dice)}
    write_json(paths.LEADERBOARD, {"leaderboard": content})
    say(score_of(content))


if __name__ == "__main__":
    command_line("score", __doc__).parse_args()
    run(main, "score")
