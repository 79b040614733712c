"""Losses on logits and soft targets, by name. All return a value for each photo, differentiable in the logits."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from carvana.params import Train

Loss = Callable[[Tensor, Tensor], Tensor]  # logits and coverage (in 0–1), both float32 [n, height, width] → [n]

_BAND = 5  # side in pixels of the window in which a mask must change for a pixel to lie on its boundary


def by_name(settings: Train) -> Loss:
    """The loss that the settings name, with their weights."""
    dice_weight, boundary_weight = settings.dice_weight, settings.boundary_weight
    return {
        "bce": binary_cross_entropy,
        "dice": dice,
        "bce_dice": lambda logits, coverage: (
            binary_cross_entropy(logits, coverage) + dice_weight * dice(logits, coverage)
        ),
        "bce_log_dice": lambda logits, coverage: (
            binary_cross_entropy(logits, coverage) + dice_weight * log_dice(logits, coverage)
        ),
        "boundary_bce": lambda logits, coverage: boundary_cross_entropy(logits, coverage, boundary_weight),
    }[settings.loss]


def binary_cross_entropy(logits: Tensor, coverage: Tensor) -> Tensor:
    """Mean over a photo's pixels of -(y log p + (1 - y) log(1 - p)), the slides' loss.

    With soft targets its minimum is not 0 but the entropy of the edge pixels.
    """
    return functional.binary_cross_entropy_with_logits(logits, coverage, reduction="none").mean(dim=(1, 2))


def dice(logits: Tensor, coverage: Tensor) -> Tensor:
    """1 - 2 Σ p y / (Σ p² + Σ y²) of a photo (https://arxiv.org/abs/1606.04797).

    With squares below, a soft target is best met by p = y; with plain sums (the other common form) by a hardened one.
    """
    return 1 - _soft_dice(logits, coverage)


def log_dice(logits: Tensor, coverage: Tensor) -> Tensor:
    """-log of the soft Dice of a photo: steeper than 1 - Dice if it is bad; the contest's winners used it."""
    return -_soft_dice(logits, coverage).log()


def boundary_cross_entropy(logits: Tensor, coverage: Tensor, weight: float) -> Tensor:
    """Cross entropy in which a pixel near the outline counts 1 + `weight` times; a weighted mean over the photo."""
    inside = coverage.unsqueeze(1)
    highest = functional.max_pool2d(inside, _BAND, stride=1, padding=_BAND // 2)
    lowest = -functional.max_pool2d(-inside, _BAND, stride=1, padding=_BAND // 2)
    # 1 where coverage goes from 0 to 1 within the window, 0 where it is even.
    change = highest - lowest
    weights = 1 + weight * change.squeeze(1)
    entropy = functional.binary_cross_entropy_with_logits(logits, coverage, reduction="none")
    return (weights * entropy).sum(dim=(1, 2)) / weights.sum(dim=(1, 2))


def _soft_dice(logits: Tensor, coverage: Tensor) -> Tensor:
    probabilities = torch.sigmoid(logits)
    # Smoothed by one pixel, so that a photo without a car is worth learning from too.
    both = 2 * (probabilities * coverage).sum(dim=(1, 2)) + 1
    return both / (probabilities.square().sum(dim=(1, 2)) + coverage.square().sum(dim=(1, 2)) + 1)
