"""Submits data/submission.csv.gz to Kaggle, after checking it and finding its commit: `carvana submit`."""

import argparse
import contextlib
import json
import shutil
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from carvana.base import lockfile, params, paths
from carvana.base.errors import UserError, reading
from carvana.base.files import digest
from carvana.competition import TEST_PHOTOS
from carvana.kaggle import client, lineage, provenance, submission, submission_log
from carvana.kaggle.provenance import Origin


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--message", default="", help="words to put before the experiment's name and its Dice")
    parser.add_argument("--yes", dest="sure", action="store_true", help="do not ask")


def main(message: str, sure: bool) -> None:
    # Bytes that are no UTF-8 could be neither printed nor sent.
    words = message.encode(errors="replace").decode()
    if params.load(paths.PARAMS).data.source == "demo":
        raise UserError("the submission is of the demo's rendered cars; `data.source: kaggle` is for the contest's")
    # The copy is checked, and the copy is sent, even if the original changes in between.
    with copy_of(paths.SUBMISSION_GZIP) as packed:
        origin, made_with = trace(packed)
        rows, empty = submission.check(packed, paths.SAMPLE_SUBMISSION)
        if rows != TEST_PHOTOS:
            raise UserError(
                f"{paths.SUBMISSION_GZIP} has {rows} rows, and Kaggle scores those of all {TEST_PHOTOS:,} photos in "
                "its test.zip; predict these"
            )
        dice = read_dice(paths.EVALUATION)
        message = describe(words, origin, dice)
        print(f"{paths.SUBMISSION_GZIP}: {rows} rows, {empty} of them without a car\nmessage: {message}", flush=True)
        if not sure and not sys.stdin.isatty():
            raise UserError("stdin is not a terminal: `make submit YES=1` submits without a question")
        left = client.submissions_left()
        warn(digest(packed), left)
        if not sure:
            ask(left)
        content = {
            "dice": dice,
            "dvc_lock_sha256": origin.lock,
            "file": {"md5": lockfile.md5_of(packed), "name": str(paths.SUBMISSION_GZIP), "sha256": digest(packed)},
            "message": message,
            "origin": {"commit": origin.commit, "name": origin.name},
            "params": made_with,
            "rows": rows,
        }
        send(packed, message, content)


@contextlib.contextmanager
def copy_of(file: Path) -> Iterator[Path]:
    """Yields a copy of a file, which a link would not be, and removes it afterwards; errors name the original."""
    shutil.rmtree(paths.UPLOAD, ignore_errors=True)
    paths.UPLOAD.mkdir(parents=True)
    copy = paths.UPLOAD / file.name
    try:
        with reading(file, "cannot be copied", "`dvc repro` makes it again", "`dvc repro` makes it"):
            shutil.copyfile(file, copy)
        yield copy
    except UserError as error:
        raise UserError(str(error).replace(str(copy), str(file))) from error
    finally:
        shutil.rmtree(paths.UPLOAD, ignore_errors=True)


def trace(packed: Path) -> tuple[Origin, dict[str, Any]]:
    """Returns the submission's commit and its parameters. Raises UserError if Dice and models do not fit."""
    origin = provenance.find(paths.LOCK)
    made_with = provenance.read_params(origin.commit)
    lineage.require_up_to_date(packed)
    if not provenance.has(origin.commit, paths.EVALUATION):
        raise UserError(
            f"{paths.EVALUATION} is not the one in commit {origin.commit[:12]}, which has this {paths.LOCK}; commit "
            "both together (`git add -A && git commit`)"
        )
    return origin, made_with


def read_dice(path: Path) -> dict[str, float]:
    """Returns the mean Dice on unseen cars, 0 to 1, by role. Raises UserError if the file does not have it."""
    with reading(path, "has no Dice", "`dvc repro -f -s evaluate` makes it"):
        content = json.loads(path.read_text(encoding="utf-8"))
        return {role: float(content[role]["dice"]) for role in ("test", "validation") if role in content}


def describe(words: str, origin: Origin, dice: dict[str, float]) -> str:
    """Returns Kaggle's message beside the score: words, the experiment's name, its Dice, its commit, its dvc.lock."""
    scores = ", ".join(f"{role} {value:.5f}" for role, value in sorted(dice.items()))
    parts = [words, origin.name, f"Dice {scores}", f"commit {origin.commit[:12]}", f"dvc.lock {origin.lock[:12]}"]
    return " · ".join(filter(None, parts))


def warn(sha256: str, left: int | None) -> None:
    """Prints to stderr what speaks against this submission: the same file was sent before, or none is left today."""
    entries = submission_log.read(paths.SUBMISSIONS)
    refused = {entry["id"] for entry in entries if entry["event"] == "error"}
    references = {entry["id"]: entry.get("reference") for entry in entries if entry["event"] == "taken"}
    for entry in entries:
        if entry["event"] == "sending" and entry["id"] not in refused and entry["file"]["sha256"] == sha256:
            reference = references.get(entry["id"])
            outcome = f"Kaggle took it, reference {reference}" if reference else "it may have been counted"
            print(f"warning: this file was sent before, {entry['time']} ({outcome})", file=sys.stderr)
    if left == 0:
        print(
            "warning: Kaggle says that no submission is left today, and will most likely refuse this one (or the "
            f"competition is not yet entered: {client.PAGE}/rules)",
            file=sys.stderr,
        )


def ask(left: int | None) -> None:
    """Raises UserError unless the user at the terminal says yes."""
    try:
        answer = input(f"Submit{'' if left is None else f' (of {left} that are left today)'}? [y/N] ")
    except EOFError:
        print()  # Ctrl-D leaves the cursor behind the question
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UserError("not submitted")


def send(packed: Path, message: str, content: dict[str, Any]) -> None:
    """Uploads the copy, and logs a line before that, and one with the outcome, which has the same `id`.

    If the process is stopped in between, the second is missing.
    """
    started = now()

    def log(event: str, **more: Any) -> None:
        submission_log.append(paths.SUBMISSIONS, {"event": event, "id": started, "time": now()} | more)

    log("sending", **content)
    try:
        reference, words = client.submit(packed, message)
    except Exception as error:
        is_refused = isinstance(error, UserError) and not isinstance(error, client.UncertainError)
        # The message of a bug may quote a token.
        words = str(error) if isinstance(error, UserError) else type(error).__name__
        # Kaggle's error matters more than an error in writing the log.
        with contextlib.suppress(OSError):
            log("error" if is_refused else "uncertain", error=words)
        raise
    # Printed before it is logged, because a full disk must not hide that it was sent.
    print(f"{words} (reference {reference}). The score will stand on {client.PAGE}/submissions", flush=True)
    log("taken", kaggle=words, reference=reference)


def now() -> str:
    """Returns the time in UTC as ISO 8601, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
