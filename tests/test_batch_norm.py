import pytest
import torch
from torch import nn

from carvana.networks import batch_norm, zoo

# Channels, width, whether channels are last: and as how many neighbours a place is then seen.
SHAPES = [(8, 6, True, 2), (4, 8, True, 4), (5, 6, True, 3), (8, 7, True, 1), (8, 6, False, 1), (24, 6, True, 1)]


def layer(**numbers):
    made = batch_norm.BatchNorm2d(**numbers)
    nn.init.normal_(made.weight)
    nn.init.normal_(made.bias)
    return made


@pytest.mark.parametrize("numbers", [{}, {"eps": 0.1, "momentum": 0.3}])
@pytest.mark.parametrize(("channels", "width", "last", "folds"), SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_gradients_and_statistics_are_those_of_torch(numbers, channels, width, last, folds, dtype):
    torch.manual_seed(0)
    ours = layer(num_features=channels, **numbers)
    theirs = nn.BatchNorm2d(channels, **numbers)
    theirs.load_state_dict(ours.state_dict())
    memory = torch.channels_last if last else torch.contiguous_format
    photos = torch.randn(4, channels, 6, width) * 3 + torch.arange(float(channels))[:, None, None]
    photos = photos.to(dtype, memory_format=memory)
    assert batch_norm._folds(photos) == folds
    weights = torch.randn(4, channels, 6, width)
    results = []
    for each in (theirs, ours):
        given = photos.clone().requires_grad_()
        output = each.train()(given)
        assert output.is_contiguous(memory_format=memory)
        (output * weights).sum().backward()
        results.append([output, given.grad, each.weight.grad, each.bias.grad, *each.buffers(), each.eval()(photos)])
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        tolerance = 1e-4 if dtype == torch.float32 else 0.02
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


def test_relu_may_write_in_place():
    layers = nn.Sequential(layer(num_features=8), nn.ReLU(inplace=True))
    photos = torch.randn(2, 8, 6, 6).to(memory_format=torch.channels_last).requires_grad_()
    layers(photos).sum().backward()
    assert photos.grad.abs().sum() > 0


def test_on_gpus_all_layers_are_shared_and_timms_keep_their_activation():
    model = nn.Sequential(
        zoo.timm.layers.BatchNormAct2d(5, act_layer=nn.SiLU), nn.BatchNorm2d(5), layer(num_features=5)
    )
    zoo.share_batch_norm(model)
    assert isinstance(model[0].act, nn.SiLU)
    assert all(isinstance(each, nn.SyncBatchNorm) for each in model)


def test_a_single_value_has_no_variance_and_is_refused_as_torch_refuses_it():
    single = layer(num_features=8)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        single(torch.zeros(1, 8, 1, 1))
