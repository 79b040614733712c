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

from carvana.base import lockfile, paths
from carvana.base.errors import UserError, first_line
from carvana.base.files import digest
from carvana.kaggle import client, lineage, provenance, submission, submission_log
from carvana.kaggle.provenance import Origin

_ROLES = ("test", "validation")
_EVALUATE = "`dvc repro -f -s evaluate` makes it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--message", default="", help="words to put before the experiment's name and its Dice")
    parser.add_argument("--yes", dest="sure", action="store_true", help="do not ask")


def main(message: str, sure: bool) -> None:
    # Bytes that are no UTF-8 could be neither printed nor sent.
    words = message.encode(errors="replace").decode()
    # The copy is checked, and the copy is sent, even if the original changes in between.
    with copy_of(paths.SUBMISSION_GZIP) as packed:
        origin, params = trace(packed)
        rows, empty = check(packed)
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
            "params": params,
            "rows": rows,
        }
        send(packed, message, content)


@contextlib.contextmanager
def copy_of(file: Path) -> Iterator[Path]:
    """Yields a copy of a file under the same name, and removes it afterwards. A link would change with the file."""
    shutil.rmtree(paths.UPLOAD, ignore_errors=True)
    paths.UPLOAD.mkdir(parents=True)
    try:
        try:
            copy = Path(shutil.copyfile(file, paths.UPLOAD / file.name))
        except FileNotFoundError:
            raise UserError(f"{file} is missing; `dvc repro` makes it") from None
        yield copy
    finally:
        shutil.rmtree(paths.UPLOAD, ignore_errors=True)


def trace(packed: Path) -> tuple[Origin, dict[str, Any]]:
    """Returns the commit that the submission comes from, and that commit's parameters.

    Raises UserError unless submission, Dice and parameters are those of the same models; `packed` is the copy.
    """
    recorded = lockfile.read(paths.LOCK)
    origin = provenance.find(paths.LOCK)
    params = provenance.read_params(origin.commit)
    stages = lineage.in_use(recorded)
    lineage.require_file(stages, "encode", paths.SUBMISSION)
    lineage.require_file(stages, "encode", paths.SUBMISSION_GZIP, packed)
    lineage.require_file(stages, "evaluate", paths.EVALUATION)
    provenance.require_committed(origin.commit, paths.EVALUATION)
    lineage.require_clean(stages, recorded)
    for path, md5 in lineage.brought(stages).items():
        provenance.require_kept(path, md5)
    return origin, params


def check(packed: Path) -> tuple[int, int]:
    """Returns the number of rows and of empty masks in the copy. Raises UserError that names the original."""
    try:
        return submission.check(packed, paths.SAMPLE_SUBMISSION)
    except UserError as error:
        raise UserError(str(error).replace(str(packed), str(paths.SUBMISSION_GZIP))) from error


def read_dice(path: Path) -> dict[str, float]:
    """Returns the mean Dice on unseen cars, 0 to 1, by role. Raises UserError if the file does not have it."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path} cannot be read ({first_line(error)}); {_EVALUATE}") from error
    scores = {role: content[role] for role in _ROLES if role in content} if isinstance(content, dict) else {}
    if not scores:
        raise UserError(f"{path} has no scores of {' or '.join(_ROLES)} cars; {_EVALUATE}")
    dice = {}
    for role, each in scores.items():
        value = each.get("dice") if isinstance(each, dict) else None
        # Python takes JSON's true for an int, and reads NaN as a float.
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise UserError(f"{path}: {role}.dice must be a number from 0 to 1 (got {value!r}); {_EVALUATE}")
        dice[role] = float(value)
    return dice


def describe(words: str, origin: Origin, dice: dict[str, float]) -> str:
    """Returns Kaggle's message beside the score: words, the experiment's name, its Dice, its commit, its dvc.lock."""
    scores = [f"{role} {value:.5f}" for role, value in sorted(dice.items())]
    parts = [
        words,
        origin.name,
        f"Dice {', '.join(scores)}",
        f"commit {origin.commit[:12]}",
        f"dvc.lock {origin.lock[:12]}",
    ]
    return " · ".join(filter(None, parts))


def warn(sha256: str, left: int | None) -> None:
    """Prints to stderr what speaks against this submission: the same file was sent before, or none is left today."""
    for sending, reference in earlier(sha256):
        outcome = f"Kaggle took it, reference {reference}" if reference else "it may have been counted"
        print(f"warning: this file was sent before, {sending.get('time')} ({outcome})", file=sys.stderr)
    if left == 0:
        print(
            "warning: Kaggle says that no submission is left today, and will most likely refuse this one (or the "
            f"competition is not yet entered: {client.PAGE}/rules)",
            file=sys.stderr,
        )


def earlier(sha256: str) -> list[tuple[dict[str, Any], int | None]]:
    """Returns the `sending` entries of a file that was not refused, with Kaggle's references if known."""
    entries = submission_log.read(paths.SUBMISSIONS)
    refused = {entry["id"] for entry in entries if entry["event"] == "error"}
    references = {entry["id"]: entry.get("reference") for entry in entries if entry["event"] == "taken"}
    return [
        (entry, references.get(entry["id"]))
        for entry in entries
        if entry["event"] == "sending" and entry["id"] not in refused and _hash(entry) == sha256
    ]


def _hash(sending: dict[str, Any]) -> str | None:
    file = sending.get("file")
    return file.get("sha256") if isinstance(file, dict) else None


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
    """Uploads the copy, and logs a line before that, one when Kaggle has taken it, and one with the outcome.

    All lines have the same `id`. If the process is stopped in between, the later ones are missing.
    """
    started = now()

    def log(event: str, **more: Any) -> None:
        submission_log.append(paths.SUBMISSIONS, {"event": event, "id": started, "time": now()} | more)

    def taken(reference: int, words: str) -> None:
        # Printed before it is logged, because a full disk must not hide that it was sent.
        print(f"{words} (reference {reference})", flush=True)
        with contextlib.suppress(UserError):
            log("taken", kaggle=words, reference=reference)

    submission_log.append(paths.SUBMISSIONS, content | {"event": "sending", "id": started, "time": started})
    try:
        status = client.submit(packed, message, taken)
    except UserError as error:
        # Kaggle's error matters more than an error in writing the log.
        with contextlib.suppress(UserError):
            log("uncertain" if isinstance(error, client.UncertainError) else "error", error=str(error))
        raise
    print(f"Kaggle lists it as {status}. The score will stand on {client.PAGE}/submissions", flush=True)
    log("answer", status=status)


def now() -> str:
    """Returns the time in UTC as ISO 8601, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
