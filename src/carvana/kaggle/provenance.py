"""The commit and the experiment that a submission comes from, and the content of that commit."""

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carvana.base import lockfile, paths, yaml12
from carvana.base.errors import UserError, reading


@dataclass(frozen=True)
class Origin:
    """The commit that has this dvc.lock, its experiment or branch, and the SHA-256 of dvc.lock."""

    commit: str
    name: str
    lock: str


def find(lock: Path) -> Origin:
    """Returns the commit that has `lock` as it is now: HEAD, or an experiment of DVC.

    Raises UserError if no commit has it, or if git fails.
    """
    if not lock.exists():
        raise UserError(f"{lock} is missing; `dvc repro` makes it")
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if _has("HEAD", lock):
        return Origin(_git("rev-parse", "HEAD"), _git("rev-parse", "--abbrev-ref", "HEAD"), digest)
    # DVC stores experiments as refs/exps/<the commit that they started from, in two parts>/<name>.
    experiments = _git("for-each-ref", "--sort=-creatordate", "--format=%(objectname) %(refname)", "refs/exps")
    for line in experiments.splitlines():
        commit, _, reference = line.partition(" ")
        if reference.count("/") == 4 and _has(commit, lock):
            return Origin(commit, reference.rsplit("/", 1)[-1], digest)
    raise UserError(
        f"no commit and no experiment has this {lock}, so the submission could not be traced to what made it: "
        "commit it (`git add -A && git commit`), or keep it as an experiment (`dvc exp save`)"
    )


def require_committed(commit: str, path: Path) -> None:
    """Raises UserError unless a file is equal to the one in the commit."""
    if not _has(commit, path):
        raise UserError(
            f"{path} is not the one in commit {commit[:12]}, which has this dvc.lock; commit both together "
            "(`git add -A && git commit`)"
        )


def require_kept(path: str, md5: str) -> None:
    """Raises UserError unless a commit or an experiment says where a file or folder with this MD5 comes from.

    It does so if a stage of its dvc.lock has written it, or if it has a file of `dvc add` with this MD5.
    """
    if _git("log", "--all", f"-S{md5}", "--max-count=1", "--format=%H", "--", "*.dvc"):
        return
    commits = _git("log", "--all", f"-S{md5}", "--format=%H", "--", paths.LOCK.as_posix()).split()
    if not any(md5 in _written(commit) for commit in commits):
        raise UserError(
            f"{path}, on which the models were trained, is the output of no commit and no experiment, so the "
            f"submission could not be traced to what made it: `dvc add {path}`, and commit {path}.dvc"
        )


def _written(commit: str) -> set[str]:
    """Returns the MD5s of all outputs that a commit's dvc.lock records; none if it has no dvc.lock."""
    if _blob(commit, paths.LOCK) is None:
        return set()
    with reading(f"{paths.LOCK} of commit {commit[:12]}", "is not what DVC writes", "commit it again"):
        stages = lockfile.parse(_git("show", f"{commit}:./{paths.LOCK.as_posix()}"))
    return {md5 for stage in stages.values() for md5 in stage.outs.values()}


def read_yaml(commit: str, path: Path) -> dict[str, Any]:
    """Returns the content of a YAML file in the commit, parsed as DVC does."""
    where = f"{path} of commit {commit[:12]}"
    if _blob(commit, path) is None:
        raise UserError(f"{where} is missing; commit it together with dvc.lock (`git add -A && git commit`)")
    return parse_yaml(_git("show", f"{commit}:./{path.as_posix()}"), where)


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """Returns the mapping that a YAML text is. Raises UserError if it is something else; `where` names it."""
    with reading(where, "is not YAML", "correct it"):
        content = yaml12.parse(text)
        # The record of submissions keeps it as JSON; YAML can also have lists as keys.
        json.dumps(content, default=str, sort_keys=True)
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise UserError(f"{where} is not a YAML mapping of keys to values")
    return content


def _has(commit: str, path: Path) -> bool:
    blob = _blob(commit, path)
    return blob is not None and path.exists() and blob == _git("hash-object", path.as_posix())


def _blob(commit: str, path: Path) -> str | None:
    """Returns the hash of a file in the commit; None if it is missing there, or if HEAD has no commit yet."""
    result = _run("rev-parse", "--verify", "--quiet", f"{commit}:./{path.as_posix()}")
    # With --quiet, git exits with 1 and prints nothing if there is no such file.
    if result.returncode == 1 and not result.stderr.strip():
        return None
    return _output(result)


def _git(*arguments: str) -> str:
    return _output(_run(*arguments))


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["git", *arguments]
    try:
        return subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603
    except FileNotFoundError:
        raise UserError("git is not installed; it is needed to trace a submission to its commit") from None


def _output(result: subprocess.CompletedProcess[str]) -> str:
    if result.returncode:
        reason = (result.stderr.strip() or f"exit status {result.returncode}").splitlines()[0]
        raise UserError(
            f"git failed ({reason}), so the submission cannot be traced to its commit; `git status` says more"
        )
    return result.stdout.strip()
