"""What a GPU is asked to do, on a machine without one."""

import re

import pytest
import torch
from conftest import has_bfloat16, read_params

from carvana.base.errors import UserError
from carvana.devices import device
from carvana.training import state


@pytest.mark.parametrize(
    ("capability", "precision"), [((9, 0), "bfloat16"), ((8, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")]
)
def test_auto_is_the_fastest_precision_of_the_gpu(monkeypatch, capability, precision):
    monkeypatch.setattr(device, "has_bfloat16", has_bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    gpu = torch.device("cuda")
    assert device.precision_name(gpu) == precision
    assert device.precision_name(gpu, "float32") == "float32"
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype: (kind, dtype))
    if precision != "float32":
        assert device.precision(gpu) == ("cuda", getattr(torch, precision))


@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_gradients_are_scaled_if_auto_is_float16(monkeypatch, name):
    monkeypatch.setattr(device, "precision_name", lambda *_: name)
    progress = state.begin(read_params(train_precision="auto").train, torch.device("cpu"))
    assert progress.scaler.is_enabled() == (name == "float16")


NEAR = {"cdua:0": "did you mean cuda?", "Cuda": "did you mean cuda?", "atuo": "did you mean auto?"}


@pytest.mark.parametrize(("name", "advice"), [*NEAR.items(), ("gpu", "try auto"), ("cuda:99", "try auto")])
def test_a_mistyped_device_is_told_the_near_one(name, advice):
    with pytest.raises(UserError, match=rf"runtime\.device: {name} is not available .*; {re.escape(advice)}$"):
        device.pick(name)
