"""dvc.lock: what DVC has recorded of every stage, and the hashes that it records."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML, YAMLError

from carvana.errors import UserError, first_line


@dataclass(frozen=True)
class Recorded:
    """A stage's dependencies and outputs, each path with its MD5, and its parameters by their dotted names."""

    deps: dict[str, str]
    outs: dict[str, str]
    params: dict[str, Any]


def read(path: Path) -> dict[str, Recorded]:
    """Returns what a dvc.lock records, by stage. Raises UserError if the file is missing or not a dvc.lock."""
    try:
        # Only what decides a result: the size of a file, say, may be missing in a dvc.lock of another version.
        stages = YAML(typ="safe").load(path.read_text(encoding="utf-8"))["stages"]
        return {name: _recorded(stage) for name, stage in stages.items()}
    except FileNotFoundError:
        raise UserError(f"{path} is missing; `dvc repro` makes it") from None
    except (OSError, UnicodeDecodeError, YAMLError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path} is not what DVC writes ({first_line(error)}); if a merge left conflict marks in it, resolve "
            f"them, then run `dvc repro`"
        ) from error


def md5_of(path: Path) -> str:
    """Returns the MD5 that DVC records of a file, or of a folder (`<md5>.dir`).

    A folder's is the MD5 of a JSON list of its files' MD5s and relative paths, sorted by path.
    """
    if not path.is_dir():
        with path.open("rb") as file:
            return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    files = sorted((file.relative_to(path).as_posix(), file) for file in path.rglob("*") if file.is_file())
    content = [{"md5": md5_of(file), "relpath": name} for name, file in files]
    return f"{md5_of_bytes(json.dumps(content, sort_keys=True).encode())}.dir"


def md5_of_bytes(data: bytes) -> str:
    """Returns the MD5 that DVC records of a file with these bytes."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _recorded(stage: dict[str, Any]) -> Recorded:
    deps, outs = ({each["path"]: each["md5"] for each in stage.get(key, [])} for key in ("deps", "outs"))
    params = {name: value for file in stage.get("params", {}).values() for name, value in file.items()}
    return Recorded(deps, outs, params)
