"""The state of a training: all that its next epoch depends on, including its random seeds."""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from carvana.base.errors import first_line
from carvana.base.params import Train
from carvana.devices import device, distributed
from carvana.networks import models
from carvana.training import optimization
from carvana.training.history import Epoch, best


@dataclass
class State:
    """The state of a training after an epoch."""

    model: models.Model
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0  # that all epochs have taken, those before a kill too

    def add(self, epoch: Epoch, seconds: float) -> None:
        """Adds an epoch and the time it took, and keeps the current weights if it is the best so far."""
        self.history.append(epoch)
        self.seconds += seconds
        if best(self.history) is epoch:
            self.best = deepcopy(self.model.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
            "best": self.best,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best = state["best"]
        self.seconds = state["seconds"]


def begin(settings: Train, on: torch.device) -> State:
    """Returns a training before its first epoch, on a device; the settings' seed determines its initial weights."""
    seed(settings.seed, 0, 0)
    model = models.build(settings.network, settings.encoder_weights).to(on)
    if distributed.shares_batch_norm(on):
        from carvana.networks import zoo  # noqa: PLC0415 - seconds of imports

        zoo.share_batch_norm(model)
    half = device.precision_name(on, settings.precision) == "float16"
    scaler = torch.amp.GradScaler(on.type, enabled=half)
    return State(model, optimization.build_optimizer(model, settings), scaler)


def resumed(make: Callable[[], State], kept: dict[str, Any] | None, saved: Path | None) -> State:
    """Returns a new training in the state `kept`, which was read from `saved`; as new if there is none.

    A state of another training is left alone, with a message.
    """
    state = make()
    if not kept:
        return state
    try:
        state.load_state_dict(kept)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        print(f"{saved} is of another training ({first_line(error)}); training starts over")
        return make()
    return state


def begin_epoch(number: int, settings: Train, rank: int) -> torch.Generator:
    """Seeds torch's own draws in this process (dropout); returns the generator for order and augmentation.

    Epochs are numbered from 1. The generator is the same in every process, but each `rank` has its own seed.
    """
    # Counted from 1: numpy ignores zeros at the end of a seed, so rank 0 would draw the generator's numbers.
    seed(settings.seed, number, 1 + rank)
    return torch.Generator().manual_seed(_number(settings.seed, number))


def seed(*seeds: int) -> None:
    """Seeds torch's own draws (initial weights, dropout)."""
    torch.manual_seed(_number(*seeds))


def _number(*seeds: int) -> int:
    return int(np.random.SeedSequence(seeds).generate_state(1)[0])
