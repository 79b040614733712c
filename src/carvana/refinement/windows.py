"""Windows along the outline that a first network sees, and logits as bad as it computes for cars that are new to it."""

import torch
from torch import Tensor
from torch.nn import functional

# What spoils the logits of photos that the first network has been trained on. Measured: without, the second look trusts
# them too much.
_FAINTEST = 0.4  # the smallest factor
_OFFSET = 0.3  # standard deviation of a constant
_NOISE, _NOISY, _NOISE_SIDE = 1.5, 0.7, 32  # of a smooth noise: standard deviation, share of photos, grid


def spoil(logits: Tensor, random: torch.Generator) -> Tensor:
    """Returns logits [n, height, width], each photo's weakened, offset, with a smooth noise, moved by a pixel.

    `random` is on the CPU, so that a seed spoils in the same way on every device.
    """
    count, height, width = logits.shape
    factors = 1 - (1 - _FAINTEST) * torch.rand(count, 1, 1, generator=random)
    offsets = _OFFSET * torch.randn(count, 1, 1, generator=random)
    grid = _NOISE * torch.randn(count, 1, _NOISE_SIDE, _NOISE_SIDE, generator=random)
    noisy = torch.rand(count, 1, 1, generator=random) < _NOISY
    moves = torch.randint(-1, 2, (count, 2), generator=random).tolist()
    noise = functional.interpolate(grid, size=(height, width), mode="bicubic", align_corners=False).squeeze(1)
    change = (offsets + noise * noisy).to(logits.device)
    spoiled = logits * factors.to(logits.device) + change
    return torch.stack([each.roll(tuple(move), (0, 1)) for each, move in zip(spoiled, moves, strict=True)])


def corners(logits: Tensor, full: tuple[int, int], window: int, count: int, random: torch.Generator) -> Tensor:
    """Returns the upper left corners int64 [n, count, 2] of `count` windows of each photo of size `full`.

    A window of `window`² pixels contains a place where the sign of the logits [n, height, width] changes, if there is
    one, and lies within the photo.
    """
    room = torch.tensor(full) - window
    scale = torch.tensor(full) / torch.tensor(logits.shape[1:])
    signs = logits > 0
    changes = torch.zeros_like(signs)
    changes[:, :, 1:] |= signs[:, :, 1:] != signs[:, :, :-1]
    changes[:, 1:] |= signs[:, 1:] != signs[:, :-1]
    chosen = []
    for change in changes.cpu():
        places = change.nonzero()
        anywhere = (torch.rand(count, 2, generator=random) * torch.tensor(logits.shape[1:])).long()
        if len(places):
            anywhere = places[torch.randint(len(places), (count,), generator=random)]
        inside = torch.rand(count, 2, generator=random) * window
        chosen.append((anywhere * scale - inside).round().long().clamp(min=0).minimum(room))
    return torch.stack(chosen)


def cut(pictures: Tensor, places: Tensor, window: int) -> Tensor:
    """Returns the windows [n · count, …, window, window] of pictures [n, …, height, width], photo by photo."""
    return torch.stack(
        [
            picture[..., y : y + window, x : x + window]
            for picture, each in zip(pictures, places.tolist(), strict=True)
            for y, x in each
        ]
    )
