"""The workspace's commit, its experiment, and files as they were committed; nothing of it where there is no git."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from carvana.base import git
from carvana.base.errors import UserError


@dataclass(frozen=True)
class Revision:
    """The last commit, shortened; the name of DVC's experiment, else of the branch, '' if there is neither.

    `edited` are those of the given files that differ from the commit.
    """

    name: str
    commit: str
    edited: tuple[str, ...]


def current(files: Iterable[str]) -> Revision | None:
    """Returns the workspace's revision; None without git, or if there is no commit. `files` may be folders."""
    try:
        commit = git.output("rev-parse", "--short", "HEAD")
        branch = git.output("branch", "--show-current")
        # Without the lock that git would take to store what it finds: DVC works on the same repository.
        status = git.output("--no-optional-locks", "status", "--porcelain", "--", *files)
    except UserError:
        return None
    edited = tuple(line[3:] for line in status.splitlines())
    return Revision(os.environ.get("DVC_EXP_NAME", branch), commit, edited)


def committed(path: Path) -> str | None:
    """Returns a file's text in the last commit; None if it is not there, or without git."""
    try:
        return git.read("HEAD", path)
    except UserError:
        return None
