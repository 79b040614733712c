import numpy as np
import pytest
import torch
from projects import read_network
from torch.nn import functional

from carvana.base.errors import UserError
from carvana.networks import models, unet

SLIDES = {"width": 8, "batch_norm": False, "head": "slides", "dropout": 0.5}


def test_the_slides_networks_have_the_slides_layers_and_parameters():
    assert models.count_parameters(models.build(read_network(depth=4, **SLIDES))) == 120_965
    table = models.summary(models.build(read_network(depth=5, **SLIDES)), (512, 512)).splitlines()
    parameters = [int(line.split()[-1].replace(",", "")) for line in table]
    encoder = [224, 584, 1168, 2320, 4640, 9248, 18496, 36928, 73856, 147584]
    decoder = [32832, 73792, 36928, 8224, 18464, 9248, 2064, 4624, 2320, 520, 1160, 584]
    assert parameters == [*encoder, *decoder, 146, 3, 485_957]
    assert "128×32×32" in table[9]
    assert "1×512×512" in table[-2]


@pytest.mark.parametrize("head", ["plain", "slides"])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("upsampling", ["nearest", "bilinear", "transposed"])
@pytest.mark.parametrize("patch", [1, 2, 4])
def test_photos_in_and_one_logit_a_pixel_out(head, batch_norm, upsampling, patch):
    model = models.build(read_network(head=head, batch_norm=batch_norm, upsampling=upsampling, patch=patch)).eval()
    photos = torch.randint(0, 256, (2, 32, 64, 3), dtype=torch.uint8)
    logits = model(photos)
    assert (logits.shape, logits.dtype) == ((2, 32, 64), torch.float32)
    assert torch.isfinite(logits).all()
    assert torch.equal(logits, model(photos.float())), "floats and bytes are the same photo"


def test_a_patched_network_sees_and_answers_every_pixel():
    """The gradient of one pixel's logit reaches its own colour, and no other logit of its square is the same."""
    torch.manual_seed(0)
    model = models.build(read_network(patch=2, width=16))
    photos = (torch.rand(1, 32, 32, 3) * 255).requires_grad_()
    logits = model(photos)
    for row, column in ((8, 8), (8, 9), (9, 8), (9, 9)):
        (gradient,) = torch.autograd.grad(logits[0, row, column], photos, retain_graph=True)
        assert gradient[0, row, column].abs().sum() > 0
    assert logits[0, 8:10, 8:10].unique().numel() == 4


def test_a_size_that_cannot_be_halved_is_named():
    models.require_size(read_network(depth=5), (32, 64))
    with pytest.raises(UserError, match=r"train\.size: 96×96 is not a multiple of 64, .*patch: 2 and train\.depth: 6 "):
        models.require_size(read_network(depth=6, patch=2), (96, 96))


def test_there_are_no_encoder_weights_without_an_encoder():
    with pytest.raises(UserError, match=r"train\.encoder_weights: there are none without a train\.encoder"):
        models.build(read_network(), "imagenet")


def test_upsampling_is_kerass_same_convolution():
    """Keras pads a 2×2 kernel below and to the right: output (0, 0) sees inputs (0, 0) to (1, 1)."""
    up = unet._up("nearest", 1, 1, norm=False)
    with torch.no_grad():
        up.convolution[0].weight.fill_(1)
        up.convolution[0].bias.fill_(0)
    photo = torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]])
    padded = np.pad(np.kron([[1, 2], [3, 4]], np.ones((2, 2))), ((0, 1), (0, 1)))
    expected = [[padded[i : i + 2, j : j + 2].sum() for j in range(4)] for i in range(4)]
    assert up(photo)[0, 0].tolist() == expected


def test_dropout_acts_on_the_two_deepest_levels_and_in_training_only():
    model = models.build(read_network(depth=4, dropout=0.5))
    seen = []
    model.network.dropout.register_forward_hook(lambda layer, inputs, output: seen.append(output.shape[1]))
    model(torch.zeros(1, 32, 32, 3, dtype=torch.uint8))
    assert seen == [16, 32]
    model.eval()
    photos = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    assert torch.equal(model(photos), model(photos))


def test_every_parameter_learns():
    torch.manual_seed(0)
    model = models.build(read_network())
    logits = model(torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8))
    functional.binary_cross_entropy_with_logits(logits, torch.rand(2, 32, 32)).backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
