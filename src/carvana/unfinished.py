"""Unfinished work in .work/, each in a folder named by a fingerprint of all that its result depends on."""

import hashlib
import json
import shutil
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from carvana import lockfile
from carvana.errors import UserError
from carvana.files import write_json

_KEPT = 3  # folders of a fold's latest trainings; older ones are removed
_FINISHED = "finished.json"


def fingerprint(inputs: Mapping[str, str], code: list[Path]) -> str:
    """Returns a name for some work: a digest of its inputs and parameters, by name, and of its files of code."""
    digest = hashlib.sha256(json.dumps(dict(sorted(inputs.items()))).encode())
    for file in sorted(code):
        digest.update(file.as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def versions(*packages: str) -> str:
    """Returns the versions of the installed packages: another one may compute other numbers."""
    return ", ".join(f"{package} {version(package)}" for package in packages)


def subfolder(folder: Path, name: str, kept: int = _KEPT) -> Path:
    """The folder `name` in `folder`; of its neighbours all but the latest are removed, so that `kept` are left.

    It stays when the work ends: a `dvc` killed before it has stored the result then has it again at once.
    """
    (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / name).touch()
    latest = sorted((each for each in folder.iterdir() if each.is_dir()), key=lambda each: each.stat().st_mtime)
    for old in latest[:-kept]:
        shutil.rmtree(old)
    return folder / name


def finish(folder: Path, outputs: list[Path]) -> None:
    """Notes that the work in a folder has ended, and in which outputs; see `discard_if_recorded`."""
    write_json(folder / _FINISHED, {output.as_posix(): lockfile.md5_of(output) for output in outputs})


def discard_if_recorded(folder: Path, lock: Path, stage: str) -> None:
    """Removes finished work whose outputs a dvc.lock records for the stage.

    DVC runs a stage whose result it has recorded only if it is told to run it again (`dvc repro -f`). A result that
    it has not recorded is of a `dvc` that was killed too early, and need not be computed again.
    """
    try:
        finished = json.loads((folder / _FINISHED).read_text(encoding="utf-8"))
        recorded = lockfile.read(lock)[stage].outs
    except (OSError, ValueError, KeyError, UserError):
        return
    if finished and finished.items() <= recorded.items():
        shutil.rmtree(folder)
