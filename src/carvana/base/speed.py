"""The speed of a training or a prediction: a record beside its result, on which no stage depends."""

import contextlib
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from time import perf_counter

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

from carvana.base import paths
from carvana.base.errors import UserError, reading
from carvana.base.files import write_json
from carvana.base.processes import cores, peak_memory
from carvana.base.unfinished import versions


@dataclass(frozen=True, config=ConfigDict(strict=True, allow_inf_nan=False))
class Speed:
    """How long the work took, and what did it.

    A training's photos are those that it trained on, counted once an epoch, and its seconds include validation and
    those of all its runs if it was resumed. A prediction's photos are those of its last run: a resumed one has fewer.
    Its `photos_per_second` is without the time before the first photo, in which the network is loaded or compiled and
    workers start; its seconds include that time.
    """

    seconds: float
    photos: int
    photos_per_second: float
    engine: str  # torch or openvino
    device: str  # cpu, cuda, mps
    processor: str  # the name of the GPU, or of the CPU
    precision: str
    processes: int
    threads: int  # of each process
    packages: tuple[str, ...] = ()  # that computed, with their versions; `write` adds them


def read(path: Path) -> Speed:
    """Returns the record that `write` wrote. Raises UserError if the file is missing or something else."""
    with reading(path, "is not a record of speed", "`dvc repro -f train predict` makes it"):
        return TypeAdapter(Speed).validate_json(path.read_text(encoding="utf-8"))


def write(path: Path, speed: Speed) -> None:
    """Writes the record as JSON, with the packages and cores of this process, and its peak memory in MB."""
    numbers = {"seconds": round(speed.seconds, 2), "photos_per_second": round(speed.photos_per_second, 2)}
    here = {"packages": versions(), "cores": cores(), "peak_memory_mb": peak_memory()}
    write_json(path, asdict(speed) | numbers | here)


def warn_of_other_packages(folds: Iterable[int]) -> None:
    """Prints which packages have changed since the models of some folds were trained; DVC does not notice."""
    for path in map(paths.training_speed, folds):
        # Without a record there is nothing to say; one of an earlier version has no packages.
        with contextlib.suppress(UserError):
            if others := set(read(path).packages) - set(versions()):
                print(
                    f"warning: {path.stem} was trained with {', '.join(sorted(others))}; what is installed now may "
                    "decode or compute slightly differently, and `dvc repro -f train` trains it again",
                    file=sys.stderr,
                )


class Stopwatch:
    """Counts photos, and the seconds since its creation."""

    def __init__(self) -> None:
        self._begun = self._first = perf_counter()
        self.photos = 0

    def add_photo(self) -> None:
        """Counts a photo as done."""
        self.photos += 1
        if self.photos == 1:
            self._first = perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the creation."""
        return perf_counter() - self._begun

    @property
    def photos_per_second(self) -> float:
        """Photos per second after the first one; of a single photo that of its whole time, of none 0."""
        if self.photos < 2:
            return self.photos / self.seconds
        return (self.photos - 1) / (perf_counter() - self._first)
