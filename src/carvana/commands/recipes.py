"""Lists the recipes, with what they cost on this machine: `carvana recipes`, or those for an evening, `--hours 8`.

Dice are those of docs/results.md, on 13 of Kaggle's cars. Times, disk and memory are for the photos of data/raw, or for
those that the download will bring, and with the teachers of a recipe; they come from some seconds of its own steps, or
from its last run here.
"""

import argparse
import math

from carvana.base import params, paths
from carvana.base.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--hours", type=float, default=math.inf, help="mark the best recipe that takes at most so long")


def main(hours: float) -> None:
    from carvana.devices import device
    from carvana.recipes import choice, estimate, recipe

    settings = params.load(paths.PARAMS)
    data, recipes = estimate.Data.of(settings), recipe.everything()
    costs = estimate.costs(recipes)
    on = device.pick(settings.runtime.device)
    limits = choice.Limits.of(on, hours)
    print(f"{data.cars} cars with masks, {data.photos:,} photos to predict, on {device.processor(on)}:")
    print(choice.as_text(recipes, costs, limits))
    print("Dice: on 13 of Kaggle's cars, after a training on 38 to 46 others; what another number gives is not known")
    if chosen := choice.best(recipes, costs, limits):
        print(f"* has the highest Dice that fits: `make recipe NAME={chosen.name}`")
    else:
        raise UserError("no recipe fits; the last column says why")
