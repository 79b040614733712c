"""Git, of which results need the commit that made them, and files as they were committed."""

import os
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

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
        commit, branch = output("rev-parse", "--short", "HEAD"), output("branch", "--show-current")
        # Without the lock that git would take to store what it finds: DVC works on the same repository.
        status = output("--no-optional-locks", "status", "--porcelain", "--", *files)
    except UserError:
        return None
    edited = tuple(line[3:] for line in status.splitlines())
    return Revision(os.environ.get("DVC_EXP_NAME", branch), commit, edited)


def output(*arguments: str, index: Path | None = None) -> str:
    """Returns what a git command prints, without spaces at its end. Raises UserError if it fails, or without git.

    It reads and writes `index` in place of the repository's own index.
    """
    return _run(*arguments, index=index).rstrip()


def read(commit: str, path: Path) -> str | None:
    """Returns a file's text in a commit ('': git's index), None if it is not there. Raises UserError if git fails."""
    # `git show` fails alike whether the file or the repository is missing.
    found = _run("cat-file", "--batch", asked=f"{commit}:./{path.as_posix()}\n")
    header, _, content = found.partition("\n")
    return None if header.endswith(" missing") else content.removesuffix("\n")


def experiments() -> list[list[str]]:
    """Returns commit and name of each of DVC's experiments, the newest first."""
    # DVC stores them as refs/exps/<the commit that they started from, in two parts>/<name>.
    what = ("--format=%(objectname) %(refname:lstrip=4)", "refs/exps/*/*/*")
    return [line.split(" ") for line in output("for-each-ref", "--sort=-creatordate", *what).splitlines()]


def _run(*arguments: str, asked: str = "", index: Path | None = None) -> str:
    command, own = ["git", *arguments], {"GIT_INDEX_FILE": str(index.resolve())} if index else {}
    try:
        done = subprocess.run(  # noqa: S603
            command,
            input=asked,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
            env=os.environ | own,
        )
    except FileNotFoundError:
        raise UserError("git is not installed; it knows the commit that made a result") from None
    if done.returncode:
        reason = done.stderr.strip() or f"exit status {done.returncode}"
        raise UserError(f"the commit that made a result is not known, because git failed:\n{reason}")
    return done.stdout
