"""The table of experiments, for a terminal and for a page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from carvana.base.console import aligned, duration
from carvana.experiments.known import DONE, MISSING, WORKSPACE, Experiment
from carvana.results import charts, page

_POINT = ["label", "photos_per_second", "dice"]
HEADER = ["experiment", "test", "worst", "validation", "photos/s", "training", "changed"]


@dataclass(frozen=True)
class Row:
    """An experiment with results. `here`: the workspace has the same."""

    experiment: Experiment
    here: bool

    @property
    def cells(self) -> list[str]:
        """Its cells as text, by HEADER."""
        made = self.experiment
        dice = made.dice("test"), made.dice("test", "dice_worst"), made.dice("validation")
        return [
            made.name + (" *" if self.here else ""),
            *(MISSING if each is None else f"{each:.4f}" for each in dice),
            f"{made.photos_per_second:,.1f}" if made.photos_per_second else MISSING,
            duration(made.training_seconds) if made.training_seconds else MISSING,
            ", ".join(f"{key.removeprefix('train.')}={brief(value)}" for key, value in made.changed.items()),
        ]


def rows(experiments: list[Experiment], *, newest_first: bool = False) -> list[Row]:
    """Returns a row for each experiment that has results, the highest Dice on test cars first.

    The workspace has none of its own if it is as one of the others, and a commit without a name neither.
    """
    done = [each for each in experiments if each.state == DONE and each.metrics]
    workspace = next((each for each in done if each.name == WORKSPACE), None)
    others = [each for each in done if each is not workspace]
    named = [each for each in others if not each.commit.startswith(each.name)]
    others = [each for each in others if each in named or not any(map(each.has_results_of, named))]
    same = next((each for each in reversed(others) if workspace and each.has_results_of(workspace)), None)
    if workspace and not same:
        others.append(workspace)
    if newest_first:
        others.sort(key=lambda each: (each.created or datetime.max, each.name), reverse=True)
    else:
        others.sort(key=lambda each: (-(each.dice("test") or each.dice("validation") or 0), each.name))
    return [Row(each, here=each is same) for each in others]


def brief(value: Any) -> str:
    """Returns a parameter's value as `dvc exp run -S` takes it, paths shortened to their file's name."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:g}"
    if value is None:
        return "none"
    return str(value).rsplit("/", maxsplit=1)[-1].replace(" ", "")


def as_text(table: list[Row]) -> str:
    """Returns the table for a terminal."""
    return aligned([HEADER, *(row.cells for row in table)])


def render(table: list[Row], notes: list[str]) -> str:
    """Returns the page as HTML: the frontier's chart and the table, below it the notes. There is at least one row."""
    experiments = [row.experiment for row in table]
    shown = [each for each in experiments if each.photos_per_second and each.dice("test") is not None]
    points = pd.DataFrame([(each.name, each.photos_per_second, each.dice("test")) for each in shown], columns=_POINT)
    return page.render(
        "experiments.html",
        chart=charts.draw("frontier", points, width=480) if shown else None,
        unknown=[each.name for each in experiments if each not in shown],
        processors=sorted({each.machine for each in shown}),
        header=[*HEADER, "started from", "date"],
        rows=table,
        notes=notes,
    )
