"""Which processor computes, and in which precision."""

import contextlib

import torch

from carvana.errors import UserError


def pick(name: str) -> torch.device:
    """The device of a name (`cpu`, `cuda`, `cuda:1`, `mps`); `auto` takes a GPU where there is one."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(f"params.yaml: runtime.device: {name} is not to be had here ({error}); try auto") from error


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; in emulation it would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # The flags by which torch itself chooses its kernels; there is no public name for them yet.
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def precision(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """bfloat16 autocast where the device has it, else float32."""
    if has_bfloat16(device):
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()
