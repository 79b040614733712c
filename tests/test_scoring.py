"""Scores of a prediction: its overlap with the truth, its wrong pixels, and what is summarised of them."""

import numpy as np
import pytest
from competition_files import picture
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from carvana.data import photos
from carvana.masks import metrics, rle
from carvana.masks.fullsize import runs_of_logits
from carvana.prediction.inference import Prediction
from carvana.results import scoring, wrong_pixels

PAIRS = st.tuples(st.integers(1, 30), st.integers(1, 30)).flatmap(
    lambda size: st.tuples(*[arrays(np.uint8, size, elements=st.integers(0, 1))] * 2)
)


@given(PAIRS)
def test_overlap_of_runs_is_that_of_the_masks(pair):
    predicted, true = (mask == 1 for mask in pair)
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


def scored(seed=0, role="validation", view="03", threshold=0.5):
    """A score of a prediction that is the true mask, blurred to 64×96."""
    mask = picture(seed)[1]
    coverage = photos.soften(mask, (64, 96))
    logits = (coverage.astype(np.float32) / 255 - 0.4) * np.float32(8)
    prediction = Prediction(f"0cdf5b5d0ce1_{view}.jpg", runs_of_logits(logits, threshold), logits)
    return mask, prediction, scoring.score_one(prediction, rle.to_runs(mask), coverage, "Kia", role, threshold)


def test_a_score_is_that_of_the_masks():
    mask, prediction, score = scored()
    guess = rle.to_mask(prediction.runs, *mask.shape)
    overlap = metrics.overlap_of_masks(guess == 1, mask == 1)
    assert (score.car, score.view, score.make) == ("0cdf5b5d0ce1", 3, "Kia")
    assert (score.dice, score.iou) == (overlap.dice, overlap.iou)
    assert (score.wrong, score.missed) == (np.count_nonzero(guess != mask), np.count_nonzero(mask > guess))
    assert 0 < score.within_1 < score.within_2 < score.within_5 <= score.wrong


def test_dice_at_network_size_is_against_the_mask_at_that_size():
    mask, prediction, at_size = scored()
    other = photos.soften(mask, (32, 32))
    found = scoring.score_one(prediction, rle.to_runs(mask), other, "Kia", "test", 0.5)
    assert found.dice_network_size == at_size.dice_network_size
    assert 0.9 < found.dice_network_size < 1


def test_the_threshold_is_that_of_both_sizes():
    _, _, score = scored(threshold=0.995)  # no logit is as high
    assert score.dice == score.dice_network_size == 0


def test_the_share_near_the_outline_is_of_all_wrong_pixels():
    scores = [scored(seed)[2] for seed in (0, 1)]
    summary = scoring.summarise(scores)
    share = sum(score.within_2 for score in scores) / sum(score.wrong for score in scores)
    assert summary["wrong_within_2px"] == pytest.approx(share, abs=1e-6)
    assert summary["images"] == 2
