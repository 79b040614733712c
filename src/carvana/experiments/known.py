"""The experiments that DVC knows: the workspace, branches, and what `dvc exp run` has made, waits for or failed at."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from dvc.exceptions import DvcException, NotDvcRepoError
from dvc.repo import Repo
from dvc.repo.experiments.collect import collect_rev
from dvc.repo.experiments.serialize import ExpState
from dvc.repo.experiments.utils import exp_refs
from dvc.scm import NoSCM, SCMError, resolve_rev

from carvana.base import lockfile, paths
from carvana.base.errors import UserError, first_line, near
from carvana.base.params import leaves
from carvana.base.speed import Speed

WORKSPACE = "workspace"
# An edited workspace has parameters that its results were not made with.
DONE, EDITED, QUEUED, RUNNING, FAILED = "done", "edited", "queued", "running", "failed"
_STATES = {"Queued": QUEUED, "Running": RUNNING, "Failed": FAILED}


@dataclass(frozen=True)
class Experiment:
    """An experiment, a branch's last commit, or the workspace.

    `base` is the commit that it is compared with: the one that an experiment started from, HEAD for other branches and
    for the workspace, None for HEAD. `created` is None for the workspace. `params` are by their dotted names, `metrics`
    the content of metrics/evaluate.json, and `files` the place of every output in DVC's cache, whether or not it is
    there.
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

    def prediction_speed(self) -> Speed | None:
        """Returns the record of its prediction's speed, None if there is none."""
        return self._speed(paths.PREDICTION_SPEED)

    def training_seconds(self) -> float | None:
        """Returns the seconds that all its trainings took, None if a record is missing."""
        speeds = [self._speed(paths.training_speed(fold)) for fold in self.params.get("train.folds") or ()]
        known = [speed.seconds for speed in speeds if speed]
        return sum(known) if known and len(known) == len(speeds) else None

    def _speed(self, path: Path) -> Speed | None:
        with contextlib.suppress(UserError):
            return Speed.parse(self.file(path).read_text(encoding="utf-8"), f"{path} of {self.name}")
        return None


def different(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Returns the parameters of `other` that differ from those of `one`; None for those that only `one` has."""
    names = [*other, *(name for name in one if name not in other)]
    return {name: other.get(name) for name in names if name not in one or one[name] != other.get(name)}


def everything() -> list[Experiment]:
    """Returns the workspace first, then every branch and every experiment, whatever commit it started from.

    Raises UserError outside of a repository of git and DVC.
    """
    with _repository() as repo:
        if repo.scm.no_commits:
            return []
        queue = repo.experiments.celery_queue
        waiting = [entry.baseline_rev for entry in queue.iter_queued()]
        failed = [done.entry.baseline_rev for done in queue.iter_failed()]
        bases = [repo.scm.get_rev(), *(each.baseline_sha for each in exp_refs(repo.scm)), *waiting, *failed]
        states = repo.experiments.show(revs=list(dict.fromkeys(bases)), all_branches=True)
        workspace, *commits = states
        head_state = next(state for state in commits if state.rev == repo.scm.get_rev())
        head = _experiment(repo, head_state)
        here = _experiment(repo, workspace, head)
        found = [here if _is_run(here) else replace(here, state=EDITED)]
        for state in commits:
            base = head if state is head_state else _experiment(repo, state, head)
            found.append(base)
            for each in state.experiments or []:
                executor = each.executor.state.capitalize() if each.executor else ""
                found.append(_experiment(repo, each.revs[0], base, _STATES.get(executor, DONE)))
        return found


def one(name: str) -> Experiment:
    """Returns an experiment, a branch or a commit by its name, or `workspace`. Raises UserError if there is none."""
    with _repository() as repo:
        try:
            commit = WORKSPACE if name == WORKSPACE else resolve_rev(repo.scm, name)
        except (SCMError, DvcException):
            known = [WORKSPACE, *repo.scm.list_branches(), *(each.name for each in exp_refs(repo.scm) if each.name)]
            raise UserError(
                f"{name} is neither an experiment nor a branch or a commit"
                f"{near(name, known, 3) or '; `make experiments` lists them'}"
            ) from None
        state = collect_rev(repo, commit)
        if state.error or not state.data:
            raise UserError(f"{name} cannot be read ({state.error.msg if state.error else 'it is empty'})")
        state.name = name
        return _experiment(repo, state)


@contextlib.contextmanager
def _repository() -> Iterator[Repo]:
    try:
        repo = Repo()
    except NotDvcRepoError:
        raise UserError("this folder is no clone of the repository: DVC does not know it") from None
    with repo:
        if isinstance(repo.scm, NoSCM):
            raise UserError("there is no git here, in which DVC keeps experiments: clone the repository")
        try:
            yield repo
        except (DvcException, SCMError) as error:
            raise UserError(f"DVC cannot list the experiments ({first_line(error)})") from error


def _is_run(workspace: Experiment) -> bool:
    """Returns whether dvc.lock records the workspace's parameters; stages of other folds stay in it forever."""
    if not paths.LOCK.exists():
        return True
    folds = {str(fold) for fold in workspace.params.get("train.folds") or ()}
    recorded = lockfile.read(paths.LOCK).items()
    used = [stage for name, stage in recorded if "@" not in name or name.partition("@")[2] in folds]
    return all(workspace.params.get(name) == value for stage in used for name, value in stage.params.items())


def _experiment(repo: Repo, state: ExpState, base: Experiment | None = None, progress: str = DONE) -> Experiment:
    data = state.data
    commit = "" if state.rev == WORKSPACE else state.rev
    name = state.name or commit[:7] or WORKSPACE
    if data is None:
        return Experiment(name, commit, base, progress)
    return Experiment(
        name,
        commit,
        base,
        progress,
        data.timestamp if commit else None,
        leaves(_content(data.params, paths.PARAMS)),
        _content(data.metrics, paths.EVALUATION),
        {
            path: Path(repo.cache.local.oid_to_path(out.hash))
            for path, out in data.outs.items()
            if out.hash and out.use_cache
        },
    )


def _content(files: dict[str, Any], path: Path) -> dict[str, Any]:
    """Returns the content of a file of parameters or metrics; nothing if DVC could not read it."""
    content = files.get(path.as_posix(), {}).get("data")
    return content if isinstance(content, dict) else {}
