"""Run lists of every test photo into data/predictions: `python -m stages.predict`."""

import sys
from pathlib import Path

from carvana import distributed, params, paths, resume
from carvana.archive import Archive
from carvana.errors import UserError, some
from carvana.predict import Damaged, Ensemble, Settings
from carvana.sweep import DAMAGED, sweep
from carvana.work import link_or_copy, whole_folder
from stages.stage import run


def main() -> None:
    settings = params.load(paths.PARAMS)
    if distributed.wanted(settings.runtime.processes):
        distributed.launch(settings.runtime.processes, "stages.predict")
        return
    models = [paths.model(fold) for fold in settings.train.folds]
    ensemble = Ensemble.load(models)
    how = Settings.of(settings)
    with Archive(paths.TEST) as archive, distributed.joined(how.on) as on:
        name = resume.fingerprint(
            {
                "test": archive.digest(),
                "models": str([resume.digest(path) for path in models]),
                "predict": settings.predict.model_dump_json(exclude={"on_bad_image"}),
            },
            paths.CODE,
        )
        # By the first alone: two that remove an old folder at a time would stumble over each other.
        first = distributed.rank() == 0
        folder = distributed.from_first(resume.subfolder(paths.WORK / "predict", name, kept=1) if first else None)
        skip = settings.predict.on_bad_image == "skip"
        damaged = sweep(ensemble, archive, folder, how.at(on), skip, paths.report(distributed.rank()))
        damaged = distributed.gathered(damaged)
        if first:
            report(damaged, skip)
            publish([folder, folder / DAMAGED] if skip else [folder])


def report(damaged: list[Damaged], skip: bool) -> None:
    if not damaged:
        return
    names = some([each.photo for each in damaged], 100)
    first = f"the first: {damaged[0].reason}"
    if not skip:
        raise UserError(
            f"{len(damaged)} photos cannot be read: {names} ({first}); all others are done and kept. Mend "
            f"{paths.TEST}, or give these an empty mask with predict.on_bad_image: skip"
        )
    print(f"{len(damaged)} photos cannot be read and get an empty mask: {names} ({first})", file=sys.stderr)


def publish(folders: list[Path]) -> None:
    """The finished shards under their declared name, and under their own: a `dvc` killed right after finds them."""
    with whole_folder(paths.PREDICTIONS) as temporary:
        for path in (path for folder in folders for path in folder.glob("*.parquet")):
            link_or_copy(path, temporary / path.name)


if __name__ == "__main__":
    run(main, "predict")
