"""Lists all experiments that DVC knows, with Dice, speed and what was changed: `carvana experiments`.

The same is written to a page, with a chart of Dice against speed.
"""

import argparse
from pathlib import Path

from carvana.base import paths
from carvana.base.errors import UserError, some

_ADVICE = {
    "edited": "its parameters have not been run; `dvc repro` does",
    "running": "running now",
    "queued": "in the queue; `dvc queue start` runs them",
    "failed": "failed; `dvc queue logs NAME` says why",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--newest", action="store_true", help="the newest first, in place of the highest Dice")
    parser.add_argument("--out", type=Path, default=paths.EXPERIMENTS, help=f"the page, {paths.EXPERIMENTS} by default")


def main(out: Path, newest: bool) -> None:
    from carvana.base.files import write_text
    from carvana.experiments import known, table

    experiments = known.everything()
    found = table.rows(experiments, newest_first=newest)
    unfinished = {state: [each.name for each in experiments if each.state == state] for state in _ADVICE}
    notes = [f"{some(names)}: {_ADVICE[state]}" for state, names in unfinished.items() if names]
    if not found:
        none = "no commit and no experiment has results yet; `make submission` or `dvc repro` makes some"
        raise UserError("\n".join([none, *notes]))
    print(table.as_text(found), *notes, sep="\n")
    write_text(out, table.render(found, notes))
    here = "* is in the workspace; " if any(row.here for row in found) else ""
    print(f"{here}{out} has the same with a chart")
