"""Which recipe to run: what each gives and costs, and what speaks against it on this machine."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil
import torch

from carvana.base.console import aligned, duration
from carvana.base.errors import UserError
from carvana.recipes.estimate import Cost
from carvana.recipes.recipe import Recipe

_HEADER = ["recipe", "Dice", "training", "prediction", "disk", "memory", "taught by", ""]
_USABLE = 0.9  # share of the memory

Costs = Mapping[str, Cost | UserError]


@dataclass(frozen=True)
class Limits:
    """What there is: hours, and GB of disk and of memory."""

    hours: float
    disk: float
    memory: float

    @classmethod
    def of(cls, on: torch.device, hours: float) -> Self:
        """Returns the limits of this machine, whose memory is that of the GPU if there is one."""
        return cls(hours, shutil.disk_usage(Path()).free / 1e9, _usable_memory(on))

    def exceeded_by(self, cost: Cost | UserError) -> str:
        """Returns what speaks against a recipe of some cost; '' if it fits."""
        if isinstance(cost, UserError):
            return str(cost)
        if cost.memory > self.memory:
            return f"there are {self.memory:.0f} GB of memory"
        if cost.disk > self.disk and not cost.ran:
            return f"{self.disk:.0f} GB of disk are free"
        seconds = cost.training + cost.prediction
        return f"takes {duration(seconds)}" if seconds > self.hours * 3600 else ""


def best(recipes: Sequence[Recipe], costs: Costs, limits: Limits) -> Recipe | None:
    """Returns the recipe of the highest Dice on test cars that fits; None if none does."""
    fitting = [each for each in recipes if each.measured and not limits.exceeded_by(costs[each.name])]
    return max(fitting, key=lambda each: each.measured.test if each.measured else 0, default=None)


def as_text(recipes: Sequence[Recipe], costs: Costs, limits: Limits) -> str:
    """Returns the table of recipes for a terminal; a star marks the best that fits, ~ an estimate."""
    lines, chosen = [_HEADER], best(recipes, costs, limits)
    for each in recipes:
        cost, cells = costs[each.name], ["–"] * 4
        if isinstance(cost, Cost):
            times = [("" if cost.ran else "~ ") + duration(seconds) for seconds in (cost.training, cost.prediction)]
            cells = [*times, f"{cost.disk:.1f} GB", f"{cost.memory:.1f} GB"]
        name, dice = each.name + (" *" if each is chosen else ""), each.measured and f"{each.measured.test:.4f}"
        lines.append([name, dice or "–", *cells, each.teacher.name if each.teacher else "–", limits.exceeded_by(cost)])
    return aligned(lines)


def gpus(cost: Cost, on: torch.device) -> list[str]:
    """Returns the numbers of the GPUs on which trainings of some cost fit beside each other, each as often as one fits.

    There are none for a CPU, whose cores a single training uses, and for a GPU that `runtime.device` names.
    """
    if on.type != "cuda" or on.index is not None:
        return []
    numbers = range(torch.cuda.device_count())
    fitting = [int(_usable_memory(torch.device("cuda", number)) / cost.memory) for number in numbers]
    return [str(number) for turn in range(max(fitting)) for number in numbers if turn < fitting[number]]


def _usable_memory(on: torch.device) -> float:
    total = torch.cuda.mem_get_info(on)[1] if on.type == "cuda" else psutil.virtual_memory().total
    return _USABLE * total / 1e9
