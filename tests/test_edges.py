"""The outline: alpha as sharp as the photo, and colours without what was behind the car."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from carvana.cutouts import edges
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
