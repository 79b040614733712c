"""Optimizers by name, and schedules as plain functions of the step: nothing to save, nothing to resume."""

import math

from torch import nn
from torch.optim import Adam, AdamW, Optimizer

from carvana.base.params import Train

# https://arxiv.org/abs/1708.07120 with the defaults of torch's OneCycleLR: the share of steps in which the rate rises,
# its first and last value as shares of the peak, and the momentum (Adam's first beta) away from and at the peak.
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4
_MOMENTUM_OFF_PEAK, _MOMENTUM_AT_PEAK = 0.95, 0.85


def build_optimizer(model: nn.Module, settings: Train) -> Optimizer:
    """Returns Adam or AdamW; as usual, only matrices and kernels have weight decay."""
    decayed = [value for value in model.parameters() if value.ndim > 1]
    free = [value for value in model.parameters() if value.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    # Fused, a step is one pass over all weights; else it is dozens of small ones for each tensor.
    return {"adam": Adam, "adamw": AdamW}[settings.optimizer](groups, lr=settings.learning_rate, fused=True)


def schedule(optimizer: Optimizer, settings: Train, step: int, steps: int) -> float:
    """Sets the optimizer up for one of `steps` steps, counted from 0 over all epochs, and returns the learning rate.

    `one_cycle` rises to the peak and falls to almost 0, with momentum in the opposite direction. `constant` stays.
    """
    if settings.schedule == "constant":
        return settings.learning_rate
    top = _RISE * steps - 1
    if step <= top:
        factor = _cosine(_FIRST, 1, step / top)
        momentum = _cosine(_MOMENTUM_OFF_PEAK, _MOMENTUM_AT_PEAK, step / top)
    else:
        share = (step - top) / (steps - 1 - top)
        factor, momentum = _cosine(1, _LAST, share), _cosine(_MOMENTUM_AT_PEAK, _MOMENTUM_OFF_PEAK, share)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor
        group["betas"] = (momentum, group["betas"][1])
    return settings.learning_rate * factor


def _cosine(start: float, end: float, share: float) -> float:
    """Returns the value at a share of the way from `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
