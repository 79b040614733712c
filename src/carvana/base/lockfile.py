"""dvc.lock: what DVC has recorded for every stage, and the hashes that it records."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carvana.base import yaml12
from carvana.base.errors import reading


@dataclass(frozen=True)
class Recorded:
    """MD5s of a stage's dependencies and outputs by path, and its parameters by dotted name."""

    deps: dict[str, str]
    outs: dict[str, str]
    params: dict[str, Any]


def read(path: Path) -> dict[str, Recorded]:
    """Returns what a dvc.lock records, by stage. Raises UserError if the file is missing or not a dvc.lock."""
    advice = "resolve the conflict marks of a merge, or, without such marks, run `carvana unlock`"
    with reading(path, "is not what DVC writes", advice, "`dvc repro` makes it"):
        return parse(path.read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Recorded]:
    """Returns what the text of a dvc.lock records, by stage. Raises any exception if it is not one; see `reading`."""
    return {str(name): _recorded(stage) for name, stage in yaml12.parse(text).get("stages", {}).items()}


def _recorded(stage: dict[str, Any]) -> Recorded:
    # Only what identifies a result: other keys, such as the size of a file, differ between versions of DVC.
    deps, outs = (
        {str(each["path"]): str(each.get("md5", "")) for each in stage.get(key, [])} for key in ("deps", "outs")
    )
    params = {str(name): value for file in stage.get("params", {}).values() for name, value in file.items()}
    return Recorded(deps, outs, params)


def md5_of(path: Path) -> str:
    """Returns the MD5 that DVC records for a file, or for a folder (`<md5>.dir`)."""
    if path.is_dir():
        return md5_of_folder(md5s_in(path))
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def md5s_in(folder: Path) -> dict[str, str]:
    """Returns the MD5 of every file in a folder and its subfolders, by its path relative to the folder."""
    return {file.relative_to(folder).as_posix(): md5_of(file) for file in folder.rglob("*") if file.is_file()}


def md5_of_folder(files: dict[str, str]) -> str:
    """Returns the MD5 that DVC records for a folder: that of a JSON list of its files' MD5s and relative paths."""
    content = [{"md5": md5, "relpath": name} for name, md5 in sorted(files.items())]
    return f"{md5_of_bytes(json.dumps(content, sort_keys=True).encode())}.dir"


def md5_of_bytes(data: bytes) -> str:
    """Returns the MD5 that DVC records for a file with these bytes."""
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
