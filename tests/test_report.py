import numpy as np
import pytest
from conftest import CARS, read_params
from test_scoring import scored

from carvana.competition import car_of
from carvana.data import cache
from carvana.results import report
from carvana.results.totals import Findings

STILL = dict.fromkeys(
    ("flip", "rotation", "shift", "scale", "brightness", "contrast", "saturation", "hue"),
    0.0,
)


@pytest.fixture
def examples(tmp_path, kaggle):
    cache.write(kaggle / "train.zip", kaggle / "train_masks.zip", tmp_path / "cache", (64, 96), 1)
    return cache.read(tmp_path / "cache")


def limits(**changes):
    return read_params(**{f"augment_{key}": value for key, value in (STILL | changes).items()}).augment


def test_a_training_batch_is_of_the_cars_asked_for_and_every_photo_has_its_own_mask(examples):
    batch = report.training_batch(examples, set(CARS[:3]), limits(), 0)
    assert len(set(batch.names)) == 6
    assert {car_of(name) for name in batch.names} == set(CARS[:3])
    rows = np.array([examples.names.index(name) for name in batch.names])
    np.testing.assert_array_equal(batch.photos, examples.read_photos(rows))
    np.testing.assert_array_equal(batch.masks, examples.read_masks(rows))
    mirrored = report.training_batch(examples, set(CARS[:3]), limits(flip=1.0), 0)
    np.testing.assert_array_equal(mirrored.photos, batch.photos[:, :, ::-1])
    np.testing.assert_array_equal(mirrored.masks, batch.masks[:, :, ::-1])


def test_the_worst_come_first_and_so_do_the_best():
    findings = Findings()
    for seed in range(3):
        findings.add(scored(seed, "validation", f"{seed + 1:02d}")[2])
    findings.add(scored(3, "test")[2])
    dice = sorted(score.dice for score in findings.of("validation"))
    chosen = report.choose(findings, 2, 1)
    assert list(chosen) == [
        "validation-worst-01",
        "validation-worst-02",
        "validation-best-01",
        "test-worst-01",
        "test-best-01",
    ]
    assert [chosen[f"validation-{name}"].dice for name in ("worst-01", "worst-02", "best-01")] == dice
    assert report.choose(findings, 0, 0) == {}
