"""Targets of masks, losses on logits by name (a value for each photo), and the Dice that is shown beside them."""

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

Loss = Callable[[Tensor, Tensor], Tensor]  # logits and coverage (in 0–1), both float32 [n, height, width] → [n]

_BAND = 5  # side in pixels of the window in which a mask must change for a pixel to lie on its boundary


def coverage_of(masks: Tensor, kind: str) -> Tensor:
    """Returns targets float32 in 0–1 for masks uint8 in 0–255: coverage as it is (`soft`), or 0 and 1 (`hard`)."""
    return (masks >= 128).float() if kind == "hard" else masks.float() / 255


def by_name(name: str, boundary_weight: float) -> Loss:
    """Returns the loss of a name; `boundary_weight` is for boundary_bce."""
    return {
        "bce": binary_cross_entropy,
        "boundary_bce": lambda logits, coverage: boundary_cross_entropy(logits, coverage, boundary_weight),
    }[name]


def binary_cross_entropy(logits: Tensor, coverage: Tensor) -> Tensor:
    """Returns each photo's mean of -(y log p + (1 - y) log(1 - p)), the slides' loss; 0 is out of reach for soft y."""
    return functional.binary_cross_entropy_with_logits(logits, coverage, reduction="none").mean(dim=(1, 2))


def boundary_cross_entropy(logits: Tensor, coverage: Tensor, weight: float) -> Tensor:
    """Returns each photo's weighted mean of cross entropy; a pixel near the outline counts up to 1 + `weight` times."""
    weights = 1 + weight * _change(coverage)
    entropy = functional.binary_cross_entropy_with_logits(logits, coverage, reduction="none")
    return (weights * entropy).sum(dim=(1, 2)) / weights.sum(dim=(1, 2))


def _change(coverage: Tensor) -> Tensor:
    """Returns 1 where coverage goes from 0 to 1 within the window around a pixel, 0 where it is constant."""
    if coverage.device.type == "cpu":
        # The same values as torch's in a twelfth of the time, which was a sixth of the default's step.
        window = np.ones((_BAND, _BAND), np.uint8)
        changes = [cv2.morphologyEx(one, cv2.MORPH_GRADIENT, window) for one in coverage.numpy()]
        return torch.from_numpy(np.stack(changes))
    highest = functional.max_pool2d(coverage, _BAND, stride=1, padding=_BAND // 2)
    return highest + functional.max_pool2d(-coverage, _BAND, stride=1, padding=_BAND // 2)


def dice_per_photo(logits: Tensor, coverage: Tensor) -> Tensor:
    """Returns Dice [n] of logits > 0 against coverage >= 1/2, both [n, height, width]; 1 if both are empty."""
    predicted, true = logits > 0, coverage >= 0.5
    total = predicted.sum(dim=(1, 2)) + true.sum(dim=(1, 2))
    both = (predicted & true).sum(dim=(1, 2))
    return torch.where(total > 0, 2 * both / total.clamp(min=1), torch.ones_like(total, dtype=torch.float32))
