"""Optimizers by name, and schedules as plain functions of the step: nothing to save, nothing to resume."""

import math

from torch import nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from carvana.base.params import Train
from carvana.training.history import Epoch

_MOMENTUM = 0.9

# https://arxiv.org/abs/1708.07120 with the defaults of torch's OneCycleLR: the share of steps in which the rate rises,
# its first and last value as shares of the peak, and the momentum (Adam's first beta) away from and at the peak.
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4
_MOMENTUM_OFF_PEAK, _MOMENTUM_AT_PEAK = 0.95, 0.85

_PLATEAU_EPOCHS, _PLATEAU_FACTOR = 4, 0.3  # epochs without a better validation, then the factor


def build_optimizer(model: nn.Module, settings: Train) -> Optimizer:
    """Returns Adam, AdamW, or SGD with Nesterov momentum, with groups for the encoder and the rest.

    As usual, only matrices and kernels have weight decay. `share` is a group's share of the learning rate.
    """
    encoder = [value for name, value in model.named_parameters() if ".encoder." in name]
    others = [value for name, value in model.named_parameters() if ".encoder." not in name]
    groups = []
    for share, part in [(settings.encoder_rate, encoder), (1.0, others)]:
        decayed, free = [value for value in part if value.ndim > 1], [value for value in part if value.ndim <= 1]
        groups.append({"params": decayed, "weight_decay": settings.weight_decay, "share": share})
        groups.append({"params": free, "weight_decay": 0.0, "share": share})
    if settings.optimizer == "sgd":
        return SGD(groups, lr=settings.learning_rate, momentum=_MOMENTUM, nesterov=True)
    return {"adam": Adam, "adamw": AdamW}[settings.optimizer](groups, lr=settings.learning_rate)


def schedule(optimizer: Optimizer, settings: Train, step: int, steps_per_epoch: int, history: list[Epoch]) -> float:
    """Sets the optimizer up for a step, counted from 0 over all epochs, and returns the learning rate.

    `one_cycle` rises to the peak and falls to almost 0, with momentum in the opposite direction. `cosine` falls along
    half a cosine. `plateau` multiplies by 0.3 after every 4 epochs without a better validation. `constant` stays. The
    last three begin with a linear rise over `warmup` epochs.
    """
    steps = settings.epochs * steps_per_epoch
    if settings.schedule == "one_cycle":
        factor, momentum = _one_cycle(step, steps)
        _set_momentum(optimizer, momentum)
    else:
        warmup = settings.warmup * steps_per_epoch
        factor = min(1.0, (step + 1) / (warmup + 1))
        if settings.schedule == "cosine" and step > warmup:
            factor = _cosine(1, 0, (step - warmup) / max(1.0, steps - warmup))
        if settings.schedule == "plateau":
            factor *= _PLATEAU_FACTOR ** _plateaus(history)
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * factor * group["share"]
    return settings.learning_rate * factor


def _one_cycle(step: int, steps: int) -> tuple[float, float]:
    """Returns the learning rate, as a share of the peak, and the momentum at a step."""
    top = _RISE * steps - 1
    if step <= top:
        return _cosine(_FIRST, 1, step / top), _cosine(_MOMENTUM_OFF_PEAK, _MOMENTUM_AT_PEAK, step / top)
    share = (step - top) / (steps - 1 - top)
    return _cosine(1, _LAST, share), _cosine(_MOMENTUM_AT_PEAK, _MOMENTUM_OFF_PEAK, share)


def _set_momentum(optimizer: Optimizer, momentum: float) -> None:
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, *group["betas"][1:])
        else:
            group["momentum"] = momentum


def _plateaus(history: list[Epoch]) -> int:
    """Returns how often validation has gone `_PLATEAU_EPOCHS` epochs without a new best."""
    count = since = 0
    highest = -math.inf
    for epoch in history:
        since += 1
        if epoch.validation_dice_full_size > highest:
            highest, since = epoch.validation_dice_full_size, 0
        elif since == _PLATEAU_EPOCHS:
            count, since = count + 1, 0
    return count


def _cosine(start: float, end: float, share: float) -> float:
    """Returns the value at a share of the way from `start` to `end` along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
