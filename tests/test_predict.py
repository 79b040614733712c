import math

import numpy as np
import pytest
import torch
from conftest import read_network, repack
from torch.nn import functional

from carvana import fullsize, models, photos, predict, rle
from carvana.archive import Archive
from carvana.checkpoint import Trained
from carvana.errors import UserError

CPU = torch.device("cpu")
NETWORK = read_network(depth=2, width=2)


def trained(seed, size=(64, 64)):
    torch.manual_seed(seed)
    return Trained(models.build(NETWORK).eval(), size)


def plain_mask(logits, threshold):
    """torch's bilinear interpolation in double precision, then the threshold."""
    full = functional.interpolate(
        torch.from_numpy(logits).double()[None, None], (photos.HEIGHT, photos.WIDTH), mode="bilinear"
    )[0, 0]
    return (full > math.log(threshold / (1 - threshold))).numpy()


@pytest.mark.parametrize("threshold", [0.5, 0.3])
@pytest.mark.parametrize("size", [(64, 64), (128, 128), (512, 512), (1024, 1024), (1280, 1920)])
def test_runs_of_logits_are_those_of_the_plain_route(size, threshold):
    random = np.random.default_rng(size[0])
    coarse = random.normal(size=(8, 8)).astype(np.float32)
    smooth = functional.interpolate(torch.from_numpy(coarse)[None, None], size, mode="bicubic")[0, 0].numpy()
    for logits in (smooth, random.normal(size=size).astype(np.float32)):
        mask = rle.to_mask(fullsize.runs_of_logits(logits, threshold), photos.HEIGHT, photos.WIDTH)
        # float32 against float64: a pixel on the threshold itself may fall to either side.
        assert np.count_nonzero(mask != plain_mask(logits, threshold)) <= 20


def test_all_car_and_no_car():
    assert fullsize.runs_of_logits(np.full((64, 64), -5, np.float32), 0.5).tolist() == []
    full = fullsize.runs_of_logits(np.full((64, 64), 5, np.float32), 0.5)
    assert full.tolist() == [[1, photos.HEIGHT * photos.WIDTH]]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_logits_that_are_not_finite_are_refused(value):
    logits = np.zeros((64, 64), np.float32)
    logits[3, 4] = value
    with pytest.raises(UserError, match="not finite"):
        fullsize.runs_of_logits(logits, 0.5)


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (2, 3), (4, 100)])
def test_photos_come_in_the_order_asked_for_whatever_the_speed_knobs(kaggle, workers, batch_size):
    ensemble = predict.Ensemble([trained(0)])
    with Archive(kaggle / "train.zip") as archive:
        names = archive.photos[::-1]
        how = predict.Settings(0.5, CPU, workers, batch_size)
        found = list(predict.predict(ensemble, archive, names, how))
        assert [prediction.photo for prediction in found] == names
        for prediction in found:
            photo = photos.decode_photo(archive.read(prediction.photo), prediction.photo, (64, 64))
            alone = predict.compute_logits(ensemble, photo[None], CPU)[0]
            assert np.allclose(prediction.logits, alone, atol=1e-4)
            assert np.array_equal(prediction.runs, fullsize.runs_of_logits(prediction.logits, 0.5))


def test_an_ensemble_averages_logits_and_refuses_two_sizes():
    pair = [trained(0), trained(1)]
    photo = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    each = [predict.compute_logits(predict.Ensemble([one]), photo, CPU) for one in pair]
    assert np.allclose(predict.compute_logits(predict.Ensemble(pair), photo, CPU), (each[0] + each[1]) / 2, atol=1e-6)
    with pytest.raises(UserError, match="different sizes"):
        predict.Ensemble([trained(0), trained(1, (32, 32))])


def test_a_damaged_photo_is_named_with_its_zip(kaggle):
    name = "a1b2c3d4e5f6_01.jpg"
    repack(kaggle / "train.zip", lambda members: members.update({f"train/{name}": members[f"train/{name}"][:5000]}))
    with Archive(kaggle / "train.zip") as archive, pytest.raises(UserError, match=rf"train\.zip: {name}"):
        list(predict.predict(predict.Ensemble([trained(0)]), archive, archive.photos, predict.Settings(0.5, CPU, 2, 2)))
