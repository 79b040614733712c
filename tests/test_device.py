"""What a GPU is asked to do, on a machine without one."""

import contextlib
import re

import pytest
import torch
from conftest import read_params
from torch import nn

from carvana.errors import UserError
from carvana.networks import device
from carvana.training import state


@pytest.mark.parametrize(
    ("capability", "precision"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")]
)
def test_auto_is_the_fastest_precision_of_the_gpu(monkeypatch, capability, precision):
    monkeypatch.undo()  # of what makes all tests compute in float32
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    gpu = torch.device("cuda")
    assert device.precision_name(gpu) == precision
    assert device.precision_name(gpu, "float32") == "float32"
    asked = []
    monkeypatch.setattr(torch, "autocast", lambda *what: asked.append(what) or contextlib.nullcontext())
    with device.precision(gpu):
        assert asked == ([] if precision == "float32" else [("cuda", getattr(torch, precision))])


@pytest.mark.parametrize("groups", [1, 8])
def test_only_a_trainings_grouped_convolutions_stay_float32(groups):
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, 3, groups=groups)
    features = torch.randn(2, 8, 9, 9)
    with device.precision(torch.device("cpu"), "bfloat16"):
        half = features.bfloat16()
        computed = layer(half)
    with torch.no_grad(), device.precision(torch.device("cpu"), "bfloat16"):
        predicted = layer(half)
    assert computed.dtype == predicted.dtype == torch.bfloat16
    assert torch.equal(computed, predicted) == (groups == 1)
    exact = layer(half.float())
    gradients = [torch.autograd.grad(each.sum(), layer.weight)[0] for each in (computed, exact)]
    assert torch.equal(*gradients) == (groups == 8)
    assert torch.equal(computed, exact.bfloat16()) == (groups == 8)


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_gradients_are_scaled_if_auto_is_float16(monkeypatch, name):
    monkeypatch.setattr(device, "precision_name", lambda *_: name)
    progress = state.begin(read_params(train_precision="auto").train, torch.device("cpu"))
    assert progress.scaler.is_enabled() == (name == "float16")


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("cdua:0", "did you mean cuda?"),
        ("Cuda", "did you mean cuda?"),
        ("atuo", "did you mean auto?"),
        ("gpu", "try auto"),
        ("cuda:99", "try auto"),
    ],
)
def test_a_mistyped_device_is_told_the_near_one(name, advice):
    with pytest.raises(UserError, match=rf"runtime\.device: {name} is not available .*; {re.escape(advice)}$"):
        device.pick(name)


def test_cudnn_tries_its_kernels_on_a_gpu_only(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    device.choose_kernels(torch.device("cpu"))
    assert not torch.backends.cudnn.benchmark
    device.choose_kernels(torch.device("cuda"))
    assert torch.backends.cudnn.benchmark
