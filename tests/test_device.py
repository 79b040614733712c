"""What a GPU is asked to do, on a machine without one."""

import pytest
import torch
from conftest import has_bfloat16
from projects import read_params

from carvana.base.errors import UserError
from carvana.devices import device
from carvana.training import state


@pytest.mark.parametrize(("capability", "precision"), [((8, 0), "bfloat16"), ((7, 5), "float16"), ((6, 1), "float32")])
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


@pytest.mark.parametrize("name", ["cdua:0", "gpu", "cuda:99"])
def test_a_device_that_is_not_there_is_told_what_there_may_be(name):
    with pytest.raises(UserError, match=rf"runtime\.device: {name} is not available .*; choose auto, cpu, cuda"):
        device.pick(name)
