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
class Progress:
    """The state of a training after an epoch."""

    model: models.Model
    average: Any | None  # timm's ModelEmaV3
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    fewest: int  # photos that the network can be trained on at a time
    history: list[Epoch] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)
    seconds: float = 0.0  # that all epochs have taken, those before a kill too

    @property
    def judged(self) -> models.Model:
        """The model that is validated and kept: the average if there is one."""
        return self.average.module if self.average is not None else self.model

    def add(self, epoch: Epoch, seconds: float) -> None:
        """Adds an epoch and the time it took, and keeps the current weights if it is the best so far."""
        self.history.append(epoch)
        self.seconds += seconds
        if best(self.history) is epoch:
            self.best = deepcopy(self.judged.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """Returns the whole state, as tensors and plain values."""
        return {
            "model": self.model.state_dict(),
            "average": self.average.state_dict() if self.average is not None else {},
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "history": [asdict(epoch) for epoch in self.history],
            "best": self.best,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned."""
        self.model.load_state_dict(state["model"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.history = [Epoch(**epoch) for epoch in state["history"]]
        self.best = state["best"]
        self.seconds = state["seconds"]


def begin(settings: Train, on: torch.device) -> Progress:
    """Returns a training before its first epoch, on a device; the settings' seed determines its initial weights."""
    shared = distributed.shares_batch_norm(on)
    fewest = 1 if shared else models.fewest_photos(settings.network, settings.size)
    seed(settings.seed, 0, 0)
    model = models.build(settings.network, settings.encoder_weights)
    model.to(on)
    average = None
    if shared or settings.ema:
        from carvana.networks import zoo  # noqa: PLC0415 - seconds of imports

        if shared:
            zoo.share_batch_norm(model)
        if settings.ema:
            average = zoo.average(model, settings.ema)
    half = device.precision_name(on, settings.precision) == "float16"
    scaler = torch.amp.GradScaler(on.type, enabled=half)
    return Progress(model, average, optimization.build_optimizer(model, settings), scaler, fewest)


def resumed(make: Callable[[], Progress], kept: dict[str, Any] | None, saved: Path | None) -> Progress:
    """Returns a new training in the state `kept`, which was read from `saved`; as new if there is none.

    A state of another training is left alone, with a message.
    """
    progress = make()
    if not kept:
        return progress
    try:
        progress.load_state_dict(kept)
    except (LookupError, TypeError, ValueError, RuntimeError) as error:
        print(f"{saved} is of another training ({first_line(error)}); training starts over")
        return make()
    return progress


def begin_epoch(number: int, settings: Train, rank: int) -> torch.Generator:
    """Seeds torch's own draws in this process (dropout); returns the generator for order and augmentation.

    Epochs are numbered from 1. The generator is the same in every process, but each `rank` has its own seed.
    """
    # Counted from 1: numpy ignores zeros at the end of a seed, so rank 0 would draw the generator's numbers.
    seed(settings.seed, number, 1 + rank)
    return generator(settings.seed, number)


def generator(*seeds: int) -> torch.Generator:
    """Returns a generator on the CPU, the same on every device and in every process."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))


def seed(*seeds: int) -> None:
    """Seeds torch's own draws (initial weights, dropout)."""
    torch.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
