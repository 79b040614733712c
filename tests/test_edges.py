"""Alpha after the prediction: as sharp as the photo, without specks, and without the colours behind the car."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from carvana.cutouts import edges
from carvana.cutouts.specks import remove_specks
from carvana.data.photos import resize_by_area

CAR, WALL = (60, 20, 20), (210, 210, 214)


def disc(side, radius, across=1.0):
    """The share of each pixel, 0–1 [side, side], that a disc covers; its edge is `across` pixels wide."""
    down, right = np.mgrid[:side, :side] - (side - 1) / 2
    return np.clip((radius - np.hypot(down, right)) / across + 0.5, 0, 1)


def mixed(share, car=CAR, wall=WALL):
    """The photo of a car of one colour before a wall of another."""
    return np.rint(share[..., None] * car + (1 - share[..., None]) * wall).astype(np.uint8)


def to_alpha(share):
    return np.rint(255 * share).astype(np.uint8)


def is_soft(alpha):
    return (alpha > 0) & (alpha < 255)


def test_a_prediction_that_is_wide_and_off_moves_to_the_edge_in_the_photo():
    truth = disc(192, 60)
    photo = mixed(truth)
    for radius in (58, 60, 62):
        before = to_alpha(disc(192, radius, across=14))
        after = before.copy()
        edges.sharpen(photo, after, resize_by_area(photo, (48, 48)))
        assert abs(after - 255 * truth).mean() < 0.4 * abs(before - 255 * truth).mean()
        assert is_soft(after).sum() < 0.35 * is_soft(before).sum()


def test_what_looks_like_the_wall_keeps_the_outline_of_the_network():
    truth = disc(192, 60)
    photo = mixed(truth, WALL, WALL)
    alpha = to_alpha(disc(192, 58, across=14))
    edges.sharpen(photo, alpha, resize_by_area(photo, (96, 96)))
    moved = np.count_nonzero((alpha >= 128) != (disc(192, 58) >= 0.5))
    assert moved < 2 * np.pi * 58, "pixels: less than one on average"


@given(
    arrays(np.uint8, (24, 30), elements=st.sampled_from([0, 1, 128, 254, 255])),
    arrays(np.uint8, (24, 30, 3)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
@settings(max_examples=100, deadline=None)
def test_only_the_outline_changes_whatever_the_photo(alpha, photo, cells):
    sharp, colours = alpha.copy(), photo.copy()
    small = resize_by_area(photo, cells)
    edges.sharpen(photo, sharp, small)
    assert np.array_equal(sharp[~is_soft(alpha)], alpha[~is_soft(alpha)])
    edges.clean(colours, alpha, small)
    untouched = (alpha == 0) | (cv2.erode(alpha, np.ones((5, 5), np.uint8)) == 255)
    assert np.array_equal(colours[untouched], photo[untouched])


def test_no_halo_is_left_whether_alpha_is_right_or_a_pixel_too_wide():
    share = disc(192, 60, across=3)
    for radius in (60, 61):
        photo = mixed(share)
        alpha = to_alpha(disc(192, radius, across=3))
        edges.clean(photo, alpha, resize_by_area(photo, (48, 48)))
        assert abs(photo[alpha > 0] - np.array(CAR, float)).max() <= 4


def test_the_car_s_own_colours_stay():
    """A red roof and black tyres: each part of the outline keeps its own colour."""
    share = disc(192, 60, across=3)
    car = np.where(np.arange(192)[:, None, None] < 96, (180, 20, 20), (20, 20, 20))
    photo, alpha = mixed(share, car), to_alpha(share)
    edges.clean(photo, alpha, resize_by_area(photo, (48, 48)))
    soft = is_soft(alpha)
    soft[80:112] = False
    assert abs(photo - car.astype(float))[soft].max() <= 16


def alpha_with(*boxes):
    """Alpha of 255 in boxes of (top, left, bottom, right)."""
    alpha = np.zeros((120, 200), np.uint8)
    for top, left, bottom, right in boxes:
        alpha[top:bottom, left:right] = 255
    return alpha


BODY = (40, 50, 100, 150)


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
    alpha = alpha_with(BODY, *others)
    assert np.array_equal(kept(alpha), alpha if stay else alpha_with(BODY))


def test_a_faint_veil_goes_however_wide_it_is():
    alpha = alpha_with(BODY)
    alpha[:20] = 5
    assert np.array_equal(kept(alpha), alpha_with(BODY))
    assert not kept(np.zeros((9, 7), np.uint8), (3, 7)).any(), "nothing is left of nothing"
