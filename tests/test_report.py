from dataclasses import replace

import numpy as np
import pytest
from conftest import CARS, read_params
from test_scoring import scored

from carvana.competition import car_of
from carvana.data import cache
from carvana.results import report, scoring
from carvana.results.totals import Findings
from carvana.training.history import Epoch

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


def test_names_on_the_page_are_text_and_no_html():
    findings = Findings()
    one = scored()[2]
    findings.add(replace(one, score=replace(one.score, car="<script>car", make="<script>make")))
    summaries = {"validation": scoring.summarise(findings.scores)}
    drawn = dict.fromkeys(("error-map", "training-samples", "validation-worst-01"), report.Picture(b"jpeg", b"webp"))
    epochs = {0: [Epoch(1, 0.01, 0.5, 0.5, 0.5, 0.5, 0.5)]}
    content = report.render(findings, summaries, epochs, "<script>model", drawn)
    assert "<script" not in content
    for text in ("model", "car", "make, 1 car"):
        assert f"&lt;script&gt;{text}<" in content
    assert content.count("<img") == 3
    assert content.count("<svg") == 8
    assert "The worst of the validation cars" in content
    assert "The best of the validation cars" not in content, "no picture of them was drawn"
