"""The second look: what it computes before and after its training, in the pipeline's precision and at its size."""

import numpy as np
import pytest
import torch
from conftest import read_network, read_params
from torch.nn import functional

from carvana.base.errors import UserError
from carvana.competition import HEIGHT, WIDTH
from carvana.networks import checkpoint, models
from carvana.networks.second_look import SIZE, SecondLook
from carvana.prediction import engines
from carvana.prediction.settings import Settings

FIRST = (160, 224)


@pytest.fixture
def network():
    """A second network small enough for a test."""
    return read_network(patch=4, depth=2, width=4)


@pytest.fixture
def look(network):
    torch.manual_seed(0)
    first = models.build(read_network(depth=2, width=4))
    return models.channels_last(SecondLook(first, FIRST, network)).eval()


@pytest.fixture
def photos():
    return torch.randint(0, 256, (1, HEIGHT, WIDTH, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def changed(look):
    """The same second look with a last layer that no longer returns zero."""
    with torch.no_grad():
        look.network.head.weight.normal_(generator=torch.Generator().manual_seed(2))
    return look


@torch.inference_mode()
def test_a_new_one_returns_the_first_networks_logits(look, photos):
    logits = look(photos)
    assert logits.shape == (1, *SIZE)
    assert logits.dtype == torch.float32
    small = functional.avg_pool2d(functional.pad(photos.permute(0, 3, 1, 2).float(), (0, 2, 0, 0), mode="replicate"), 8)
    small = functional.interpolate(small, size=FIRST, mode="bilinear", align_corners=False)
    first = look.first(small.permute(0, 2, 3, 1)).unsqueeze(1)
    enlarged = functional.interpolate(first, size=(HEIGHT, WIDTH + 2), mode="bilinear", align_corners=False)
    torch.testing.assert_close(logits, enlarged[:, 0, :, :WIDTH].clamp(-8, 8), atol=1e-3, rtol=0)


@torch.inference_mode()
def test_the_first_logits_keep_their_place_whatever_the_second_network():
    """A car's left edge at column 1880 is not shifted by a second network of a smaller multiple."""
    bright = torch.zeros(1, HEIGHT, WIDTH, 3, dtype=torch.uint8)
    bright[:, :, 1880:] = 255
    first = models.build(read_network(depth=2, width=4)).eval()
    first.forward = lambda photos: photos[..., 0] - 127.5
    for patch, depth in ((1, 2), (4, 6)):
        look = SecondLook(first, FIRST, read_network(patch=patch, depth=depth, width=1)).eval()
        logits = look(bright)[0, HEIGHT // 2]
        assert abs(int((logits > 0).int().argmax()) - 1880) <= 1


@torch.inference_mode()
def test_a_window_is_corrected_as_the_whole_photo_is(look, photos):
    """It is trained on windows, but predicts whole photos."""
    changed(look)
    whole = look(photos)
    padded = look.pad(photos)
    logits = look.enlarge(look.first_logits(padded))
    part, inner = (slice(512, 768), slice(1024, 1280)), (slice(64, -64), slice(64, -64))
    alone = look.correct(padded[:, :, *part], logits[:, *part])
    torch.testing.assert_close(alone[:, *inner], whole[:, *part][:, *inner], atol=1e-4, rtol=0)
    assert (whole - logits[:, :, :WIDTH]).abs().max() > 0.1, "it changes something"


def test_a_file_brings_it_back(look, network, photos, tmp_path):
    changed(look)
    first = read_network(depth=2, width=4)
    checkpoint.save(tmp_path / "fold-0.safetensors", look, first, FIRST, network)
    loaded = checkpoint.load(tmp_path / "fold-0.safetensors")
    assert loaded.size == SIZE
    with torch.inference_mode():
        assert torch.equal(loaded.model(photos), look(photos))


def test_a_file_without_its_weights_is_refused(look, network, tmp_path):
    checkpoint.save(tmp_path / "fold-0.safetensors", look.first, read_network(depth=2, width=4), FIRST, network)
    with pytest.raises(UserError, match="is not a complete model"):
        checkpoint.load(tmp_path / "fold-0.safetensors")


def test_a_file_that_claims_a_larger_one_is_refused_before_it_takes_memory(look, tmp_path, monkeypatch):
    larger = read_network(patch=4, depth=5, width=128)
    checkpoint.save(tmp_path / "fold-0.safetensors", look, read_network(depth=2, width=4), FIRST, larger)
    monkeypatch.setattr(checkpoint, "SecondLook", None)
    with pytest.raises(UserError, match="its weights are not those of its network"):
        checkpoint.load(tmp_path / "fold-0.safetensors")


@pytest.mark.parametrize("engine", ["torch", "openvino"])
def test_engines_compute_it(look, photos, engine):
    how = Settings.of(read_params(runtime_engine=engine, runtime_device="cpu"))
    with torch.inference_mode():
        expected = changed(look)(photos).numpy()
    computed = engines.build(look, SIZE, how).compute(photos.numpy())
    np.testing.assert_allclose(computed, expected, atol=0.2)
