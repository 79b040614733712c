import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import read_network, read_params, repack

from carvana import fullsize, models, photos, predict
from carvana.archive import Archive
from carvana.checkpoint import Trained
from carvana.errors import UserError

CPU = torch.device("cpu")
NETWORK = read_network(depth=2, width=2)


def trained(seed, size=(64, 64)):
    torch.manual_seed(seed)
    return Trained(models.build(NETWORK).eval(), size)


def settings(**changes):
    return replace(predict.Settings.of(read_params()), on=CPU, engine="torch", **changes)


@pytest.mark.parametrize(("workers", "batch_size"), [(1, 1), (2, 3), (4, 100)])
def test_photos_come_in_the_order_asked_for_whatever_the_speed_knobs(kaggle, workers, batch_size):
    ensemble = predict.Ensemble([trained(0)])
    with Archive(kaggle / "train.zip") as archive:
        names = archive.photos[::-1]
        how = settings(workers=workers, batch_size=batch_size)
        found = list(predict.predict(ensemble, archive, names, how))
        assert [prediction.photo for prediction in found] == names
        for prediction in found:
            photo = photos.decode_photo(archive.read(prediction.photo), prediction.photo, (64, 64))
            alone = ensemble(torch.from_numpy(photo)[None])[0].detach().numpy()
            assert np.allclose(prediction.logits, alone, atol=1e-4)
            assert np.array_equal(prediction.runs, fullsize.runs_of_logits(prediction.logits, 0.5))


def test_an_ensemble_averages_logits_and_refuses_two_sizes():
    pair = [trained(0), trained(1)]
    photo = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    each = [predict.Ensemble([one])(torch.from_numpy(photo)).detach() for one in pair]
    both = predict.Ensemble(pair)(torch.from_numpy(photo)).detach()
    assert np.allclose(both, (each[0] + each[1]) / 2, atol=1e-6)
    with pytest.raises(UserError, match="different sizes"):
        predict.Ensemble([trained(0), trained(1, (32, 32))])


@pytest.mark.parametrize("batches", [False, True])
def test_a_damaged_photo_is_named_with_its_zip_and_the_others_are_done(kaggle, monkeypatch, batches):
    if batches:
        monkeypatch.setattr(predict, "_photo_by_photo", predict._by_batches)
    name = "a1b2c3d4e5f6_01.jpg"
    repack(kaggle / "train.zip", lambda members: members.update({f"train/{name}": members[f"train/{name}"][:5000]}))
    with Archive(kaggle / "train.zip") as archive:
        found = list(predict.predict(predict.Ensemble([trained(0)]), archive, archive.photos, settings(batch_size=3)))
        assert [each.photo for each in found] == archive.photos
    damaged = [each for each in found if isinstance(each, predict.Damaged)]
    assert [each.photo for each in damaged] == [name]
    assert re.search(rf"train\.zip: {name}", str(damaged[0].reason))


def test_batches_give_what_photos_alone_give(kaggle, monkeypatch):
    """The way of a GPU, on the CPU."""
    ensemble = predict.Ensemble([trained(0)])
    with Archive(kaggle / "train.zip") as archive:
        alone = list(predict.predict(ensemble, archive, archive.photos, settings()))
        monkeypatch.setattr(predict, "_photo_by_photo", predict._by_batches)
        batched = list(predict.predict(ensemble, archive, archive.photos, settings(batch_size=3)))
    for one, other in zip(alone, batched, strict=True):
        assert one.photo == other.photo
        assert np.allclose(one.logits, other.logits, atol=1e-4)


def test_a_flip_averages_both_sides(kaggle):
    ensemble = predict.Ensemble([trained(0)])
    with Archive(kaggle / "train.zip") as archive:
        name = archive.photos[0]
        photo = photos.decode_photo(archive.read(name), name, (64, 64))
        plain, mirrored = (
            ensemble(torch.from_numpy(each.copy())[None])[0].detach() for each in (photo, photo[:, ::-1])
        )
        (found,) = predict.predict(ensemble, archive, [name], settings(flip=True))
    assert np.allclose(found.logits, (plain + mirrored.flip(1)) / 2, atol=1e-5)
    assert not np.allclose(found.logits, plain, atol=1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives(kaggle):
    ensemble = predict.Ensemble([trained(0)])
    with Archive(kaggle / "train.zip") as archive:
        names = archive.photos * 5
        alone = list(predict.predict(ensemble, archive, names, settings()))
        there = list(predict.predict(ensemble, archive, names, settings(batch_size=3).at(torch.device("cuda"))))
    for one, other in zip(alone, there, strict=True):
        assert one.photo == other.photo
        assert np.abs(one.logits - other.logits).mean() < 0.05 * np.abs(one.logits).mean(), "bfloat16"
