"""How to predict: what affects the masks, and what affects the speed."""

import importlib.util
import sys
from dataclasses import dataclass
from typing import Self

import torch

from carvana.base.params import Params
from carvana.devices import device


@dataclass(frozen=True)
class Settings:
    """Threshold, flip and scales change masks; device and engine change rounding; the rest changes only speed."""

    threshold: float
    flip: bool
    scales: tuple[float, ...]
    on: torch.device
    engine: str
    workers: int
    batch_size: int

    @property
    def threads(self) -> int:
        """Threads that compute, on a CPU."""
        return max(self.workers, 1)

    def describe(self) -> str:
        """Returns what computes, in words: `openvino on cpu in bfloat16, 2 threads; 2 processes decode`."""
        by = f"{self.engine} on {device.describe(self.on)} in {device.precision_name(self.on)}"
        share = f"{self.threads} threads" if self.on.type == "cpu" else f"{self.batch_size} photos at a time"
        return f"{by}, {share}; {self.workers or 'no other'} processes decode"

    @classmethod
    def of(cls, params: Params) -> Self:
        """Returns the settings that the parameters name. Raises UserError if the device is not available."""
        how, runtime = params.predict, params.runtime
        on = device.pick(runtime.device)
        engine = choose_engine(runtime.engine) if on.type == "cpu" else "torch"
        return cls(how.threshold, how.flip, how.scales, on, engine, runtime.workers, runtime.batch_size)


def choose_engine(name: str) -> str:
    """Returns `torch` or, if it is installed, `openvino` for a value of `runtime.engine`; says if it is missing."""
    if name != "torch" and importlib.util.find_spec("openvino"):
        return "openvino"
    if name == "openvino":
        print("openvino is not installed (`pip install openvino`); torch computes instead", file=sys.stderr)
    return "torch"
