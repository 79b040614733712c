"""Whether the submission, its Dice and its parameters in dvc.lock belong to the same models.

DVC can run a part of the pipeline (`dvc repro encode`), so dvc.lock may record new models beside an old submission.
"""

from pathlib import Path
from typing import Any

from carvana.base import lockfile, paths
from carvana.base.errors import UserError, some
from carvana.base.lockfile import Recorded
from carvana.base.params import leaves

Stages = dict[str, Recorded]

_REPRO = "`dvc repro` runs what is out of date"
_MISSING = object()
_MODEL_STAGES = ("train",)  # one for each of train.folds


def current(recorded: Stages, defined: set[str]) -> Stages:
    """Returns the recorded stages that are in use; DVC never removes the others from dvc.lock.

    Stages in use are those that dvc.yaml defines and, for training, one for each of train.folds.
    Raises UserError if one that every submission needs is missing.
    """
    needed = ["evaluate", "predict", "encode"]
    _require(recorded, needed)
    folds = recorded["predict"].params.get("train.folds")
    if not isinstance(folds, list):
        raise UserError(f"{paths.LOCK} does not record train.folds for predict; {_REPRO}")
    _require(recorded, of_folds := [f"{stage}@{fold}" for stage in _MODEL_STAGES for fold in folds])
    names = (defined & recorded.keys()) | set(needed) | set(of_folds)
    return {name: recorded[name] for name in sorted(names)}


def require_connected(stages: Stages, recorded: Stages) -> None:
    """Raises UserError unless every stage has read what the earlier stages have written, `brought` aside.

    `recorded` is all of dvc.lock.
    """
    outs = _outputs(stages)
    exempt = brought(stages)
    for name, stage in stages.items():
        for path, md5 in stage.deps.items():
            # A dependency is an output, a folder of outputs (models), or a file in the repository.
            if path in outs:
                same = outs[path] == md5
            elif inside := _inside(path, outs):
                same = _is_folder_of(path, md5, inside, recorded)
            elif path in exempt:
                continue
            elif Path(path).parts[0] in ("data", "models", "metrics"):
                raise UserError(f"{paths.LOCK}: {name} depends on {path}, which no stage has written; {_REPRO}")
            else:
                continue
            if not same:
                producers = [each for each, other in stages.items() if path in other.outs or _inside(path, other.outs)]
                raise UserError(
                    f"{paths.LOCK}: {name} was run with other contents of {path} than {some(producers)} wrote; {_REPRO}"
                )


def brought(stages: Stages) -> dict[str, str]:
    """Returns the MD5s of pseudo-labels and their photos that no stage has written, by path: of another experiment."""
    label = stages.get("label")
    wanted = {} if label is None else label.params
    if wanted.get("train.pseudo_labels", "none") == "none":
        return {}
    inputs = (f"{paths.TEACHERS}/{wanted['train.pseudo_labels']}", str(wanted.get("train.pseudo_photos")))
    return {
        path: stages["label"].deps[path] for path in inputs if path in stages["label"].deps.keys() - _outputs(stages)
    }


def require_params(stages: Stages, params: dict[str, Any], commit: str) -> None:
    """Raises UserError unless the stages were run with the parameters that the commit has."""
    wrong = {
        name
        for stage in stages.values()
        for name, value in stage.params.items()
        if not _is_runtime(name) and _value(params, name) != value
    }
    if wrong:
        raise UserError(
            f"{paths.LOCK} was made with other parameters than {paths.PARAMS} of commit {commit[:12]} has: "
            f"{some(sorted(wrong))}; commit {paths.PARAMS} and {paths.LOCK} of the same run together"
        )


def require_same_params(workspace: dict[str, Any], params: dict[str, Any], commit: str) -> None:
    """Raises UserError if a parameter in the workspace, runtime aside, differs from the commit's."""
    here, there = leaves(workspace), leaves(params)
    wrong = [
        name
        for name in sorted(here.keys() | there.keys())
        if not _is_runtime(name) and here.get(name, _MISSING) != there.get(name, _MISSING)
    ]
    if wrong:
        raise UserError(
            f"{paths.PARAMS} differs from commit {commit[:12]}, which made the submission, in {some(wrong)}; "
            "set these back, or run `dvc repro` and commit for a submission with the new values"
        )


def require_file(stages: Stages, stage: str, path: Path, file: Path | None = None) -> None:
    """Raises UserError unless a stage has written `path`, or its copy `file` if given, as it is now."""
    file = file or path
    if not file.exists():
        raise UserError(f"{path} is missing; `dvc repro` makes it")
    if stages[stage].outs.get(path.as_posix()) != lockfile.md5_of(file):
        raise UserError(f"{path} differs from {paths.LOCK}; {_REPRO}")


def require_models(stages: Stages) -> None:
    """Raises UserError if models or predictions on the disk differ from dvc.lock; they may be missing."""
    for name, stage in stages.items():
        if name == "predict" or name.partition("@")[0] in _MODEL_STAGES:
            for path in map(Path, stage.outs):
                if path.exists():
                    require_file(stages, name, path)


def _outputs(stages: Stages) -> dict[str, str]:
    return {path: md5 for stage in stages.values() for path, md5 in stage.outs.items()}


def _require(recorded: Stages, names: list[str]) -> None:
    missing = [name for name in names if name not in recorded]
    if missing:
        raise UserError(f"{paths.LOCK} does not record {some(missing)}; {_REPRO}")


def _is_folder_of(path: str, md5: str, files: dict[str, str], recorded: Stages) -> bool:
    """Returns whether a folder with that MD5 has these files and no others than those of earlier runs."""
    if md5 == lockfile.md5_of_folder(files):
        return True
    # A fold that is no longer in train.folds leaves its model in the folder, and its stage in dvc.lock.
    on_disk = lockfile.md5s_in(Path(path)) if Path(path).is_dir() else {}
    earlier = {name: each for stage in recorded.values() for name, each in _inside(path, stage.outs).items()}
    return md5 in (lockfile.md5_of_folder(on_disk | files), lockfile.md5_of_folder(earlier | files))


def _inside(folder: str, files: dict[str, str]) -> dict[str, str]:
    """Returns those of the files that are in the folder, by their paths relative to it."""
    return {name.removeprefix(f"{folder}/"): md5 for name, md5 in files.items() if name.startswith(f"{folder}/")}


def _is_runtime(name: str) -> bool:
    """Returns whether a parameter affects speed only."""
    return name.partition(".")[0] == "runtime"


def _value(params: dict[str, Any], name: str) -> Any:
    value: Any = params
    for key in name.split("."):
        if not isinstance(value, dict) or key not in value:
            return _MISSING
        value = value[key]
    return value
