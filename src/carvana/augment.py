"""Augmentation of a batch on its device: a photo and its mask always move together."""

import torch
from torch import Tensor


def flip(photos: Tensor, masks: Tensor, probability: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mirrors each photo [n, height, width, 3] with its mask [n, height, width] at `probability`.

    `generator` is on the CPU, so that the same seed gives the same batches on every device.
    """
    mirrored = torch.rand(len(photos), generator=generator) < probability
    mirrored = mirrored.to(photos.device)
    return (
        torch.where(mirrored[:, None, None, None], photos.flip(2), photos),
        torch.where(mirrored[:, None, None], masks.flip(2), masks),
    )
