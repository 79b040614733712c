import pytest
import torch
from torch import nn

from carvana.networks.models import Model


@pytest.mark.parametrize("trains", [True, False])
@pytest.mark.parametrize("groups", [1, 8])
def test_only_a_trainings_grouped_convolutions_are_float32(groups, trains):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, groups=groups)
    model = Model(nn.Sequential(nn.Conv2d(3, 8, 1), layer, nn.Conv2d(8, 1, 1))).train(trains)
    seen = []
    layer.register_forward_hook(lambda _, inputs, output: seen.append((*inputs, output)))
    with torch.autocast("cpu", torch.bfloat16):
        model(torch.randint(0, 256, (2, 9, 9, 3), dtype=torch.uint8))
    ((features, output),) = seen
    assert features.dtype == output.dtype == torch.bfloat16
    exact = layer(features.float()).bfloat16()
    gradients = [torch.autograd.grad(each.sum(), layer.weight, retain_graph=True)[0] for each in (output, exact)]
    kept = groups == 8 and trains
    assert torch.equal(output, exact) == kept
    assert torch.equal(*gradients) == kept
