"""Which commit and which experiment a submission comes from."""

import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path

import yaml

from carvana.errors import UserError


@dataclass(frozen=True)
class Origin:
    """The commit that has this dvc.lock, the experiment or the branch that it is, and a SHA-256 of dvc.lock."""

    commit: str
    name: str
    lock: str


def find(lock: Path) -> Origin:
    """The commit that `lock` stands in: HEAD, or an experiment of DVC.

    dvc.lock names the bytes of all data, the code and the parameters, so that who has the commit has all of them.
    Raises UserError where no commit has it.
    """
    if not lock.exists():
        raise UserError(f"{lock} is missing; `dvc repro` makes it")
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    now = _git("hash-object", str(lock))
    if _blob("HEAD", lock) == now:
        return Origin(_git("rev-parse", "HEAD"), _git("rev-parse", "--abbrev-ref", "HEAD"), digest)
    # DVC keeps experiments as refs/exps/<the commit that they began at, in two parts>/<name>.
    for line in _git("for-each-ref", "--sort=-creatordate", "--format=%(objectname) %(refname)", "refs/exps").split(
        "\n"
    ):
        commit, _, reference = line.partition(" ")
        if commit and reference.count("/") == 4 and _blob(commit, lock) == now:
            return Origin(commit, reference.rsplit("/", 1)[-1], digest)
    raise UserError(
        f"no commit and no experiment has this {lock}, so that nobody could find again what made the submission: "
        "commit it (`git add -A && git commit`), or keep it as an experiment (`dvc exp save`)"
    )


def require_result(lock: Path, stage: str, files: list[Path]) -> None:
    """Raises UserError unless the files are what `lock` has as a stage's outputs."""
    outputs = yaml.safe_load(lock.read_text(encoding="utf-8"))["stages"].get(stage, {}).get("outs", [])
    known = {output["path"]: output["md5"] for output in outputs}
    for path in files:
        if not path.exists():
            raise UserError(f"{path} is missing; `dvc repro` makes it")
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
        if known.get(path.as_posix()) != digest:
            raise UserError(f"{path} is not what {lock} has; `dvc repro` brings them together")


def _blob(commit: str, path: Path) -> str:
    return _git("rev-parse", "--verify", "--quiet", f"{commit}:./{path.as_posix()}")


def _git(*arguments: str) -> str:
    """What git prints; nothing where it fails."""
    try:
        result = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)  # noqa: S603, S607
    except FileNotFoundError:
        raise UserError("git is not installed; a submission is traced to its commit by it") from None
    return result.stdout.strip()
