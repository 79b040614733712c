import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from carvana.masks import rle
from carvana.results import wrong_pixels

PAIRS = st.tuples(st.integers(1, 30), st.integers(1, 30)).flatmap(
    lambda size: st.tuples(*[arrays(np.uint8, size, elements=st.integers(0, 1))] * 2)
)


@given(PAIRS)
def test_the_difference_is_that_of_the_masks(pair):
    one, other = pair
    runs = wrong_pixels.difference(rle.to_runs(one), rle.to_runs(other))
    assert (rle.to_mask(runs, *one.shape) == (one != other)).all()
    rle.check(runs, *one.shape)


def slow_distance(mask, y, x):
    """To the nearest pixel of the other kind, in pixels."""
    rows, columns = np.nonzero(mask != mask[y, x])
    return np.hypot(rows - y, columns - x).min() if len(rows) else np.inf


@given(PAIRS)
def test_every_wrong_pixel_is_counted_at_its_place_and_distance(pair):
    predicted, true = pair
    runs = rle.to_runs(predicted), rle.to_runs(true)
    wrong = np.argwhere(predicted != true)
    distances = np.array([slow_distance(true, y, x) for y, x in wrong])
    assert wrong_pixels.within(*runs, true) == [np.count_nonzero(distances <= pixels) for pixels in (1, 2, 5)]
    places = wrong_pixels.places(*runs, true)
    for kind, where in enumerate((true > predicted, predicted > true)):
        counts = np.zeros_like(places[0])
        np.add.at(counts, tuple(np.argwhere(where).T // wrong_pixels.CELL), 1)
        assert (places[kind] == counts).all()


def test_distances_are_those_of_the_distance_transform_at_full_size():
    random = np.random.default_rng(0)
    true = (cv2.GaussianBlur(random.normal(size=(1280, 1918)), (0, 0), 40) > 0).astype(np.uint8)
    predicted = (cv2.GaussianBlur(random.normal(size=true.shape), (0, 0), 40) > 0).astype(np.uint8)
    found = wrong_pixels.within(rle.to_runs(predicted), rle.to_runs(true), true)
    inside, outside = (cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE) for part in (true, 1 - true))
    distance = np.maximum(inside, outside)[predicted != true]
    assert found == [np.count_nonzero(distance <= pixels + 1e-4) for pixels in (1, 2, 5)]
