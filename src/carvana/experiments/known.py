"""The experiments that DVC knows: the workspace, branches, and what `dvc exp run` has made, waits for or failed at."""

import contextlib
import functools
import json
import re
import subprocess
import sys
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from carvana.base import git, lockfile, paths
from carvana.base.errors import UserError, near
from carvana.base.params import leaves
from carvana.base.speed import Speed

WORKSPACE = "workspace"
MISSING = "–"  # on a page, for what is not known
# An edited workspace has parameters that its results were not made with.
DONE, EDITED = "done", "edited"
UNFINISHED = ("queued", "running", "failed")  # as DVC calls them


@dataclass(frozen=True)
class Experiment:
    """An experiment, a branch's last commit, or the workspace.

    `base` is the commit that it is compared with: the one that an experiment started from, HEAD for other branches and
    for the workspace, None for HEAD. `state` is DONE, EDITED or one of UNFINISHED. `created` is None for the workspace.
    `params` are by their dotted names, `metrics` the content of metrics/evaluate.json, and `files` the place of every
    output in DVC's cache, whether or not it is there.
    """

    name: str
    commit: str
    base: "Experiment | None" = None
    state: str = DONE
    created: datetime | None = None
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)

    @property
    def changed(self) -> dict[str, Any]:
        """The parameters that differ from those of `base`; None for those that only the base has."""
        return different(self.base.params, self.params) if self.base else {}

    def has_results_of(self, other: "Experiment") -> bool:
        """Returns whether both have the same parameters and outputs."""
        return self.params == other.params and self.files == other.files

    def file(self, path: Path) -> Path:
        """Returns where an output lies in DVC's cache. Raises UserError if it is not there."""
        found = self.files.get(path.as_posix())
        if found is None:
            raise UserError(f"{self.name} has no {path}: it was never run as a whole, or by an older version")
        if not found.exists():
            raise UserError(
                f"{path} of {self.name} is not in DVC's cache: pull it (`dvc exp pull`, `dvc pull`), or run it again"
            )
        return found

    def dice(self, role: str, which: str = "dice") -> float | None:
        """Returns its Dice on the cars of a role, the mean or `dice_worst`; None if it has none."""
        return (self.metrics.get(role) or {}).get(which)

    @property
    def photos_per_second(self) -> float | None:
        """The speed of its prediction; None if it is not known."""
        return self.prediction.photos_per_second or None if self.prediction else None

    @property
    def machine(self) -> str:
        """What its prediction was computed by."""
        speed = self.prediction
        return f"{speed.engine} on {speed.processor}, {speed.precision}" if speed else MISSING

    @property
    def training_seconds(self) -> float | None:
        """The seconds that all its trainings took, None if a record is missing."""
        return sum(speed.seconds for speed in self.trainings) or None

    @functools.cached_property
    def trainings(self) -> list[Speed]:
        """The records of all its trainings; none if one is missing."""
        with contextlib.suppress(UserError):
            return [self._speed(paths.training_speed(fold)) for fold in self.params.get("train.folds") or ()]
        return []

    @functools.cached_property
    def prediction(self) -> Speed | None:
        """The record of its prediction; None if it is missing."""
        with contextlib.suppress(UserError):
            return self._speed(paths.PREDICTION_SPEED)
        return None

    def _speed(self, path: Path) -> Speed:
        return Speed.parse(self.file(path).read_text(encoding="utf-8"), f"{path} of {self.name}")


