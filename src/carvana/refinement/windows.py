"""Windows of photos along the outline that a first network sees."""

import torch
from torch import Tensor


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
