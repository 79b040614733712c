"""What a prediction has cost so far, kept beside its shards: a resumed one adds to it."""

import contextlib
import json
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Self

from carvana.base.errors import UserError, reading
from carvana.base.files import write_json
from carvana.base.processes import cores
from carvana.base.speed import Speed
from carvana.devices import device
from carvana.prediction.inference import Clock
from carvana.prediction.settings import Settings


@dataclass(frozen=True)
class Effort:
    """What one process has spent on a prediction, all its runs together."""

    photos: int = 0
    seconds: float = 0.0
    # Those after the first photo of each run, before which the network is loaded or compiled and workers start.
    steady_photos: int = 0
    steady_seconds: float = 0.0
    # Seconds of all threads and workers.
    decode: float = 0.0
    network: float = 0.0
    runs: float = 0.0
    peak_memory_mb: int = 0

    def plus(self, other: Self) -> "Effort":
        """Returns the sum of two runs' efforts; of their peak memory, the larger."""
        mine, others = asdict(self), asdict(other)
        total = {name: value + others[name] for name, value in mine.items()}
        return Effort(**total | {"peak_memory_mb": max(self.peak_memory_mb, other.peak_memory_mb)})

    @property
    def photos_per_second(self) -> float:
        """Photos per second after the first photo of each run; 0 if nothing was predicted."""
        if self.steady_photos:
            return self.steady_photos / self.steady_seconds
        return self.photos / self.seconds if self.seconds else 0.0

    @property
    def shares(self) -> dict[str, float]:
        """The shares of all threads' time that decoding, the network and the runs took."""
        whole = self.decode + self.network + self.runs or 1.0
        return {name: round(getattr(self, name) / whole, 3) for name in ("decode", "network", "runs")}


class Watch:
    """Measures the effort of one run, from its creation on."""

    def __init__(self) -> None:
        self._begun = perf_counter()
        self._first: float | None = None
        self._photos = 0

    def add_photo(self) -> None:
        """Counts a photo as predicted."""
        self._first = self._first or perf_counter()
        self._photos += 1

    def read(self, clock: Clock) -> Effort:
        """Returns the effort so far; the clock has the threads' seconds."""
        now = perf_counter()
        steady = (self._photos - 1, now - self._first) if self._first else (0, 0.0)
        threads = (clock.decode, clock.compute, clock.runs)
        return Effort(self._photos, now - self._begun, *steady, *threads, _peak_memory())


def path_of(folder: Path, rank: int) -> Path:
    """Returns the path of a process's effort in a folder of shards."""
    return folder / f"effort-{rank}.json"


def write(path: Path, effort: Effort) -> None:
    """Writes an effort as JSON."""
    write_json(path, asdict(effort))


def read(path: Path) -> Effort:
    """Returns the effort that `write` wrote; no effort if the file is missing or damaged."""
    with contextlib.suppress(UserError), reading(path, "is not an effort", "it is measured anew"):
        return Effort(**json.loads(path.read_text(encoding="utf-8")))
    return Effort()


def summarise(folder: Path, how: Settings, processes: int) -> tuple[Speed, dict[str, Any]]:
    """Returns the speed of all processes that have predicted into a folder, and the rest of what there is to say."""
    efforts = [read(path) for path in sorted(folder.glob("effort-*.json"))]
    whole = Effort()
    for each in efforts:
        whole = whole.plus(each)
    speed = Speed(
        seconds=max((each.seconds for each in efforts), default=0.0),
        photos=whole.photos,
        photos_per_second=sum(each.photos_per_second for each in efforts),
        engine=how.engine,
        device=how.on.type,
        processor=device.processor(how.on),
        precision=device.precision_name(how.on),
        processes=processes,
        threads=how.threads,
        cores=cores(),
    )
    return speed, {"shares_of_threads": whole.shares, "peak_memory_mb": whole.peak_memory_mb}


def _peak_memory() -> int:
    """Returns this process's peak memory in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)
