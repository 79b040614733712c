"""data/submission.csv.gz to Kaggle, once it is checked and its commit is known: `python -m stages.submit`."""

import argparse
import json
import sys
from dataclasses import asdict

import yaml

from carvana import kaggle, paths, provenance, submission
from carvana.errors import UserError
from carvana.provenance import Origin
from carvana.work import write_json
from stages.stage import run


def main(words: str, sure: bool) -> None:
    provenance.require_result(paths.LOCK, "encode", [paths.SUBMISSION, paths.SUBMISSION_GZIP])
    origin = provenance.find(paths.LOCK)
    rows, empty = submission.check(paths.SUBMISSION, paths.SAMPLE_SUBMISSION)
    dice = read_dice()
    message = describe(words, origin, dice)
    content = {
        "dice": dice,
        "dvc_lock_sha256": origin.lock,
        "message": message,
        "origin": {key: value for key, value in asdict(origin).items() if key != "lock"},
        "params": yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8")),
        "rows": rows,
    }
    write_json(paths.SUBMISSION_OF, content | {"kaggle": "not submitted"})
    print(f"{paths.SUBMISSION_GZIP}: {rows} rows, {empty} of them without a car\nmessage: {message}")
    if not sure:
        ask()
    answer = kaggle.submit(paths.SUBMISSION_GZIP, message)
    write_json(paths.SUBMISSION_OF, content | {"kaggle": answer})
    print(f"{answer}. The score will stand on {kaggle.PAGE}/submissions")


def describe(words: str, origin: Origin, dice: dict[str, float]) -> str:
    """What Kaggle shows beside the score: the words, the experiment, its Dice, and what it can be found by."""
    scores = [f"{role} {value:.5f}" for role, value in sorted(dice.items())]
    parts = [
        words,
        origin.name,
        f"Dice {', '.join(scores)}",
        f"commit {origin.commit[:12]}",
        f"dvc.lock {origin.lock[:12]}",
    ]
    return " · ".join(filter(None, parts))


def read_dice() -> dict[str, float]:
    """Mean Dice on unseen cars, by role."""
    try:
        evaluation = json.loads(paths.EVALUATION.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{paths.EVALUATION} is missing; `dvc repro evaluate` makes it") from None
    return {role: scores["dice"] for role, scores in evaluation.items() if "dice" in scores}


def ask() -> None:
    """Raises UserError unless somebody at the terminal says yes."""
    if not sys.stdin.isatty():
        raise UserError("nobody is there to be asked: `make submit YES=1` submits without a question")
    left = kaggle.submissions_left()
    if input(f"Submit{'' if left is None else f' (of {left} that are left today)'}? [y/N] ").lower() not in (
        "y",
        "yes",
    ):
        raise UserError("not submitted")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--message", default="", help="words to put before the experiment's name and its Dice")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    arguments = parser.parse_args()
    run(lambda: main(arguments.message, arguments.yes), "submit")
