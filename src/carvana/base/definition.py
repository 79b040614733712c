"""A stage as dvc.yaml defines it: the parameters and the code on which it depends."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carvana.base import paths, yaml12
from carvana.base.errors import reading

_RESTORE = "correct it, or restore it by `git checkout HEAD`"
_CODE = ("src/", "stages/", str(paths.PARAMS))


@dataclass(frozen=True)
class Definition:
    """The dotted names of a stage's parameters, and the files and folders of its code."""

    params: list[str]
    code: list[Path]

    @property
    def files(self) -> list[Path]:
        """All files of the code, including those in its folders, except byte code."""
        inside = (path.rglob("*") if path.is_dir() else [path] for path in self.code)
        return [file for files in inside for file in files if file.is_file() and "__pycache__" not in file.parts]


def read(stage: str) -> Definition:
    """Returns the definition of a stage, `train` or `train@0`. Raises UserError if dvc.yaml cannot be read."""
    pipeline = read_yaml(paths.PIPELINE)
    with reading(paths.PIPELINE, f"does not define {stage}", _RESTORE):
        definition = pipeline["stages"][stage.split("@", 1)[0]]
        code = [Path(path) for path in definition.get("deps", []) if path.startswith(_CODE)]
        params = definition.get("params", [])
        if not all(isinstance(key, str) for key in params):
            raise ValueError("a parameter is not the name of a key")
        return Definition(params, code)


def read_yaml(path: Path) -> Any:
    """Returns the content of a YAML file as DVC reads it. Raises UserError if it cannot be read."""
    with reading(path, "cannot be read", _RESTORE):
        return yaml12.parse(path.read_text(encoding="utf-8"))
