"""Recipes: settings whose scores were measured, one file each in recipes/.

A recipe decides how cars are split, how networks are trained, and how they predict; the data and the machine's
settings stay as they are in params.yaml.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from carvana.base import params, paths, yaml12
from carvana.base.errors import UserError, near, reading

SECTIONS = ("split", "train", "augment", "predict")


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Measured(_Frozen):
    """What a recipe reached on the cars of docs/results.md, and in which time.

    Dice are means at 1918×1280 on test cars and validation cars. `photos_per_second` is the speed of `predict` on two
    cores with bfloat16; `training` is in words, and without that of teachers.
    """

    test: params.Probability
    validation: params.Probability
    photos_per_second: Annotated[float, Field(gt=0)]
    training: str


class _File(_Frozen):
    teacher: str | None = None
    params: dict[str, dict[str, Any]] = {}
    measured: Measured | None = None


@dataclass(frozen=True)
class Recipe:
    """A recipe: its name, its file's first line, its teacher, and the parameters that it changes by dotted name."""

    name: str
    about: str
    teacher: "Recipe | None"
    changes: dict[str, Any]
    measured: Measured | None

    @property
    def chain(self) -> list["Recipe"]:
        """The recipes to run in turn, teachers first and this one last."""
        return [*(self.teacher.chain if self.teacher else []), self]


def everything() -> list[Recipe]:
    """Returns all recipes, the fastest prediction first; those that were never measured last."""
    return sorted(map(read, _names()), key=lambda each: -each.measured.photos_per_second if each.measured else 0)


def read(name: str, pupils: tuple[str, ...] = ()) -> Recipe:
    """Returns a recipe and its teachers; `pupils` are those that it teaches, none of which may teach it.

    Raises UserError if there is none of this name, with similar names, or if its file is not a recipe.
    """
    if name in pupils:
        raise UserError(f"{paths.recipe(name)} has itself as a teacher: {' ← '.join([*pupils, name])}")
    if name not in _names():
        where = f"{paths.recipe(pupils[-1])}: teacher: " if pupils else ""
        raise UserError(f"{where}there is no recipe {name}{near(name, _names(), 3) or '; `make recipes` lists them'}")
    path = paths.recipe(name)
    with reading(path, "is not a recipe", f"compare it with {paths.recipe('fast')}"):
        text = path.read_text(encoding="utf-8")
        content = TypeAdapter(_File).validate_python(yaml12.parse(text))
    if others := content.params.keys() - SECTIONS:
        raise UserError(f"{path}: {min(others)} is no part of a recipe, which has {', '.join(SECTIONS)}")
    teacher = read(content.teacher, (*pupils, name)) if content.teacher else None
    taught = {"train.pseudo_labels": teacher.name} if teacher else {}
    about = text.partition("\n")[0].removeprefix("#").strip()
    return Recipe(name, about, teacher, params.leaves(content.params) | taught, content.measured)


def _names() -> list[str]:
    return sorted(path.stem for path in paths.RECIPES.glob("*.yaml"))
