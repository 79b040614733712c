"""A stage as dvc.yaml defines it: the parameters and the code on which it depends."""

from pathlib import Path
from typing import NamedTuple

from carvana.base import paths, yaml12
from carvana.base.errors import reading

_CODE = ("src/", "stages/", str(paths.PARAMS))


class Definition(NamedTuple):
    """The dotted names of a stage's parameters, and all files of its code, except byte code."""

    params: list[str]
    files: list[Path]


def read(stage: str) -> Definition:
    """Returns the definition of a stage, `train` or `train@0`. Raises UserError if dvc.yaml cannot be read."""
    with reading(paths.PIPELINE, f"does not define {stage}", "correct it, or restore it by `git checkout HEAD`"):
        pipeline = yaml12.parse(paths.PIPELINE.read_text(encoding="utf-8"))
        definition = pipeline["stages"][stage.partition("@")[0]]
        code = [Path(path) for path in definition.get("deps", []) if path.startswith(_CODE)]
        inside = [file for path in code for file in (path.rglob("*") if path.is_dir() else [path])]
        files = [file for file in inside if file.is_file() and "__pycache__" not in file.parts]
        return Definition([str(name) for name in definition.get("params", [])], files)
