"""What a report is of: the run, what computed it, and its parameters."""

from dataclasses import dataclass
from datetime import datetime

from carvana.base import git, paths, processes, speed, yaml12
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
    """A name for the title, facts by what they are, and parameters as text by their dotted names."""

    name: str
    facts: dict[str, str]
    parameters: dict[str, str]


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
            found[f"training of fold {fold}"] = training(speed.read(path))
    return found


def collect(facts: dict[str, str]) -> About:
    """Returns what a report of the workspace is of: `facts`, and what git and params.yaml know."""
    here, origin = git.current(CODE), {}
    if here:
        edited = f"; uncommitted changes in {some(list(here.edited))}" if here.edited else ""
        origin = {"experiment or branch": here.name or "none", "commit": here.commit + edited}
    origin["date"] = f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}"
    parameters = leaves(yaml12.parse(paths.PARAMS.read_text(encoding="utf-8"))).items()
    # YAML's true is Python's True.
    spoken = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in parameters}
    return About(name(here), origin | facts, spoken)


def name(here: Revision | None) -> str:
    """Returns a revision in words: `small (f43ab75, with uncommitted changes)`."""
    if not here:
        return "a folder without git"
    commit = here.commit + (", with uncommitted changes" if here.edited else "")
    return f"{here.name} ({commit})" if here.name else commit


def training(made: Speed) -> str:
    """Returns how long a training took and what did it: `67 s, 80.6 photos/s, by torch in bfloat16 on …`."""
    by = f"{made.engine} in {made.precision} on {made.processor}"
    how = f"{made.device}; processes: {made.processes}, threads: {made.threads}"
    return f"{duration(made.seconds)}, {made.photos_per_second:,.1f} photos/s, by {by} ({how})"
