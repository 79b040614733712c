"""What a report is of: the run, what computed it, its parameters, and how both differ from the last commit."""

import contextlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from carvana.base import git, paths, processes, yaml12
from carvana.base.console import duration
from carvana.base.errors import some
from carvana.base.git import Revision
from carvana.base.params import Params, leaves
from carvana.base.speed import Speed
from carvana.devices import device
from carvana.prediction.settings import Settings

CODE = ("src", "stages", str(paths.PIPELINE))


@dataclass(frozen=True)
class About:
    """A name for the title, facts by what they are, and parameters as text by their dotted names.

    `committed` are the parameters in the last commit and `before` is its evaluation; both are empty if not known.
    """

    name: str
    facts: dict[str, str]
    parameters: dict[str, str]
    commit: str
    committed: dict[str, str]
    before: dict[str, Any]

    @property
    def changed(self) -> list[tuple[str, str, str]]:
        """The parameters that differ from the last commit: each one's name, its value here and there."""
        return [
            (key, value, self.committed.get(key, "–"))
            for key, value in self.parameters.items()
            if self.committed.get(key) != value
        ]


def facts(settings: Params, network: str, how: Settings, photos: int) -> dict[str, str]:
    """Returns the data, the network and the machine of an evaluation, in words."""
    data, folds = settings.data, settings.train.folds
    source = f"{data.source} ({data.local_dir})" if data.source == "local" else data.source
    found = {
        "data": f"{source}, {data.quality}: {photos:,} photos with masks",
        "network": f"{network}; folds: {', '.join(map(str, folds))}",
        "evaluated by": how.describe(),
        "machine": f"{device.processor(how.on)}, {processes.cores()} cores",
    }
    for fold in folds:
        if (path := paths.training_speed(fold)).exists():
            speed = Speed.parse(path.read_text(encoding="utf-8"), str(path))
            found[f"training of fold {fold}"] = training(speed)
    return found


def collect(facts: dict[str, str]) -> About:
    """Returns what a report of the workspace is of: `facts`, and what git and params.yaml know."""
    here, origin = git.current(CODE), {}
    if here:
        edited = f"; uncommitted changes in {some(list(here.edited))}" if here.edited else ""
        origin = {"experiment or branch": here.name or "none", "commit": here.commit + edited}
    return About(
        name=name(here),
        facts=origin | {"date": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"} | facts,
        parameters=_spoken(yaml12.parse(paths.PARAMS.read_text(encoding="utf-8"))),
        commit=here.commit if here else "",
        committed=_spoken(_committed(paths.PARAMS, yaml12.parse)),
        before=_committed(paths.EVALUATION, json.loads),
    )


def name(here: Revision | None) -> str:
    """Returns a revision in words: `small (f43ab75, with uncommitted changes)`."""
    if not here:
        return "a folder without git"
    commit = here.commit + (", with uncommitted changes" if here.edited else "")
    return f"{here.name} ({commit})" if here.name else commit


def training(speed: Speed) -> str:
    """Returns how long a training took and what did it: `67 s, 80.6 photos/s, by torch in bfloat16 on …`."""
    by = f"{speed.engine} in {speed.precision} on {speed.processor}"
    how = f"{speed.device}; processes: {speed.processes}, threads: {speed.threads}"
    return f"{duration(speed.seconds)}, {speed.photos_per_second:,.1f} photos/s, by {by} ({how})"


def _spoken(params: dict[str, Any]) -> dict[str, str]:
    """Returns the values of params.yaml as it has them, by their dotted names."""
    return {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in leaves(params).items()}


def _committed(path: Path, parse: Callable[[str], Any]) -> dict[str, Any]:
    """Returns what a file of the last commit holds, or nothing: a report is no place to complain about it."""
    with contextlib.suppress(Exception):
        content = parse(git.read("HEAD", path) or "{}")
        return content if isinstance(content, dict) else {}
    return {}
