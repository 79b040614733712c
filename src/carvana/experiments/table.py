"""The table of experiments, for a terminal and for a page."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from carvana.base.console import duration
from carvana.experiments.known import DONE, WORKSPACE, Experiment
from carvana.results import charts, page

_MISSING = "–"
_POINT = ["label", "photos_per_second", "dice"]
HEADER = ["experiment", "test", "worst", "validation", "photos/s", "training", "changed"]


@dataclass(frozen=True)
class Row:
    """An experiment with results. Dice is 0 to 1, None if there are no such cars; `here`: the workspace has it."""

    experiment: Experiment
    here: bool
    test: float | None
    worst: float | None
    validation: float | None
    photos_per_second: float | None
    processor: str
    training_seconds: float | None

    @property
    def name(self) -> str:
        """The experiment's name."""
        return self.experiment.name

    @property
    def cells(self) -> list[str]:
        """Its cells as text, by HEADER."""
        dice = [_MISSING if each is None else f"{each:.4f}" for each in (self.test, self.worst, self.validation)]
        speed = _MISSING if self.photos_per_second is None else f"{self.photos_per_second:,.1f}"
        training = _MISSING if self.training_seconds is None else duration(self.training_seconds)
        changed = [f"{key.removeprefix('train.')}={brief(value)}" for key, value in self.experiment.changed.items()]
        return [self.name + (" *" if self.here else ""), *dice, speed, training, ", ".join(changed)]


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
        others.insert(0, workspace)
    made = [_row(each, here=each is same) for each in others]
    if newest_first:
        return sorted(made, key=lambda row: (row.experiment.created or datetime.max, row.name), reverse=True)
    return sorted(made, key=lambda row: (-(row.test or row.validation or 0), row.name))


def _row(experiment: Experiment, *, here: bool) -> Row:
    speed = experiment.prediction_speed()
    test, validation = (experiment.metrics.get(role) or {} for role in ("test", "validation"))
    return Row(
        experiment,
        here,
        test=test.get("dice"),
        worst=test.get("dice_worst"),
        validation=validation.get("dice"),
        photos_per_second=speed.photos_per_second if speed else None,
        processor=f"{speed.engine} on {speed.processor}, {speed.precision}" if speed else "",
        training_seconds=experiment.training_seconds(),
    )


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
    cells = [HEADER, *(row.cells for row in table)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if 0 < number < len(line) - 1 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    return "\n".join(lines)


def render(table: list[Row], notes: list[str]) -> str:
    """Returns the page as HTML: the frontier's chart and the table, below it the notes. There is at least one row."""
    shown = [row for row in table if row.photos_per_second and row.test is not None]
    points = [(row.name, row.photos_per_second, row.test) for row in shown]
    return page.render(
        "experiments.html",
        chart=charts.draw("frontier", pd.DataFrame(points, columns=_POINT), width=480) if points else None,
        unknown=[row.name for row in table if row not in shown],
        processors=sorted({row.processor for row in shown}),
        header=[*HEADER, "started from", "date"],
        rows=table,
        notes=notes,
    )
