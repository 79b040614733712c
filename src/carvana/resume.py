"""What a killed training goes on from: the whole state after an epoch, in .work/."""

import hashlib
import json
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from carvana.errors import first_line
from carvana.work import whole_file

_KEPT = 3  # folders of a fold's latest trainings; older ones are removed


def fingerprint(inputs: Mapping[str, str], code: Path) -> str:
    """A name for a training: a digest of its inputs and parameters, by name, and of the code in a folder."""
    digest = hashlib.sha256(json.dumps(dict(sorted(inputs.items()))).encode())
    for file in sorted(code.glob("*.py")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:16]


def file_in(folder: Path, name: str) -> Path:
    """The file of the training `name` in a fold's `folder`; see `subfolder`."""
    return subfolder(folder, name) / "epoch.pt"


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


def digest(path: Path) -> str:
    """A digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save(path: Path, state: dict[str, Any]) -> None:
    """Writes a state of tensors and plain values, whole or not at all."""
    with whole_file(path) as temporary:
        torch.save(state, temporary)


def load(path: Path) -> dict[str, Any] | None:
    """The state of a file; None where there is none, and, with a word about it, where it cannot be read."""
    try:
        # weights_only: the unpickler makes tensors and plain containers, and runs no code of the file.
        return torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, RuntimeError, ValueError, EOFError, KeyError, pickle.UnpicklingError) as error:
        print(f"{path} cannot be read ({first_line(error)}); training starts over")
        return None
