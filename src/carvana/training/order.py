"""The order of an epoch's photos: every real one once, and pseudo-labelled ones evenly between them."""

import math

import numpy as np
import torch

from carvana.data.joined import Rows


def photos_of(real: int, pseudo: int, share: float) -> int:
    """Returns how many photos an epoch has: the real ones, and as many others as make `share` of all, 0 <= share < 1.

    With few pseudo-labelled photos, each comes several times in an epoch; with none, there are the real ones alone.
    """
    return real + (round(real * share / (1 - share)) if pseudo else 0)


def draw(real: Rows, pseudo: Rows, share: float, random: torch.Generator) -> Rows:
    """Returns an epoch's rows: all of `real` in a new order, and among them `share` of rows drawn from `pseudo`.

    Every part of the order has its share, to a photo, so that every batch has. No row of `pseudo` is drawn once more
    than another.
    """
    order = real[torch.randperm(len(real), generator=random).numpy()]
    count = photos_of(len(real), len(pseudo), share)
    added = count - len(real)
    if not added:
        return order
    turns = [torch.randperm(len(pseudo), generator=random) for _ in range(math.ceil(added / len(pseudo)))]
    is_pseudo = np.diff(np.arange(count + 1) * added // count) == 1
    mixed = np.empty(count, order.dtype)
    mixed[~is_pseudo], mixed[is_pseudo] = order, pseudo[torch.cat(turns)[:added].numpy()]
    return mixed
