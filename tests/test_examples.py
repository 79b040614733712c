from dataclasses import replace

import numpy as np
import pytest
from competition_files import CARS
from test_scoring import scored

from carvana.base.params import Augment
from carvana.competition import car_of, view_of
from carvana.results import examples
from carvana.results.scoring import Findings


def limits(**changes):
    return Augment(**dict.fromkeys(Augment.model_fields, 0.0) | changes)


def test_a_training_batch_is_of_the_cars_asked_for_and_every_photo_has_its_own_mask(small_cache):
    shown, masks, names = examples.training_batch(small_cache, set(CARS[:3]), limits(), 0)
    assert len(set(names)) == 6
    assert {car_of(name) for name in names} == set(CARS[:3])
    rows = np.array([small_cache.names.index(name) for name in names])
    np.testing.assert_array_equal(shown, small_cache.read_photos(rows))
    np.testing.assert_array_equal(masks, small_cache.read_masks(rows))
    mirrored = examples.training_batch(small_cache, set(CARS[:3]), limits(flip=1.0), 0)
    np.testing.assert_array_equal(mirrored[0], shown[:, :, ::-1])
    np.testing.assert_array_equal(mirrored[1], masks[:, :, ::-1])


def findings_of(seeds):
    """Findings of a validation photo for each seed, which decides how well it is predicted, and a test photo."""
    validation = [scored(seed, "validation", f"{place:02d}")[2] for place, seed in enumerate(seeds, start=1)]
    return Findings([*validation, scored(3, "test")[2]], {})


def test_the_worst_come_first_then_the_best_and_no_photo_twice():
    findings = findings_of(range(3))
    dice = sorted(score.dice for score in findings.by_role["validation"])
    chosen = examples.extremes(findings, 1, 4)
    shown = {heading: [score.dice for score in scores] for heading, scores in chosen.items() if scores}
    assert shown == {
        "The worst photos of validation cars": dice[:1],
        "The best photos of validation cars": dice[:0:-1],
        "The worst photos of test cars": [findings.by_role["test"][0].dice],
    }
    assert not any(examples.extremes(findings, 0, 0).values())


def test_two_experiments_show_the_same_photos():
    one, other = (examples.same(findings_of(seeds)) for seeds in (range(7), reversed(range(7))))
    assert [score.image for score in one] == [score.image for score in other]
    assert [score.role for score in one] == 4 * ["validation"] + ["test"]
    assert {score.dice for score in one} != {score.dice for score in other}


def test_shares_are_means_over_the_photos_of_a_view(small_cache):
    """In the findings of a model that finds no car."""
    true = dict(small_cache.each_truth())
    scores = [replace(scored()[2], image=name, view=view_of(name)) for name in true]
    shares = examples.shares(Findings(scores, {name: (runs[:0], runs) for name, runs in true.items()}), small_cache)
    assert list(shares) == [1, 2]
    for view, (wrong, covered) in shares.items():
        pixels = np.mean([runs[:, 1].sum() for name, runs in true.items() if view_of(name) == view])
        assert wrong[0].sum() * 64 == pytest.approx(pixels, rel=1e-4)
        assert not wrong[1].any()
        assert covered.shape == wrong.shape[1:] == (160, 240)
        assert covered.mean() == pytest.approx(pixels / (1280 * 1918), abs=0.01)
