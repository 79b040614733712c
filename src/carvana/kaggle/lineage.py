"""Whether a submission and its Dice are those of the models, parameters and code that are here, by DVC's own word.

DVC can run a part of the pipeline (`dvc repro encode`), so dvc.lock may record new models beside an old submission.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carvana.base import definition, lockfile, params, paths
from carvana.base.errors import UserError, some
from carvana.base.lockfile import Recorded

Stages = dict[str, Recorded]

_MODELS = paths.MODELS.as_posix()


def in_use(recorded: Stages) -> Stages:
    """Returns the stages of dvc.lock that dvc.yaml defines for train.folds; DVC never removes the others from it."""
    defined = definition.read_yaml(paths.PIPELINE)["stages"]
    folds = {"", *map(str, params.load(paths.PARAMS).train.folds)}
    split = {name: name.partition("@") for name in recorded}
    return {name: recorded[name] for name, (stage, _, fold) in split.items() if stage in defined and fold in folds}


def brought(stages: Stages) -> dict[str, str]:
    """Returns the MD5s of pseudo-labels and their photos that no stage has written, by path: of another experiment."""
    label = stages.get("label")
    if label is None or label.params.get("train.pseudo_labels", "none") == "none":
        return {}
    inputs = (f"{paths.TEACHERS}/{label.params['train.pseudo_labels']}", str(label.params.get("train.pseudo_photos")))
    return {path: label.deps[path] for path in inputs if path in label.deps.keys() - _outputs(stages)}


def require_clean(stages: Stages, recorded: Stages) -> None:
    """Raises UserError unless `dvc status` finds `encode`, `evaluate` and all stages before them up to date.

    Data may be missing, because another machine may have pulled the submission alone; then dvc.lock must have it as the
    output of an earlier stage. `stages` are those in use, `recorded` is all of dvc.lock.
    """
    pipeline = definition.read_yaml(paths.PIPELINE)["stages"]
    if frozen := [name for name in stages if pipeline[name.partition("@")[0]].get("frozen")]:
        raise UserError(
            f"{some(frozen)} is frozen in {paths.PIPELINE}, and DVC does not say whether a frozen stage is up to date; "
            f"`dvc unfreeze {frozen[0]}`"
        )
    status = _status("encode", "evaluate")
    # A file of `dvc add` is no stage of dvc.lock; the stage that reads its data compares it.
    unrecorded = sorted(name for name in status.keys() - stages if not name.endswith(".dvc"))
    if unrecorded:
        raise UserError(f"{paths.LOCK} does not record {some(unrecorded)}; `dvc repro` runs what is out of date")
    written = {path: {md5} for path, md5 in (_outputs(stages) | brought(stages)).items()}
    written[_MODELS] = _folders_of_models(stages, recorded)
    changes: list[str] = []
    for name in sorted(status.keys() & stages):
        changes += _changes(name, stages[name], status[name], written)
    if changes:
        raise UserError(
            f"the submission is out of date by `dvc status`: {some(changes)}; restore what it was made by, or run "
            "`dvc repro` and commit"
        )


def require_file(stages: Stages, stage: str, path: Path, file: Path | None = None) -> None:
    """Raises UserError unless a stage has written `path`, or its copy `file` if given, as it is now."""
    file = file or path
    if not file.exists():
        raise UserError(f"{path} is missing; `dvc repro` makes it")
    if stage not in stages or stages[stage].outs.get(path.as_posix()) != lockfile.md5_of(file):
        raise UserError(f"{path} differs from {paths.LOCK}; `dvc repro` runs what is out of date")


def _status(*stages: str) -> dict[str, list[Any]]:
    """Returns what DVC finds of these stages and all before them, by the stage's name.

    That is `changed command`, or the state of each dependency or output by its path: `modified`, `deleted`, `new`, …
    """
    command = [sys.executable, "-m", "dvc", "status", "--json", "--with-deps", *stages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        reason = " ".join(done.stderr.split()).removeprefix("ERROR: ")[:300]
        raise UserError(f"`dvc status` fails ({reason}), so it is not known whether the submission is up to date")
    return dict(json.loads(done.stdout))


def _changes(name: str, stage: Recorded, found: list[Any], written: dict[str, set[str]]) -> Iterator[str]:
    """Yields what DVC has found of a stage, but for missing data and models of folds that are not in use.

    `written` are the MD5s that a dependency may have, by its path.
    """
    for entry in found:
        if isinstance(entry, str):
            yield f"{name}: {entry}"
            continue
        for path, state in entry.get("changed deps", {}).items():
            if isinstance(state, dict):
                yield from (f"{name} was run with another value of {key}" for key in state)
            elif not (state == "deleted" or path == _MODELS) or stage.deps.get(path) not in written.get(path, ()):
                yield f"{name} was run with other contents of {path}"
        for path in entry.get("changed outs", {}):
            # DVC does not compare an output that its cache lacks.
            if Path(path).exists() and stage.outs.get(path) != lockfile.md5_of(Path(path)):
                yield f"{path} is not what {name} wrote"


def _folders_of_models(stages: Stages, recorded: Stages) -> set[str]:
    """Returns the MD5s that the folder of models may have had.

    A fold that is no longer in use may have left its model there, and has left its stage in dvc.lock.
    """
    models, earlier = (
        {Path(path).name: md5 for path, md5 in _outputs(each).items() if Path(path).parent == paths.MODELS}
        for each in (stages, recorded)
    )
    return {lockfile.md5_of_folder(models), lockfile.md5_of_folder(earlier | models)}


def _outputs(stages: Stages) -> dict[str, str]:
    return {path: md5 for stage in stages.values() for path, md5 in stage.outs.items()}
