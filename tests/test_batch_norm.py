from copy import deepcopy

import pytest
import torch
from torch import distributed, nn

from carvana import batch_norm, zoo


@pytest.fixture
def _alone():
    """A group of one process: the whole batch is its own, and torch's batch norm says what is right."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


def layers():
    torch.manual_seed(0)
    kinds = [
        nn.BatchNorm2d(5),
        nn.BatchNorm2d(5, eps=0.1, momentum=0.3),
        zoo.timm.layers.BatchNormAct2d(5, act_layer=nn.SiLU),
    ]
    for layer in kinds:
        nn.init.normal_(layer.weight)
        nn.init.normal_(layer.bias)
    return kinds


@pytest.mark.usefixtures("_alone")
@pytest.mark.parametrize("layer", layers())
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_values_gradients_and_statistics_are_those_of_torch(layer, dtype):
    shared = batch_norm.share(deepcopy(layer))
    photos = (torch.randn(4, 5, 6, 7) * 3 + torch.arange(5.0)[:, None, None]).to(dtype)
    weights = torch.randn(4, 5, 6, 7)
    results = []
    for each in (layer, shared):
        given = photos.clone().requires_grad_()
        each.zero_grad()
        output = each.train()(given)
        (output * weights).sum().backward()
        results.append([output, given.grad, each.weight.grad, each.bias.grad, *each.buffers(), each.eval()(photos)])
    for expected, found in zip(*results, strict=True):
        assert found.dtype == expected.dtype
        torch.testing.assert_close(found, expected, rtol=1e-4 if dtype == torch.float32 else 0.02, atol=1e-4)
    assert shared.state_dict().keys() == layer.state_dict().keys()


def test_on_gpus_timms_layers_keep_their_activation():
    model = zoo.share_batch_norm(nn.Sequential(zoo.timm.layers.BatchNormAct2d(5, act_layer=nn.SiLU), nn.BatchNorm2d(5)))
    assert isinstance(model[0].act, nn.SiLU)
    assert all(isinstance(layer, nn.SyncBatchNorm) for layer in model)
