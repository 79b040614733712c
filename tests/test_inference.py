import re
import shutil
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from competition_files import repack
from conftest import both_precisions
from projects import read_network, read_params
from torch.nn import functional

from carvana.base.errors import UserError
from carvana.data import photos
from carvana.data.archive import Archive
from carvana.devices import device
from carvana.masks import fullsize
from carvana.networks import models
from carvana.networks.checkpoint import Trained
from carvana.prediction import engines, inference
from carvana.prediction.settings import Settings

CPU = torch.device("cpu")
NETWORK = read_network(depth=2, width=2)


def trained(seed, size=(64, 64)):
    torch.manual_seed(seed)
    return Trained(models.build(NETWORK).eval(), size, NETWORK)


def settings(**changes):
    return replace(Settings.of(read_params()), on=CPU, engine="torch", **changes)


@pytest.fixture
def archive(_competition):
    with Archive(_competition[0] / "train.zip") as archive:
        yield archive


@both_precisions
@pytest.mark.parametrize(("workers", "batch_size"), [(0, 1), (1, 4), (2, 3), (4, 100)])
def test_photos_come_in_the_order_asked_for_whatever_the_speed_knobs(archive, workers, batch_size):
    """Each is decoded once, at the largest size at which the networks see it, which is that of the logits."""
    ensemble = inference.Ensemble([trained(0)], flip=True, scales=(1.0, 1.5))
    names = archive.photos[::-1]
    how = settings(workers=workers, batch_size=batch_size)
    found = list(inference.predict(ensemble, archive.path, names, how, keep_logits=True))
    assert [prediction.photo for prediction in found] == names
    for prediction in found:
        photo = photos.decode_photo(archive.read(prediction.photo), prediction.photo, (96, 96))
        with torch.inference_mode(), device.precision(CPU):
            expected = ensemble(torch.from_numpy(photo)[None])[0].numpy()
        assert np.allclose(prediction.logits, expected, atol=1e-4)
        assert np.array_equal(prediction.runs, fullsize.runs_of_logits(prediction.logits, 0.5))


def test_photos_that_wait_for_a_cpu_count_as_shared_memory(archive, monkeypatch, capsys):
    batch = 2 * 64 * 64 * 3
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10 * batch))
    how = settings(workers=4, batch_size=2)  # four threads have four batches between them
    assert len(list(inference.predict(inference.Ensemble([trained(0)]), archive.path, archive.photos, how))) == 10
    assert "room for the batches of 2 of 4 workers" in capsys.readouterr().err


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_photo_is_named_with_its_zip_and_the_others_are_done(kaggle, archive, workers):
    name = "a1b2c3d4e5f6_01.jpg"
    repack(kaggle / "train.zip", lambda members: members.update({f"train/{name}": members[f"train/{name}"][:5000]}))
    how = settings(workers=workers, batch_size=3)
    found = list(inference.predict(inference.Ensemble([trained(0)]), kaggle / "train.zip", archive.photos, how))
    assert [each.photo for each in found] == archive.photos
    damaged = [each for each in found if isinstance(each, inference.Damaged)]
    assert [each.photo for each in damaged] == [name]
    assert re.search(rf"train\.zip: {name}", str(damaged[0].reason))


def test_batches_that_are_launched_ahead_give_the_same(archive, monkeypatch):
    """The way of a GPU, whose last batch is filled up, with a CPU at its end."""
    ensemble, how = inference.Ensemble([trained(0)]), settings(workers=2, batch_size=3)
    expected = list(inference.predict(ensemble, archive.path, archive.photos, how))
    counts = []

    def launch(photos, buffer):
        counts.append(len(photos))
        with torch.inference_mode():
            buffer.copy_(ensemble(photos))
        return lambda: None

    begin = engines.launched_ahead(launch, [torch.empty(3, 64, 64) for _ in range(3)])
    monkeypatch.setattr(engines, "build", lambda *_: engines.Engine(begin, 3, 3))
    found = list(inference.predict(ensemble, archive.path, archive.photos, how))
    assert [each.photo for each in found] == archive.photos
    assert all(np.array_equal(one.runs, other.runs) for one, other in zip(found, expected, strict=True))
    assert set(counts) == {3}
    assert len(archive.photos) % 3


