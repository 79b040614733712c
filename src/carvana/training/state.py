"""The state of a training: all that its next epoch depends on, including its random seeds."""

from copy import deepcopy
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from carvana.base.params import Train
from carvana.base.processes import keep_freed_memory
from carvana.devices import device, distributed
from carvana.networks import models
from carvana.training import optimization
from carvana.training.history import Epoch, best


@dataclass
class State:
    """A training after an epoch; `forward` is the model, or a wrapper that also averages gradients over processes."""

    model: models.Model
    forward: nn.Module
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
    # cuDNN stays as it is: with `cudnn.benchmark` the first step at a size took 29 to 42 seconds on an H100, and the
    # others about as long as without.
    if on.type == "cpu":
        keep_freed_memory()  # saves about 12 % of a step
    torch.manual_seed(_number(settings.seed, 0, 0))
    model = models.build(settings.network, settings.encoder_weights).to(on)
    if distributed.world() > 1 and on.type == "cuda":
        from carvana.networks import zoo  # noqa: PLC0415 - seconds of imports

        # On a CPU each process has its own batch norm.
        zoo.share_batch_norm(model)
    scaler = torch.amp.GradScaler(on.type, enabled=device.precision_name(on, settings.precision) == "float16")
    forward = distributed.wrap(model, settings.size)
    return State(model, forward, optimization.build_optimizer(model, settings), scaler)


def begin_epoch(number: int, settings: Train, rank: int) -> torch.Generator:
    """Seeds torch's own draws in this process (dropout); returns the generator for order and augmentation.

    Epochs are numbered from 1. The generator is the same in every process, but each `rank` has its own seed.
    """
    # Counted from 1: numpy ignores zeros at the end of a seed, so rank 0 would draw the generator's numbers.
    torch.manual_seed(_number(settings.seed, number, 1 + rank))
    return torch.Generator().manual_seed(_number(settings.seed, number))


def _number(*seeds: int) -> int:
    return int(np.random.SeedSequence(seeds).generate_state(1)[0])
