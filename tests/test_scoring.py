import numpy as np
import pytest
from competition_files import picture

from carvana.data import photos
from carvana.masks import metrics, rle
from carvana.masks.fullsize import runs_of_logits
from carvana.prediction.inference import Prediction
from carvana.results import scoring


def scored(seed=0, role="validation", view="03"):
    """A score of a prediction that is the true mask, blurred to 64×96."""
    mask = picture(seed)[1]
    coverage = photos.soften(mask, (64, 96))
    logits = (coverage.astype(np.float32) / 255 - 0.4) * np.float32(8)
    prediction = Prediction(f"0cdf5b5d0ce1_{view}.jpg", logits, runs_of_logits(logits, 0.5))
    return mask, prediction, scoring.score_one(prediction, rle.to_runs(mask), coverage, "Kia", role)


def test_a_score_is_that_of_the_masks():
    mask, prediction, score = scored()
    guess = rle.to_mask(prediction.runs, *mask.shape)
    overlap = metrics.overlap_of_masks(guess == 1, mask == 1)
    assert (score.car, score.view, score.make) == ("0cdf5b5d0ce1", 3, "Kia")
    assert score.dice == overlap.dice
    assert score.iou == overlap.iou
    assert score.wrong == np.count_nonzero(guess != mask)
    assert score.missed == np.count_nonzero(mask > guess)
    assert 0 < score.within_1 < score.within_2 < score.within_5 <= score.wrong


def test_dice_at_network_size_is_against_the_mask_at_that_size():
    mask, prediction, at_size = scored()
    other = photos.soften(mask, (32, 32))
    found = scoring.score_one(prediction, rle.to_runs(mask), other, "Kia", "test")
    assert found.dice_network_size == at_size.dice_network_size
    assert 0.9 < found.dice_network_size < 1


def test_the_share_near_the_outline_is_of_all_wrong_pixels():
    scores = [scored(seed)[2] for seed in (0, 1)]
    summary = scoring.summarise(scores)
    assert summary["wrong_within_2px"] == pytest.approx(
        sum(score.within_2 for score in scores) / sum(score.wrong for score in scores), abs=1e-6
    )
    assert summary["images"] == 2
