"""What a report is of: the run, what computed it, its parameters, and how both differ from the last commit."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pandas as pd

from carvana.base import paths, revision, yaml12
from carvana.base.console import duration
from carvana.base.errors import UserError, reading, some
from carvana.base.params import leaves
from carvana.base.revision import Revision
from carvana.base.speed import Speed

CODE = ("src", "stages", str(paths.PIPELINE))


@dataclass(frozen=True)
class About:
    """A name for the title, facts by what they are, and parameters by their dotted names.

    `committed` are the parameters in the last commit and `before` is its evaluation; both are empty if not known.
    """

    name: str
    facts: dict[str, str]
    parameters: dict[str, Any]
    commit: str
    committed: dict[str, Any]
    before: dict[str, Any]

    @property
    def changed(self) -> pd.DataFrame:
        """The parameters that differ from the last commit."""
        rows = [
            (key, spoken(value), spoken(self.committed.get(key, "–")))
            for key, value in self.parameters.items()
            if self.committed.get(key) != value
        ]
        return pd.DataFrame(rows, columns=["parameter", "here", f"in {self.commit}"])


def collect(facts: dict[str, str]) -> About:
    """Returns what a report of the workspace is of: `facts`, and what git and params.yaml know."""
    here = revision.current(CODE)
    return About(
        name=name(here),
        facts=_origin(here) | {"date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"} | facts,
        parameters=leaves(yaml12.parse(paths.PARAMS.read_text(encoding="utf-8"))),
        commit=here.commit if here else "",
        committed=leaves(_mapping(revision.committed(paths.PARAMS), yaml12.parse)),
        before=_mapping(revision.committed(paths.EVALUATION), json.loads),
    )


def name(here: Revision | None) -> str:
    """Returns a revision in words: `small (f43ab75, with uncommitted changes)`."""
    if not here:
        return "a folder without git"
    commit = here.commit + (", with uncommitted changes" if here.edited else "")
    return f"{here.name} ({commit})" if here.name else commit


def training(speed: Speed) -> str:
    """Returns how long a training took and what did it: `67 s, 80.6 photos/s, by torch in bfloat16 on …`."""
    threads = f"{speed.threads} thread{'s' if speed.threads != 1 else ''}"
    each = threads if speed.device == "cpu" else speed.device
    by = f"{speed.engine} in {speed.precision} on {speed.processor}, {each}"
    processes = f", {speed.processes} processes" if speed.processes != 1 else ""
    return f"{duration(speed.seconds)}, {speed.photos_per_second:,.1f} photos/s, by {by}{processes}"


def spoken(value: Any) -> str:
    """Returns a parameter's value as params.yaml has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _origin(here: Revision | None) -> dict[str, str]:
    if not here:
        return {}
    edited = f"; uncommitted changes in {some(list(here.edited))}" if here.edited else ""
    return {"experiment or branch": here.name or "none", "commit": here.commit + edited}


def _mapping(text: str | None, parse: Callable[[str], Any]) -> dict[str, Any]:
    """Returns what a file of an earlier commit holds, or nothing: a report is no place to complain about it."""
    try:
        with reading("", "", ""):
            content = parse(text or "{}")
    except UserError:
        return {}
    return content if isinstance(content, dict) else {}
