"""Unfinished work in .work/, in folders named by a fingerprint of everything that the result depends on."""

import contextlib
import hashlib
import json
import shutil
from collections.abc import Iterable, Mapping
from importlib.metadata import distributions
from pathlib import Path

from carvana.base import lockfile, paths
from carvana.base.errors import UserError, reading
from carvana.base.files import write_json

# Those that compute pixels or logits; tests/test_dvc_yaml.py compares them with what is imported.
PACKAGES: tuple[str, ...] = ("numba", "numpy", "opencv-python-headless", "openvino", "pillow")
PACKAGES += ("segmentation-models-pytorch", "simplejpeg", "timm", "torch", "torchvision")

_KEPT = 3  # folders of a fold's latest trainings; older ones are removed
_FINISHED = "finished.json"


def fingerprint(inputs: Mapping[str, str], code: list[Path]) -> str:
    """Returns a name for some work: a digest of its inputs and parameters, by name, and of its code files."""
    digest = hashlib.sha256(json.dumps(dict(sorted(inputs.items()))).encode())
    for file in sorted(code):
        digest.update(file.as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def versions() -> tuple[str, ...]:
    """Returns all that computes pixels or logits, `numpy 2.4.6`; another version may compute different numbers."""
    return tuple(f"{name} {next((each.version for each in distributions(name=name)), 'none')}" for name in PACKAGES)


def subfolder(folder: Path, name: str, kept: int = _KEPT) -> Path:
    """Returns the folder `name` in `folder`, made if missing; removes all but the latest `kept` of its folders.

    The folder stays when the work ends: if `dvc` is killed before it has stored the result, the result is still there.
    """
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    latest = sorted((each for each in folder.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime)
    for old in latest[:-kept]:
        shutil.rmtree(old)
    return folder / name


def set_aside_models(folds: Iterable[int]) -> None:
    """Moves the models of all other folds to .work/models: stages depend on the whole folder of models.

    DVC leaves them there when a fold goes from train.folds, and brings them back from its cache when it returns.
    """
    used = {paths.model(fold).stem for fold in folds}
    for path in [path for path in paths.MODELS.glob("fold-*") if path.stem not in used]:
        (paths.WORK / path.parent).mkdir(parents=True, exist_ok=True)
        path.replace(paths.WORK / path)


def finish(folder: Path, outputs: list[Path]) -> None:
    """Records that the work in a folder is finished, and its outputs; see `discard_if_recorded`."""
    write_json(folder / _FINISHED, {output.as_posix(): lockfile.md5_of(output) for output in outputs})


def discard_if_recorded(folder: Path, lock: Path, stage: str) -> None:
    """Removes finished work whose outputs a dvc.lock records for the stage.

    If DVC runs a stage whose result it has recorded, the user wants it computed again (`dvc repro -f`). If DVC has not
    recorded the result, `dvc` was killed too early, and the finished work can be used.
    """
    path = folder / _FINISHED
    with contextlib.suppress(UserError), reading(path, "cannot be read", "the work is not known to be finished"):
        finished = json.loads(path.read_text(encoding="utf-8")).items()
        if finished and finished <= lockfile.read(lock)[stage].outs.items():
            shutil.rmtree(folder)
