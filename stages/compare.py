"""Compares two experiments on a page: `python -m stages.compare small flipped`; HEAD and the workspace by default.

The page shows which parameters differ, how much each photo's Dice gained or lost, and the photos that gained and lost
most under both. Each is an experiment, a branch, a commit, or `workspace`.
"""

from pathlib import Path

from carvana import params, paths
from carvana.console import Bar
from carvana.errors import UserError
from stages.stage import command_line, run

_SHOWN = 10  # photos that gained, and photos that lost


def main(names: tuple[str, str], out: Path) -> None:
    from carvana.experiments import comparison, difference, known, redrawn
    from carvana.files import whole_file
    from carvana.prediction.settings import Settings

    one, other = (known.one(name) for name in names)
    if one.has_results_of(other):
        raise UserError(f"{one.name} and {other.name} are the same; name two of those that `make experiments` lists")
    photos, alone = difference.both(one, other)
    shown = [
        (photo.role, photo.image) for part in difference.most(photos, _SHOWN) for photo in part.itertuples(index=False)
    ]
    how = Settings.of(params.load(paths.PARAMS))
    with Bar(total=2 * len(shown), desc="compare", unit=" photos") as bar:
        masks = redrawn.masks(one, shown, how, bar.update), redrawn.masks(other, shown, how, bar.update)
    drawn = redrawn.draw(other, masks, (one.name, other.name))
    with whole_file(out) as temporary:
        temporary.write_text(comparison.render(one, other, photos, alone, _SHOWN, drawn), encoding="utf-8")
    for role in difference.by_role(photos):
        print(
            f"{role['role']}: Dice {role['dice_one']:.4f} → {role['dice_other']:.4f} on {role['photos']} photos; "
            f"{role['gained']} gained, {role['lost']} lost"
        )
    print(f"{out} shows them")


if __name__ == "__main__":
    parser = command_line("compare", __doc__)
    parser.add_argument("one", nargs="?", default="HEAD", help="HEAD by default")
    parser.add_argument("other", nargs="?", default="workspace", help="the workspace by default")
    parser.add_argument("--out", type=Path, default=paths.COMPARISON, help=f"the page, {paths.COMPARISON} by default")
    arguments = parser.parse_args()
    run(lambda: main((arguments.one, arguments.other), arguments.out), "compare")
