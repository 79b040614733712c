"""Which parts of a cut-out are the car."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carvana.cutouts.specks import remove_specks


def alpha_with(*boxes):
    """Alpha of 255 in boxes of (top, left, bottom, right)."""
    alpha = np.zeros((120, 200), np.uint8)
    for top, left, bottom, right in boxes:
        alpha[top:bottom, left:right] = 255
    return alpha


CAR = (40, 50, 100, 150)


def kept(alpha, cells=(60, 100)):
    after = alpha.copy()
    remove_specks(after, cells)
    return after


@given(st.integers(0, 2**32 - 1), st.integers(1, 200), st.tuples(st.integers(1, 80), st.integers(1, 120)))
@settings(max_examples=100, deadline=None)
def test_one_part_never_changes_whatever_its_shape(seed, steps, cells):
    alpha = np.zeros((80, 120), np.uint8)
    rng = np.random.default_rng(seed)
    # A walk that left the picture could come back as another part.
    path = np.clip(np.array([40, 60]) + np.cumsum(rng.integers(-2, 3, (steps, 2)), axis=0), 0, [79, 119])
    cv2.polylines(alpha, [path.reshape(-1, 1, 2)[..., ::-1].astype(np.int32)], isClosed=False, color=1)
    alpha[alpha > 0] = rng.integers(1, 256, np.count_nonzero(alpha))
    assert np.array_equal(kept(alpha, cells), alpha)


@given(st.integers(0, 2**32 - 1), st.tuples(st.integers(1, 80), st.integers(1, 120)))
@settings(max_examples=100, deadline=None)
def test_a_pixel_stays_as_it_is_or_goes_and_a_second_time_nothing_goes(seed, cells):
    rng = np.random.default_rng(seed)
    alpha = cv2.resize(rng.integers(0, 256, (16, 24)).astype(np.uint8), (120, 80))
    alpha[alpha < rng.integers(0, 256)] = 0
    once = kept(alpha, cells)
    assert ((once == alpha) | (once == 0)).all()
    assert np.array_equal(kept(once, cells), once)


@pytest.mark.parametrize(
    ("others", "stay"),
    [
        ([(5, 20, 12, 26), (5, 40, 12, 43)], False),
        ([(60, 153, 66, 158)], True),
        ([(10, 160, 30, 190)], True),
        ([(10, 180, 24, 194)], False),
    ],
    ids=["letters on the wall", "a mirror close by", "a second car", "a small second car"],
)
def test_small_parts_go_unless_they_are_close_to_the_car(others, stay):
    alpha = alpha_with(CAR, *others)
    assert np.array_equal(kept(alpha), alpha if stay else alpha_with(CAR))


def test_a_faint_veil_goes_however_wide_it_is():
    alpha = alpha_with(CAR)
    alpha[:20] = 5
    assert np.array_equal(kept(alpha), alpha_with(CAR))
    assert not kept(np.zeros((9, 7), np.uint8), (3, 7)).any(), "nothing is left of nothing"
