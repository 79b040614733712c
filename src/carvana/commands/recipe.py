"""Runs a recipe, its teachers first: `carvana recipe fast`, or the best that ends in time, `carvana recipe --hours 8`.

It begins with the committed defaults, whatever params.yaml has, and keeps its result as an experiment of its name. What
exists already is not made again; after a kill, the same command goes on.
"""

import argparse
import math

from carvana.base import params, paths
from carvana.base.console import duration, say
from carvana.base.errors import UserError, some


def add_arguments(parser: argparse.ArgumentParser) -> None:
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("name", nargs="?", help=f"that of a file in {paths.RECIPES}/, without .yaml")
    wanted.add_argument(
        "--hours", type=float, default=math.inf, help="run the recipe of the highest Dice that takes at most so long"
    )


def main(name: str | None, hours: float) -> None:
    from carvana.commands import summary, unlock
    from carvana.devices import device
    from carvana.recipes import choice, estimate, making, recipe, workspace

    unlock.main()
    on = device.pick(params.load(paths.PARAMS).runtime.device)
    limits = choice.Limits.of(on, hours)
    recipes = [recipe.read(name)] if name else recipe.everything()
    costs = estimate.costs(recipes)
    chosen = recipes[0] if name else choice.best(recipes, costs, limits)
    if chosen is None:
        raise UserError(f"no recipe fits into {hours:g} hours on this machine; `make recipes HOURS={hours:g}` says why")
    cost = costs[chosen.name]
    if isinstance(cost, UserError) or limits.exceeded_by(cost):
        raise UserError(f"{paths.recipe(chosen.name)} does not fit this machine: {limits.exceeded_by(cost)}")
    if lost := workspace.dropped():
        say(f"{paths.PARAMS} takes the recipe's values, and loses {some(lost)}")
    times = f"about {duration(cost.training)} to the scores, then {duration(cost.prediction)} to predict"
    chain = ", then ".join(each.name for each in chosen.chain)
    say(f"Running {chain}: {times}, less what exists already; {cost.disk:.1f} GB of disk")
    making.make(chosen, choice.gpus(cost, on))
    summary.show()
    print(f"It is the experiment {chosen.name} now: `make experiments` compares it, `make submit` sends it to Kaggle")
