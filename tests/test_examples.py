import numpy as np
import pytest
from conftest import CARS, read_params
from test_scoring import scored

from carvana.competition import car_of
from carvana.data import cache
from carvana.results import examples
from carvana.results.totals import Findings

STILL = dict.fromkeys(
    ("flip", "rotation", "shift", "scale", "close_up", "brightness", "contrast", "saturation", "hue"),
    0.0,
)


@pytest.fixture
def small(tmp_path, kaggle):
    cache.write(kaggle / "train.zip", kaggle / "train_masks.zip", tmp_path / "cache", (64, 96), 1)
    return cache.read(tmp_path / "cache")


def limits(**changes):
    return read_params(**{f"augment_{key}": value for key, value in (STILL | changes).items()}).augment


def test_a_training_batch_is_of_the_cars_asked_for_and_every_photo_has_its_own_mask(small):
    batch = examples.training_batch(small, set(CARS[:3]), limits(), 0)
    assert len(set(batch.names)) == 6
    assert {car_of(name) for name in batch.names} == set(CARS[:3])
    rows = np.array([small.names.index(name) for name in batch.names])
    np.testing.assert_array_equal(batch.photos, small.read_photos(rows))
    np.testing.assert_array_equal(batch.masks, small.read_masks(rows))
    mirrored = examples.training_batch(small, set(CARS[:3]), limits(flip=1.0), 0)
    np.testing.assert_array_equal(mirrored.photos, batch.photos[:, :, ::-1])
    np.testing.assert_array_equal(mirrored.masks, batch.masks[:, :, ::-1])


def findings_of(seeds):
    """Findings of a validation photo for each seed, which decides how well it is predicted, and a test photo."""
    findings = Findings()
    for place, seed in enumerate(seeds, start=1):
        findings.add(scored(seed, "validation", f"{place:02d}")[2])
    findings.add(scored(3, "test")[2])
    return findings


def test_the_worst_come_first_and_so_do_the_best():
    findings = findings_of(range(3))
    dice = sorted(score.dice for score in findings.of("validation"))
    chosen = examples.extremes(findings, 2, 1)
    assert list(chosen) == [
        "validation-worst-01",
        "validation-worst-02",
        "validation-best-01",
        "test-worst-01",
        "test-best-01",
    ]
    assert [chosen[f"validation-{name}"].dice for name in ("worst-01", "worst-02", "best-01")] == dice
    assert examples.extremes(findings, 0, 0) == {}


def test_two_experiments_show_the_same_photos_under_the_same_names():
    one, other = (examples.same(findings_of(seeds)) for seeds in (range(7), reversed(range(7))))
    assert list(one) == list(other)
    assert len(one) == 4 + 1
    for name, score in one.items():
        assert name == f"{score.role}-{score.image.removesuffix('.jpg')}"
    assert {score.dice for score in one.values()} != {score.dice for score in other.values()}
