import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from carvana.masks import metrics, rle

MASKS = arrays(np.bool_, (5, 7))


@given(MASKS, MASKS)
def test_overlap_of_runs_is_that_of_the_masks(predicted, true):
    fast = metrics.overlap_of_runs(rle.to_runs(predicted), rle.to_runs(true))
    assert fast == metrics.overlap_of_masks(predicted, true)
    assert fast.both == sum(p and t for p, t in zip(predicted.flat, true.flat, strict=True))


@given(st.integers(0, 50), st.integers(0, 50), st.data())
def test_dice_and_iou_belong_together(predicted, true, data):
    overlap = metrics.Overlap(predicted, true, data.draw(st.integers(0, min(predicted, true))))
    assert 0 <= overlap.iou <= overlap.dice <= 1
    assert overlap.dice == pytest.approx(2 * overlap.iou / (1 + overlap.iou))


def test_known_values():
    predicted, true = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    assert metrics.overlap_of_masks(predicted, true).dice == 1, "Kaggle scores a pair of empty masks with 1"
    predicted[0, :2] = True
    assert metrics.overlap_of_masks(predicted, true).dice == 0
    true[0, 1:3] = True
    assert metrics.overlap_of_masks(predicted, true).dice == pytest.approx(1 / 2)
    assert metrics.overlap_of_masks(predicted, true).iou == pytest.approx(1 / 3)
