"""Augmentation of a batch on its device: a photo and its mask always move together."""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from carvana.base.params import Augment
from carvana.devices import device

# The weights of R, G and B in brightness (ITU-R BT.601), then the two colour axes of YIQ, in which hue is an angle.
_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.595716, -0.274453, -0.321263], [0.211456, -0.522591, 0.311135]])

_CLOSEST = 1.4  # a close-up's largest enlargement


@dataclass(frozen=True)
class Augmentation:
    """The random changes to each photo of a batch; see `draw`. Tensors are on the CPU, float32 by default."""

    flipped: Tensor  # bool [n]
    motion: Tensor | None  # [n, 2, 3]: where a pixel of the result comes from, in halves of width and height
    colour: Tensor | None  # [n, 3, 4]: maps (R, G, B, 1) to a colour of the result, in 0–255

    @classmethod
    def draw(cls, count: int, size: tuple[int, int], limits: Augment, generator: torch.Generator) -> Self:
        """Draws changes for `count` photos of `size` (height, width), each uniformly within its limits.

        `generator` is on the CPU, and every change is drawn even if its limit is 0, except for close-ups. So a seed
        leads to the same flips on every device, whichever other changes are on.
        """
        flip, *uniform = torch.rand(9, count, generator=generator)
        angle, right, down, scale, brightness, contrast, saturation, hue = (2 * value - 1 for value in uniform)
        motion = colour = None
        if limits.rotation or limits.shift or limits.scale or limits.close_up:
            close, nearness = torch.rand(2, count, generator=generator) if limits.close_up else torch.ones(2, count)
            near, enlarged = close < limits.close_up, 1 + nearness * (_CLOSEST - 1)
            # A close-up's view stays within the photo.
            furthest = torch.where(near, 1 - 1 / enlarged, 2 * limits.shift)
            motion = _motion(
                size,
                angle * math.radians(limits.rotation),
                torch.stack([right, down], dim=1) * furthest[:, None],
                torch.where(near, enlarged, 1 + scale * limits.scale),
            )
        if limits.brightness or limits.contrast or limits.saturation or limits.hue:
            colour = _colour(
                1 + brightness * limits.brightness,
                1 + contrast * limits.contrast,
                1 + saturation * limits.saturation,
                hue * math.radians(limits.hue),
            )
        return cls(flip < limits.flip, motion, colour)

    def apply(
        self, photos: Tensor, masks: Tensor, rows: NDArray[np.integer] | slice = slice(None)
    ) -> tuple[Tensor, Tensor]:
        """Returns photos uint8 [n, height, width, 3] and masks uint8 [n, height, width], changed, on their device.

        They are those in `rows` of the batch. Photos stay uint8 if they are only flipped, and become float32 in 0–255
        otherwise; masks stay uint8 and soft. Beyond the border, the picture is mirrored (the slides' 'symmetric'), so
        that no corner is black. Photos are expected to be contiguous.
        """
        mirrored = device.send(self.flipped[rows], photos.device)
        photos = torch.where(mirrored[:, None, None, None], photos.flip(2), photos)
        masks = torch.where(mirrored[:, None, None], masks.flip(2), masks)
        if self.motion is not None:
            motion = device.send(self.motion[rows], photos.device)
            grid = functional.affine_grid(motion, [len(photos), 1, *masks.shape[1:]], align_corners=False)
            photos = _sample(photos.permute(0, 3, 1, 2).float(), grid).permute(0, 2, 3, 1)
            masks = _sample(masks.unsqueeze(1).float(), grid).squeeze(1).round().to(torch.uint8)
        if self.colour is not None:
            matrix = device.send(self.colour[rows], photos.device)
            height, width = masks.shape[1:]
            flat = photos.float().reshape(len(photos), height * width, 3)
            changed = torch.baddbmm(matrix[:, None, :, 3], flat, matrix[:, :, :3].transpose(1, 2))
            photos = changed.clamp_(0, 255).reshape(len(photos), height, width, 3)
        return photos, masks


def _sample(pictures: Tensor, grid: Tensor) -> Tensor:
    """Samples pictures in 0–255 at a grid. Bicubic, as bilinear would blur outlines that are sharp in prediction."""
    return functional.grid_sample(pictures, grid, "bicubic", "reflection", align_corners=False).clamp_(0, 255)


def _motion(size: tuple[int, int], angle: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Returns [n, 2, 3]: rotation by `angle` in radians, scaling, and a shift [n, 2] in halves of width and height."""
    height, width = size
    cosine, sine = torch.cos(angle) / scale, torch.sin(angle) / scale
    # affine_grid measures in halves of width and of height, but angles must be preserved in pixels.
    rows = [cosine, -sine * height / width, shift[:, 0], sine * width / height, cosine, shift[:, 1]]
    return torch.stack(rows, dim=1).reshape(-1, 2, 3)


def _colour(brightness: Tensor, contrast: Tensor, saturation: Tensor, hue: Tensor) -> Tensor:
    """Returns [n, 3, 4]: hue turned in YIQ (radians), saturation and contrast scaled about grey, then brightness."""
    zero, one = torch.zeros_like(hue), torch.ones_like(hue)
    cosine, sine = saturation * torch.cos(hue), saturation * torch.sin(hue)
    turn = torch.stack([one, zero, zero, zero, cosine, -sine, zero, sine, cosine], dim=1).reshape(-1, 3, 3)
    matrix = torch.linalg.inv(_YIQ) @ turn @ _YIQ
    offset = (1 - contrast) * 255 / 2
    changed = torch.cat([contrast[:, None, None] * matrix, offset[:, None, None].expand(-1, 3, 1)], dim=2)
    return changed * brightness[:, None, None]