def different(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Returns the parameters of `other` that differ from those of `one`; None for those that only `one` has."""
    names = [*other, *(name for name in one if name not in other)]
    return {name: other.get(name) for name in names if name not in one or one[name] != other.get(name)}


def everything() -> list[Experiment]:
    """Returns the workspace first, then every branch and every experiment, whatever commit it started from.

    There is nothing before the first commit. Raises UserError outside of a repository of git and DVC.
    """
    refs = _refs()
    if not refs:
        return []
    started_from = {first + rest for first, rest in re.findall("^refs/exps/(..)/(.{38})/", refs, re.MULTILINE)}
    # What waits or has failed is a stash, whose first parent is the commit that it started from.
    for queue in re.findall("^refs/exps/celery/.*", refs, re.MULTILINE):
        started_from |= {parents.split()[0] for parents in git.output("log", "-g", "--format=%P", queue).splitlines()}
    workspace, *commits = _show("--all-branches", "--rev=HEAD", *(f"--rev={commit}" for commit in started_from))
    head_commit = git.output("rev-parse", "HEAD")
    head = next(_experiment(each) for each in commits if each["rev"] == head_commit)
    here = _experiment(workspace, head)
    found = [here if _is_run(here) else replace(here, state=EDITED)]
    for commit in commits:
        base = head if commit["rev"] == head_commit else _experiment(commit, head)
        found.append(base)
        for each in commit["experiments"] or []:
            state = (each["executor"] or {}).get("state")
            found.append(replace(_experiment(each["revs"][0], base), state=state if state in UNFINISHED else DONE))
    return found


def one(name: str) -> Experiment:
    """Returns an experiment, a branch or a commit by its name, or `workspace`. Raises UserError if there is none."""
    try:
        workspace, commit = _show(f"--rev={'HEAD' if name == WORKSPACE else name}")
    except UserError as error:
        if "unknown Git revision" not in str(error):
            raise
        names = re.findall("^refs/(?:heads|exps/../.{38})/(.*)", _refs(), re.MULTILINE)
        advice = near(name, [WORKSPACE, *names], 3) or "; `make experiments` lists them"
        raise UserError(f"{name} is neither an experiment nor a branch or a commit{advice}") from None
    found = workspace if name == WORKSPACE else commit
    if not found["data"]:
        raise UserError(f"{name} cannot be read ({(found['error'] or {}).get('msg', 'it is empty')})")
    return replace(_experiment(found), name=name)


def _is_run(workspace: Experiment) -> bool:
    """Returns whether dvc.lock records the workspace's parameters; stages of other folds stay in it forever."""
    if not paths.LOCK.exists():
        return True
    folds = {str(fold) for fold in workspace.params.get("train.folds") or ()}
    recorded = lockfile.read(paths.LOCK).items()
    used = [stage for name, stage in recorded if "@" not in name or name.partition("@")[2] in folds]
    return all(workspace.params.get(name) == value for stage in used for name, value in stage.params.items())


def _experiment(shown: dict[str, Any], base: Experiment | None = None) -> Experiment:
    """Returns an experiment of what DVC shows of it."""
    commit = "" if shown["rev"] == WORKSPACE else shown["rev"]
    data = shown["data"] or {}
    outs = {path: out["hash"] for path, out in data.get("outs", {}).items() if out["hash"] and out["use_cache"]}
    cache = _cache(Path.cwd())
    return Experiment(
        name=shown["name"] or commit[:7] or WORKSPACE,
        commit=commit,
        base=base,
        created=datetime.fromisoformat(data["timestamp"]) if data.get("timestamp") and commit else None,
        params=leaves(_content(data.get("params", {}), paths.PARAMS)),
        metrics=_content(data.get("metrics", {}), paths.EVALUATION),
        files={path: cache / md5[:2] / md5[2:] for path, md5 in outs.items()},
    )


def _content(files: dict[str, Any], path: Path) -> dict[str, Any]:
    """Returns the content of a file of parameters or metrics; nothing if DVC could not read it."""
    content = files.get(path.as_posix(), {}).get("data")
    return content if isinstance(content, dict) else {}


def _show(*options: str) -> list[dict[str, Any]]:
    """Returns what DVC shows of the workspace and of some commits with their experiments."""
    shown: list[dict[str, Any]] = json.loads(_dvc("exp", "show", "--json", *options))
    return shown


@functools.cache
def _cache(_repository: Path) -> Path:
    """Returns the folder of DVC's cache with its files by MD5; DVC takes half a second to say which it is."""
    return Path(_dvc("cache", "dir").strip()) / "files" / "md5"


def _refs() -> str:
    """Returns the names of all refs of git, a line each; those of experiments are refs/exps/9d/0e0584…/name."""
    return git.output("for-each-ref", "--format=%(refname)")


def _dvc(*words: str) -> str:
    """Returns what a DVC command prints. Raises UserError with DVC's own words if it fails."""
    command = [sys.executable, "-m", "dvc", *words]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)  # noqa: S603
    if done.returncode:
        reason = done.stderr.rpartition("ERROR: ")[2].strip().partition("\n")[0]
        raise UserError(f"DVC cannot list the experiments ({reason}); `dvc exp show` says more")
    return done.stdout
