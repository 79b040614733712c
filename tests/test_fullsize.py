import math

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.nn import functional

from carvana.base.errors import UserError
from carvana.competition import HEIGHT, WIDTH
from carvana.masks import fullsize, rle

SIDES = [1, 2, 33, 64, 96, 128, 512, 1279, 1280, 1918, 1920, 2048]


def enlarged(logits, threshold):
    """torch's own interpolation of logits less the threshold's, float32 [1280, 1918]."""
    above = torch.from_numpy(logits - np.float32(math.log(threshold / (1 - threshold))))
    return functional.interpolate(above[None, None], (HEIGHT, WIDTH), mode="bilinear")[0, 0].numpy()


def different(logits, threshold=0.5):
    """The pixels in which the mask differs from the plain route's, as values of the plain route."""
    plain = enlarged(logits, threshold)
    runs = fullsize.runs_of_logits(logits, threshold)
    assert runs.dtype == np.int32
    rle.check(runs, HEIGHT, WIDTH)
    # Half a million runs of noise, which `rle.to_mask` would fill one by one.
    steps = np.zeros(HEIGHT * WIDTH + 1, np.int8)
    steps[runs[:, 0] - 1] += 1
    steps[runs.sum(axis=1) - 1] -= 1
    mask = steps[:-1].cumsum(dtype=np.int8).reshape(HEIGHT, WIDTH)
    return plain[mask != (plain > 0)]


def noise(random, size):
    return random.normal(size=size).astype(np.float32)


def smooth(random, size):
    coarse = torch.from_numpy(random.normal(size=(8, 8)))[None, None]
    return functional.interpolate(coarse, size, mode="bicubic")[0, 0].float().numpy()


def coarse_numbers(random, size):
    return torch.from_numpy(random.normal(size=size) * 4).bfloat16().float().numpy()


@pytest.mark.parametrize("kind", [noise, smooth, coarse_numbers])
@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SIDES), st.sampled_from(SIDES), st.integers(0, 99), st.sampled_from([0.5, 0.3]))
@example(height=1920, width=1, seed=79, threshold=0.5)
def test_every_pixel_is_that_of_the_plain_route(kind, height, width, seed, threshold):
    logits = kind(np.random.default_rng(seed), (height, width))
    wrong = different(logits, threshold)
    # On the threshold itself, to rounding, a pixel may fall to either side; a single logit repeats it along a line.
    repeated = WIDTH if width == 1 else HEIGHT if height == 1 else 1
    assert len(wrong) <= 4 * repeated
    assert np.all(np.abs(wrong) < 1e-5)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 99), side=st.sampled_from([8, 64, 512]))
def test_ties_may_fall_to_either_side_and_nothing_else(seed, side):
    logits = np.random.default_rng(seed).integers(-2, 3, size=(side, side)).astype(np.float32)
    assert np.all(np.abs(different(logits)) < 1e-5)


@pytest.mark.parametrize(("value", "runs"), [(-5, []), (0, []), (5, [[1, HEIGHT * WIDTH]])])
def test_all_car_and_no_car(value, runs):
    """A logit on the threshold is not above it."""
    assert fullsize.runs_of_logits(np.full((64, 64), value, np.float32), 0.5).tolist() == runs


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [(0, 0), (3, 4), (63, 63)])
def test_logits_that_are_not_finite_are_refused(value, place):
    logits = np.zeros((64, 64), np.float32)
    logits[place] = value
    with pytest.raises(UserError, match="not finite"):
        fullsize.runs_of_logits(logits, 0.5)
