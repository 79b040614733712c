"""What git and DVC know of the workspace: its commit, its experiment, and files as they were committed."""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_HEAD = "HEAD"


@dataclass(frozen=True)
class Revision:
    """The last commit, shortened; the name of DVC's experiment, else of the branch, '' if there is neither.

    `edited` are the files of code that differ from the commit.
    """

    name: str
    commit: str
    edited: tuple[str, ...]


def current(code: Iterable[str]) -> Revision | None:
    """Returns the workspace's revision; None without git, or if there is no commit. `code` are files and folders."""
    commit = _git("rev-parse", "--short", _HEAD)
    if not commit:
        return None
    branch = _git("symbolic-ref", "--short", "--quiet", _HEAD) or ""
    # Without the lock that git would take to store what it finds: DVC works on the same repository.
    status = _git("--no-optional-locks", "status", "--porcelain", "--", *code) or ""
    edited = tuple(line[3:] for line in status.splitlines())
    return Revision(os.environ.get("DVC_EXP_NAME", branch.strip()), commit.strip(), edited)


def committed(path: Path) -> str | None:
    """Returns a file's text in the last commit; None if it is not there, or without git."""
    return _git("show", f"{_HEAD}:./{path.as_posix()}")


def _git(*arguments: str) -> str | None:
    command = ["git", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603
    except OSError:
        return None
    return None if done.returncode else done.stdout
