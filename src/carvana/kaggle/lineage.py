"""Whether a submission and its Dice are those of the models, parameters and code that are here, by DVC's own word.

DVC can run a part of the pipeline (`dvc repro encode`), so dvc.lock may record new models beside an old submission.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from carvana.base import lockfile, params, paths
from carvana.base.errors import UserError, reading, some
from carvana.base.lockfile import Recorded
from carvana.kaggle import provenance

_MODELS = paths.MODELS.as_posix()


def require_up_to_date(packed: Path) -> None:
    """Raises UserError unless `dvc status` finds `encode`, `evaluate` and all stages before them up to date.

    `packed` is a copy of data/submission.csv.gz. Other data may be missing, because another machine may have pulled the
    submission alone; then dvc.lock must have it as the output of an earlier stage, or a commit must have kept it.
    """
    recorded, status = lockfile.read(paths.LOCK), _status()
    if unrecorded := sorted(status.keys() - recorded):
        raise UserError(f"{paths.LOCK} does not record {some(unrecorded)}; `dvc repro` runs what is out of date")
    used = {name: recorded[name] for name in sorted(status)}
    written = {path: {md5} for stage in used.values() for path, md5 in stage.outs.items()}
    sent = {paths.SUBMISSION: paths.SUBMISSION, paths.SUBMISSION_GZIP: packed, paths.EVALUATION: paths.EVALUATION}
    for output, file in sent.items():
        if not file.exists() or written.get(output.as_posix()) != {lockfile.md5_of(file)}:
            raise UserError(f"{output} is missing or not the one that {paths.LOCK} records; `dvc repro` makes it")
    train = params.load(paths.PARAMS).train
    taught = (train.teacher, Path(train.pseudo_photos)) if train.teacher else ()
    read_by_label = used["label"].deps.items()
    brought = {path: md5 for path, md5 in read_by_label if Path(path) in taught and path not in written}
    written |= {path: {md5} for path, md5 in brought.items()}
    # A fold that is no longer in use may have left its model there, and has left its stage in dvc.lock.
    written[_MODELS] = {_folder_of_models(used), _folder_of_models(recorded)}
    changes = [change for name in used for change in _changes(name, used[name], status[name], written)]
    if changes:
        raise UserError(
            f"the submission is out of date by `dvc status`: {some(changes)}; restore what it was made by, or run "
            "`dvc repro` and commit"
        )
    for path, md5 in brought.items():
        provenance.require_kept(path, md5)


def _status() -> dict[str, list[Any]]:
    """Returns what DVC finds of every stage up to `encode` and `evaluate`, by the stage's name.

    That is `changed command`, or the state of each dependency or output by its path: `modified`, `deleted`, `new`, …
    """
    from dvc.repo import Repo  # noqa: PLC0415 - DVC takes a second

    with reading("`dvc status`", "fails", "so it is not known whether the submission is up to date"), Repo() as repo:
        stages = [stage for name in ("encode", "evaluate") for stage in repo.stage.collect(name, with_deps=True)]
        # A file of `dvc add` is no stage of dvc.lock; the stage that reads its data compares it.
        stages = [stage for stage in stages if stage.cmd]
        if frozen := [stage.addressing for stage in stages if stage.frozen]:
            raise UserError(f"{some(frozen)} is frozen, and DVC does not compare it; `dvc unfreeze {frozen[0]}`")
        status = repo.status(["encode", "evaluate"], with_deps=True)
        return {stage.addressing: status.get(stage.addressing, []) for stage in stages}


def _changes(name: str, stage: Recorded, found: list[Any], written: dict[str, set[str]]) -> Iterator[str]:
    """Yields what DVC found of a stage, but for missing data and unused folds; `written` has each path's MD5s."""
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


def _folder_of_models(stages: dict[str, Recorded]) -> str:
    """Returns the MD5 of the folder of models, if only these stages have written there."""
    outs = {Path(path): md5 for stage in stages.values() for path, md5 in stage.outs.items()}
    return lockfile.md5_of_folder({path.name: md5 for path, md5 in outs.items() if path.parent == paths.MODELS})
