"""The order of an epoch's photos, real and pseudo-labelled."""

from collections import Counter

import numpy as np
import pytest
import torch

from carvana.training.examples import Examples

REAL = np.arange(3, 43)


def draw(pseudo, share, seed=0):
    return of(pseudo).draw(share, torch.Generator().manual_seed(seed))


def of(pseudo):
    return Examples(None, REAL, pseudo, np.arange(0), [])


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 2 / 3, 0.9])
@pytest.mark.parametrize("count", [1, 7, 1000])
def test_every_real_photo_comes_once_and_every_stretch_has_its_share_of_the_others(share, count):
    pseudo = 100 + np.arange(count)
    rows = draw(pseudo, share)
    assert sorted(rows[rows < 100]) == sorted(REAL)
    assert len(rows) == of(pseudo).photos_of_an_epoch(share)
    assert (rows >= 100).mean() == pytest.approx(share, abs=0.5 / len(REAL))
    times = Counter(rows[rows >= 100].tolist())
    assert max(times.values()) <= min(times.get(row, 0) for row in pseudo) + 1
    for size in (1, 4, 6):
        for start in range(len(rows) - size):
            # The share of the whole is rounded to a photo.
            assert abs((rows[start : start + size] >= 100).sum() - share * size) < 1 + size / len(rows)


def test_each_epoch_draws_others_and_the_same_seed_draws_the_same():
    pseudo = 100 + np.arange(1000)
    first, again, other = draw(pseudo, 0.5), draw(pseudo, 0.5), draw(pseudo, 0.5, seed=1)
    assert np.array_equal(first, again)
    assert set(first[first >= 100]) != set(other[other >= 100])


@pytest.mark.parametrize(("count", "share"), [(0, 0.5), (7, 0.0)])
def test_without_any_the_order_and_the_draws_after_it_are_those_of_the_real_photos(count, share):
    ours, plain = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    rows = of(100 + np.arange(count)).draw(share, ours)
    assert np.array_equal(rows, REAL[torch.randperm(len(REAL), generator=plain).numpy()])
    assert torch.equal(ours.get_state(), plain.get_state())
