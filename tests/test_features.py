import re

import numpy as np
import pytest
import torch
from competition_files import jpeg, picture
from projects import read_network, set_params, stage

from carvana.networks import checkpoint, models
from carvana.results import features

PHOTO = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)


def test_the_slides_network_has_a_picture_of_every_level():
    model = models.build(read_network(depth=3, width=4))
    found = features.levels(model, PHOTO)
    assert [(name, maps.shape) for name, maps in found.items()] == [
        ("network.encoder.0", (4, 64, 96)),
        ("network.encoder.1", (8, 32, 48)),
        ("network.encoder.2", (16, 16, 24)),
        ("network.decoder.0", (8, 32, 48)),
        ("network.decoder.1", (4, 64, 96)),
        ("network", (1, 64, 96)),
    ]
    with torch.inference_mode():
        logits = model(torch.from_numpy(PHOTO)[None])[0].numpy()
    np.testing.assert_array_equal(found["network"][0], logits)
    assert (found["network.encoder.0"] >= 0).all(), "behind the ReLU"
    assert not any(module._forward_hooks for module in model.modules()), "the network is as before"


@pytest.mark.parametrize(("arch", "encoder"), [("unet", "resnet18"), ("fpn", "tu-mobilenetv3_small_050")])
def test_other_networks_have_all_levels_of_encoder_and_decoder(arch, encoder):
    model = models.build(read_network(arch=arch, encoder=encoder))
    found = [(name, maps.shape) for name, maps in features.levels(model, PHOTO).items()]
    encoders = [shape for name, shape in found if name.startswith("network.encoder[")]
    assert [shape[1:] for shape in encoders] == [(64 >> level, 96 >> level) for level in range(6)]
    assert encoders[0][0] == 3
    decoders = [shape for name, shape in found if name.startswith("network.decoder")]
    assert len(decoders) >= 3
    assert len({shape[1:] for shape in decoders}) == len(decoders)
    assert found[-1] == ("network", (1, 64, 96))


def test_a_sheet_has_a_tile_a_channel_in_the_photos_proportions():
    maps = np.zeros((5, 8, 8), np.float32)
    maps[1, :, 4:] = 7
    shown = features.sheet(maps, (1280, 1918))
    assert shown.shape == (2 * 200 + 6, 4 * 306 - 6, 3)
    dark, bright = shown[100, 306 + 50], shown[100, 306 + 250]
    assert bright.sum() > dark.sum() + 150
    assert (shown[100, 50] == dark).all(), "a channel of one value is dark"
    assert features.sheet(np.zeros((320, 4, 4), np.float32), (2, 3)).shape[1] == 16 * 81 - 6


def test_the_command_takes_a_file_or_one_of_kaggles_names(project, kaggle):
    set_params(project)
    (project / "data").mkdir()
    (project / "data/raw").symlink_to(kaggle)
    model = models.build(read_network(depth=2))
    checkpoint.save(project / "models/fold-0.safetensors", model, read_network(depth=2), (64, 64))
    assert "4 levels in out" in stage(project, "features", "fffe00001111_01.jpg", "--out", "out")
    levels = ("01-network.encoder.0", "02-network.encoder.1", "03-network.decoder.0", "04-network")
    assert {path.name for path in (project / "out").iterdir()} == {"index.html", *(f"{name}.png" for name in levels)}
    page = (project / "out/index.html").read_text(encoding="utf-8")
    assert page.count("<img") == 1 + 4, "the photo and the levels"
    assert re.search(r"network\.encoder\.1: 8 channels of 32×32, values from 0 to [0-9.]+<", page)

    own = """own<script>"'&.jpg"""
    (project / own).write_bytes(jpeg(picture(0)[0][:600]))
    stage(project, "features", own, "--out", "out")
    page = (project / "out/index.html").read_text(encoding="utf-8")
    assert "network: 1 channel of 64×64" in page
    escaped = "own&lt;script&gt;&#34;&#39;&amp;.jpg"
    assert f"<title>Feature maps of {escaped}</title>" in page
    assert f'width="640" height="200" alt="{escaped}" src="data:image/webp;base64,' in page
    assert not re.search("<script|http", page)
    assert "neither a file nor a photo" in stage(project, "features", "none.jpg", "--out", "out", status=1)
    assert "fold-3.safetensors is missing" in stage(project, "features", own, "--out", "out", "--fold", "3", status=1)
