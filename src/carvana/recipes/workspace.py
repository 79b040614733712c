"""params.yaml as a recipe needs it: the defaults, with what the recipe decides."""

from carvana.base import git, params, paths, yaml12
from carvana.base.errors import UserError
from carvana.recipes.recipe import SECTIONS, Recipe, read

# The first line of a params.yaml that a recipe has written. Without it, the file as it is committed has the defaults.
_MARK = "# Recipe "


def defaults() -> str:
    """Returns params.yaml as it was last committed without a recipe. Raises UserError if no commit has it."""
    for commit in git.output("log", "--format=%H", "--", str(paths.PARAMS)).split():
        text = git.read(commit, paths.PARAMS)
        if text and not text.startswith(_MARK):
            return text
    raise UserError(
        f"no commit here has {paths.PARAMS} without a recipe, so its defaults are not known; if the clone is shallow, "
        "`git fetch --unshallow` brings the others"
    )


def params_of(recipe: Recipe, committed: str) -> str:
    """Returns params.yaml for a recipe: the committed values, its own, and data and machine of the workspace's.

    Raises UserError that names the recipe's file and the parameter if there is no such parameter, or no such value.
    """
    params.load(paths.PARAMS)  # raises a UserError if it is damaged
    here = params.leaves(yaml12.parse(paths.PARAMS.read_text(encoding="utf-8")))
    kept = {name: value for name, value in here.items() if not _is_decided(name)}
    text = yaml12.changed(committed, kept | recipe.changes)
    params.parse(text, paths.recipe(recipe.name))
    return (
        f"{_MARK}{recipe.name}; `carvana recipe default` goes back to the defaults\n{text}" if recipe.changes else text
    )


def dropped() -> list[str]:
    """Returns what a recipe would drop: parameters that are neither the defaults nor those of an earlier recipe."""
    text = paths.PARAMS.read_text(encoding="utf-8")
    expected = params.leaves(yaml12.parse(defaults()))
    if text.startswith(_MARK):
        expected |= read(text.removeprefix(_MARK).partition(";")[0]).changes
    here = params.leaves(yaml12.parse(text))
    return [f"{name}={value}" for name, value in here.items() if _is_decided(name) and expected.get(name) != value]


def _is_decided(name: str) -> bool:
    return name.partition(".")[0] in SECTIONS
