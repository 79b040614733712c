"""Optimizers by name, and schedules as plain functions of the step: nothing to save, nothing to resume."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from carvana.base.params import Train

# https://arxiv.org/abs/1708.07120 with the defaults of torch's OneCycleLR: the share of steps in which the rate rises,
# its first and last value as shares of the peak, and the momentum (Adam's first beta) away from and at the peak.
_RISE, _FIRST, _LAST = 0.3, 1 / 25, 1 / 25e4
_MOMENTUM_OFF_PEAK, _MOMENTUM_AT_PEAK = 0.95, 0.85

# https://kellerjordan.github.io/posts/muon: momentum, and the coefficients and number of iterations. The share by which
# a step is as large as one of AdamW, so that its learning rates fit, is from https://arxiv.org/abs/2502.16982.
_MUON_MOMENTUM, _COEFFICIENTS, _ITERATIONS, _LIKE_ADAMW = 0.95, (3.4445, -4.7750, 2.0315), 5, 0.2
_MUON_FROM = 8  # outputs and inputs of a kernel


def build_optimizer(model: nn.Module, settings: Train) -> Optimizer:
    """Returns Adam, AdamW or Muon; as usual, only matrices and kernels have weight decay."""
    decayed = [value for value in model.parameters() if value.ndim > 1]
    free = [value for value in model.parameters() if value.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": settings.weight_decay}, {"params": free, "weight_decay": 0.0}]
    # Fused, a step is one pass over all weights; else it is dozens of small ones for each tensor.
    kind = {"adam": Adam, "adamw": AdamW, "muon": Muon}[settings.optimizer]
    return kind(groups, lr=settings.learning_rate, fused=True)


class Muon(AdamW):
    """Muon for the kernels of hidden layers, AdamW for all other weights.

    Muon (https://kellerjordan.github.io/posts/muon) sees a kernel as a matrix of outputs by inputs. Its step is the
    orthogonal matrix nearest to the mean gradient, in which every direction counts as much as the strongest. AdamW has
    kernels with fewer than 8 outputs or inputs, as those of depthwise convolutions and of narrow last layers are.
    """

    def __init__(self, groups: list[dict[str, Any]], lr: float, fused: bool) -> None:
        super().__init__(groups, lr=lr, fused=fused)
        # Else torch's scaler would leave it to this class to undo its scale, and to leave out a step.
        self._step_supports_amp_scaling = False

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Takes a step, and returns the loss if there is a closure that computes it."""
        hidden: list[tuple[Tensor, Tensor, dict[str, Any]]] = []
        for group in self.param_groups:
            for kernel in group["params"]:
                if kernel.ndim > 1 and min(kernel.shape[:2]) >= _MUON_FROM and kernel.grad is not None:
                    hidden.append((kernel, kernel.grad, group))
                    kernel.grad = None  # AdamW leaves it out.
        loss = super().step(closure)
        for kernel, gradient, group in hidden:
            kernel.grad = gradient
            if not (state := self.state[kernel]):
                # AdamW looks for a count of steps wherever it loads a state.
                state.update(step=torch.zeros(()), momentum=torch.zeros_like(kernel))
            mean = state["momentum"].lerp_(gradient, 1 - _MUON_MOMENTUM)
            change = orthogonal(gradient.lerp(mean, _MUON_MOMENTUM).flatten(1))
            kernel.mul_(1 - group["lr"] * group["weight_decay"])
            kernel.sub_(change.view_as(kernel), alpha=group["lr"] * _LIKE_ADAMW * max(change.shape) ** 0.5)
        return loss


def orthogonal(matrix: Tensor) -> Tensor:
    """Returns, for float32 [m, n], nearly the closest orthogonal matrix: the singular values become about 1.

    Five steps of a Newton-Schulz iteration, as in torch.optim.Muon, bring those above a hundredth of the matrix's norm
    to 0.68–1.14. They are taken on the smaller of matrix · matrixᵀ and matrixᵀ · matrix, so that float32 is as fast as
    bfloat16 is on the matrix itself, and as fast on processors without bfloat16.
    """
    if matrix.shape[0] > matrix.shape[1]:
        return orthogonal(matrix.T).T
    first, third, fifth = _COEFFICIENTS
    matrix = matrix / matrix.norm().clamp(min=1e-7)
    square, identity = matrix @ matrix.T, torch.eye(len(matrix), device=matrix.device)
    product = identity
    for _ in range(_ITERATIONS):
        factor = first * identity + third * square + fifth * square @ square
        product, square = factor @ product, factor @ square @ factor
    return product @ matrix


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
