"""Augmentation of a batch on its device: a photo and its mask always move together."""

import math
from dataclasses import dataclass
from typing import Self

import cv2
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

# A matrix leads from a pixel of the result to where it comes from.
_WARP = {"flags": cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP, "borderMode": cv2.BORDER_REFLECT}


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

        They are those in `rows` of the batch; masks stay soft. Interpolation is bicubic, because bilinear would blur
        outlines that are sharp in prediction. Beyond the border, the picture is mirrored (the slides' 'symmetric'), so
        that no corner is black. Photos are expected to be contiguous.
        """
        motion, colour = (None if each is None else each[rows] for each in (self.motion, self.colour))
        change = _by_opencv if photos.device.type == "cpu" else _by_torch
        return change(photos, masks, self.flipped[rows], motion, colour)


def _by_opencv(
    photos: Tensor, masks: Tensor, flipped: Tensor, motion: Tensor | None, colour: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Does what `_by_torch` does, up to rounding, on a CPU in a third of the time."""
    height, width = masks.shape[1:]
    matrices = None if motion is None else _in_pixels(motion.double().numpy(), height, width)
    changed = []
    for place, pair in enumerate(zip(photos.numpy(), masks.numpy(), strict=True)):
        photo, mask = (cv2.flip(each, 1) for each in pair) if flipped[place] else pair
        if matrices is not None:
            photo, mask = (cv2.warpAffine(each, matrices[place], (width, height), **_WARP) for each in (photo, mask))
        if colour is not None:
            photo = cv2.transform(photo, colour[place].numpy())
        changed.append((photo, mask))
    changed_photos, changed_masks = (torch.from_numpy(np.stack(each)) for each in zip(*changed, strict=True))
    return changed_photos, changed_masks


def _in_pixels(motion: NDArray[np.float64], height: int, width: int) -> NDArray[np.float64]:
    """Returns motion [n, 2, 3] with places as pixels count them, from 0, in place of halves of width and height."""
    halves = np.array([[2 / width, 0, 1 / width - 1], [0, 2 / height, 1 / height - 1], [0, 0, 1]])
    matrices = np.linalg.inv(halves)[:2, :2] @ motion @ halves
    matrices[:, :, 2] += [(width - 1) / 2, (height - 1) / 2]
    return matrices


def _by_torch(
    photos: Tensor, masks: Tensor, flipped: Tensor, motion: Tensor | None, colour: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Changes photos and masks on a GPU; see `Augmentation.apply`."""
    on, (count, height, width) = photos.device, masks.shape
    mirrored = device.send(flipped, on)
    photos = torch.where(mirrored[:, None, None, None], photos.flip(2), photos)
    masks = torch.where(mirrored[:, None, None], masks.flip(2), masks)
    if motion is not None:
        grid = functional.affine_grid(device.send(motion, on), [count, 1, height, width], align_corners=False)
        photos = _sample(photos.permute(0, 3, 1, 2), grid).permute(0, 2, 3, 1)
        masks = _sample(masks.unsqueeze(1), grid).squeeze(1)
    if colour is not None:
        matrix, flat = device.send(colour, on), photos.float().reshape(count, height * width, 3)
        changed = torch.baddbmm(matrix[:, None, :, 3], flat, matrix[:, :, :3].transpose(1, 2))
        photos = _to_bytes(changed).reshape(count, height, width, 3)
    return photos, masks


def _sample(pictures: Tensor, grid: Tensor) -> Tensor:
    return _to_bytes(functional.grid_sample(pictures.float(), grid, "bicubic", "reflection", align_corners=False))


def _to_bytes(values: Tensor) -> Tensor:
    return values.clamp_(0, 255).round_().to(torch.uint8)


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
