"""Compares two experiments on a page: `carvana compare small flipped`; HEAD and the workspace by default.

The page shows which parameters differ, how much each photo's Dice gained or lost, and the photos that gained and lost
most under both. Each is an experiment, a branch, a commit, or `workspace`.
"""

import argparse
from pathlib import Path

from carvana.base import params, paths
from carvana.base.console import Bar
from carvana.base.errors import UserError

_SHOWN = 10  # photos that gained, and photos that lost


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("one", nargs="?", default="HEAD", help="HEAD by default")
    parser.add_argument("other", nargs="?", default="workspace", help="the workspace by default")
    parser.add_argument("--out", type=Path, default=paths.COMPARISON, help=f"the page, {paths.COMPARISON} by default")


def main(one: str, other: str, out: Path) -> None:
    from carvana.base.files import write_text
    from carvana.experiments import comparison, known, redrawn
    from carvana.prediction.settings import Settings

    left, right = known.one(one), known.one(other)
    if left.has_results_of(right):
        raise UserError(f"{left.name} and {right.name} are the same; name two of those that `make experiments` lists")
    photos, alone = comparison.gains(left, right)
    shown = [name for part in comparison.most(photos, _SHOWN).values() for name in part["image"]]
    how = Settings.of(params.load(paths.PARAMS))
    with Bar(total=2 * len(shown), desc="compare", unit=" photos") as bar:
        masks = {each.name: redrawn.masks(each, shown, how, bar.update) for each in (left, right)}
    drawn = redrawn.draw(right, masks)
    write_text(out, comparison.render(left, right, photos, alone, drawn, _SHOWN))
    for role in comparison.by_role(photos).itertuples():
        print(
            f"{role.role}: Dice {role.dice_one:.4f} → {role.dice_other:.4f} on {role.photos} photos; "
            f"{role.gained} gained, {role.lost} lost"
        )
    print(f"{out} shows them")
