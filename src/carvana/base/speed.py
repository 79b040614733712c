"""The speed of a training or a prediction: a record beside its result, on which no stage depends."""

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Self

from carvana.base.errors import reading
from carvana.base.files import write_json


@dataclass(frozen=True)
class Speed:
    """How long the work took, all runs of a resumed one together, and what did it.

    A training's photos are those that it trained on, counted once an epoch, and its seconds include validation. A
    prediction's `photos_per_second` is without the time before its first photo, in which the network is loaded or
    compiled and workers start; its seconds include that time.
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
    cores: int  # of the machine, as far as the process may use them

    @classmethod
    def parse(cls, text: str, where: str) -> Self:
        """Returns the record that `write` wrote. Raises UserError if the text is something else; `where` names it."""
        with reading(where, "is not a record of speed", "`dvc repro -f train predict` makes it"):
            content = json.loads(text)
            values = {field.name: content[field.name] for field in fields(cls)}
            if not all(isinstance(values[name], int | float) for name in ("seconds", "photos", "photos_per_second")):
                raise ValueError("a number is missing")
            return cls(**values)


def write(path: Path, speed: Speed, **more: Any) -> None:
    """Writes the record as JSON, with `more` that only this kind of work has to say."""
    numbers = {"seconds": round(speed.seconds, 2), "photos_per_second": round(speed.photos_per_second, 2)}
    write_json(path, asdict(speed) | numbers | more)
