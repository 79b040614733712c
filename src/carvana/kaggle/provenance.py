"""The commit or the experiment that a submission comes from, and what that commit has."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carvana.base import git, lockfile, params, paths, yaml12
from carvana.base.errors import UserError, reading, some


@dataclass(frozen=True)
class Origin:
    """The commit that has this dvc.lock, its experiment or branch, and the SHA-256 of dvc.lock."""

    commit: str
    name: str
    lock: str


def find(lock: Path) -> Origin:
    """Returns the commit that has `lock` as it is now: HEAD, or an experiment. Raises UserError if there is none."""
    lockfile.read(lock)
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if has("HEAD", lock):
        return Origin(git.output("rev-parse", "HEAD"), git.output("rev-parse", "--abbrev-ref", "HEAD"), digest)
    for commit, name in git.experiments():
        if has(commit, lock):
            return Origin(commit, name, digest)
    raise UserError(
        f"no commit and no experiment has this {lock}, so the submission could not be traced to what made it: "
        "commit it (`git add -A && git commit`), or keep it as an experiment (`dvc exp save`)"
    )


def has(commit: str, path: Path) -> bool:
    """Returns whether a commit has a file as it is now. Raises UserError if git fails."""
    return path.exists() and git.read(commit, path) == path.read_text(encoding="utf-8", errors="replace")


def read_params(commit: str) -> dict[str, Any]:
    """Returns the commit's params.yaml. Raises UserError if the workspace's differs, `runtime` aside."""
    text = git.read(commit, paths.PARAMS) or ""
    both = params.load(paths.PARAMS), params.parse(text, f"{paths.PARAMS} of commit {commit[:12]}")
    here, there = (params.leaves(each.model_dump(exclude={"runtime"})) for each in both)
    if wrong := [name for name, value in here.items() if there[name] != value]:
        raise UserError(
            f"{paths.PARAMS} differs from commit {commit[:12]}, which made the submission, in {some(wrong)}; "
            "set these back, or run `dvc repro` and commit for a submission with the new values"
        )
    return dict(yaml12.parse(text))


def require_kept(path: str, md5: str) -> None:
    """Raises UserError unless a commit or an experiment says where a file or folder with this MD5 comes from.

    It does so if a stage of its dvc.lock has written it, or if it has a file of `dvc add` with this MD5.
    """
    if git.output("log", "--all", f"-S{md5}", "--max-count=1", "--format=%H", "--", "*.dvc"):
        return
    commits = git.output("log", "--all", f"-S{md5}", "--format=%H", "--", paths.LOCK.as_posix()).split()
    if not any(md5 in _written(commit) for commit in commits):
        raise UserError(
            f"{path}, on which the models were trained, is the output of no commit and no experiment, so the "
            f"submission could not be traced to what made it: `dvc add {path}`, and commit {path}.dvc"
        )


def _written(commit: str) -> set[str]:
    """Returns the MD5s of all outputs that a commit's dvc.lock records; none if it has no dvc.lock."""
    with reading(f"{paths.LOCK} of commit {commit[:12]}", "is not what DVC writes", "commit it again"):
        stages = lockfile.parse(git.read(commit, paths.LOCK) or "stages: {}")
        return {md5 for stage in stages.values() for md5 in stage.outs.values()}
