"""Losses on logits and soft targets."""

from torch import Tensor
from torch.nn import functional


def binary_cross_entropy(logits: Tensor, coverage: Tensor) -> Tensor:
    """Mean over all pixels of -(y log p + (1 - y) log(1 - p)), the slides' loss.

    `logits` and `coverage` (in 0–1) are float32 [n, height, width]. With soft targets its minimum is not 0
    but the entropy of the edge pixels.
    """
    return functional.binary_cross_entropy_with_logits(logits, coverage)