def test_bfloat16_gives_nearly_the_logits_of_float32_and_other_bits(archive, monkeypatch):
    """What a processor with bfloat16 does, on every processor: autocast runs anywhere."""
    ensemble = inference.Ensemble([trained(0)])
    found = []
    for has_it in (False, True):
        monkeypatch.setattr(device, "has_bfloat16", lambda _, has_it=has_it: has_it)
        made = inference.predict(ensemble, archive.path, archive.photos, settings(), keep_logits=True)
        found.append(np.stack([one.logits for one in made]))
    assert found[1].dtype == np.float32
    assert not np.array_equal(found[0], found[1])
    assert np.abs(found[0] - found[1]).max() < 0.05 * np.abs(found[0]).max()


def test_logits_are_averaged_over_networks_mirror_images_and_scales():
    """Against torch's own interpolation; 0.5 and 1.6 times 64 are 32 and 96, the nearest multiple of 32."""
    pair = [trained(0), trained(1)]
    scaled, both = (inference.Ensemble(pair, flip, (1.0, 0.5, 1.6)) for flip in (False, True))
    assert scaled.size == (96, 96)
    photo = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (2, 96, 96, 3), dtype=np.uint8))
    expected = []
    with torch.inference_mode():
        for side in (32, 64, 96):
            resized = functional.interpolate(photo.permute(0, 3, 1, 2).float(), (side, side), mode="bilinear")
            logits = torch.stack([each.model(resized.permute(0, 2, 3, 1)) for each in pair]).mean(dim=0)
            expected.append(functional.interpolate(logits[:, None], (96, 96), mode="bilinear")[:, 0])
        found, mirrored = scaled(photo), scaled(photo.flip(2)).flip(2)
        assert torch.allclose(found, sum(expected) / 3, atol=1e-5)
        assert torch.allclose(both(photo), (found + mirrored) / 2, atol=1e-5)
    assert not torch.allclose(found, expected[2], atol=1e-3)
    assert not torch.allclose(found, mirrored, atol=1e-3)


def test_networks_of_two_sizes_and_a_scale_that_one_cannot_take_are_refused():
    with pytest.raises(UserError, match="different sizes"):
        inference.Ensemble([trained(0), trained(1, (32, 32))])
    network = read_network(depth=5, width=2, patch=4)
    members = [Trained(models.build(network).eval(), (64, 64), network)]
    inference.Ensemble(members, scales=(1.0, 2.0))
    with pytest.raises(UserError, match=r"predict\.scales: 96×96 is not a multiple of 64"):
        inference.Ensemble(members, scales=(1.0, 1.5))


@pytest.mark.parametrize(("most", "advice"), [(3, "runtime.batch_size: 2 fits"), (0, "lower runtime.workers")])
def test_too_little_memory_for_a_batch_names_the_one_that_fits(archive, monkeypatch, most, advice):
    """A GPU's road, on the CPU, by a network that takes some photos and no more."""

    class Limited(inference.Ensemble):
        def forward(self, photos):
            if len(photos) > most:
                raise torch.OutOfMemoryError("too many photos")
            return super().forward(photos)

    monkeypatch.setattr(engines, "build", engines._on_gpu)
    with pytest.raises(UserError, match=rf"^out of memory \(too many photos\); {advice}"):
        list(inference.predict(Limited([trained(0)]), archive.path, archive.photos, settings(batch_size=8)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_gives_what_the_cpu_gives(archive):
    ensemble = inference.Ensemble([trained(0)])
    alone, there = (
        list(inference.predict(ensemble, archive.path, archive.photos * 5, how, keep_logits=True))
        for how in (settings(), replace(settings(batch_size=3), on=torch.device("cuda")))
    )
    for one, other in zip(alone, there, strict=True):
        assert one.photo == other.photo
        assert np.abs(one.logits - other.logits).mean() < 0.05 * np.abs(one.logits).mean(), "bfloat16"
