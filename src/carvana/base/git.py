"""Git, of which results need the commit that made them, and files as they were committed."""

import subprocess
from pathlib import Path

from carvana.base.errors import UserError


def output(*arguments: str) -> str:
    """Returns what a git command prints, without spaces at its end. Raises UserError if it fails, or without git."""
    return _output(_run(*arguments))


def blob(commit: str, path: Path) -> str | None:
    """Returns the hash of a file in a commit; None if the commit does not have it, or if HEAD has no commit yet.

    Raises UserError if git fails.
    """
    result = _run("rev-parse", "--verify", "--quiet", f"{commit}:./{path.as_posix()}")
    # With --quiet, git exits with 1 and prints nothing if there is no such file.
    if result.returncode == 1 and not result.stderr.strip():
        return None
    return _output(result)


def read(commit: str, path: Path) -> str | None:
    """Returns the text of a file in a commit; None if the commit does not have it. Raises UserError if git fails."""
    return None if blob(commit, path) is None else output("show", f"{commit}:./{path.as_posix()}")


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", *arguments]
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603
    except FileNotFoundError:
        raise UserError("git is not installed; it knows the commit that made a result") from None


def _output(result: subprocess.CompletedProcess[str]) -> str:
    if result.returncode:
        reason = (result.stderr.strip() or f"exit status {result.returncode}").splitlines()[0]
        raise UserError(f"git failed ({reason}), so the commit that made a result is not known; `git status` says more")
    return result.stdout.rstrip()
