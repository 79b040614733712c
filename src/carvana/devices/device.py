"""The device that computes, its precision and its memory."""

import contextlib
import platform
import re
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from carvana.base.errors import UserError, reason


def pick(name: str) -> torch.device:
    """Returns a name's device; `auto` is a GPU if there is one. Raises UserError if the device is not available."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"params.yaml: runtime.device: {name} is not available on this machine ({reason(error)}); "
            "choose auto, cpu, cuda, cuda:1 or mps"
        ) from error


def describe(device: torch.device) -> str:
    """Returns the device in words: `cpu`, `cuda (NVIDIA H100 80GB HBM3)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def processor(device: torch.device) -> str:
    """Returns the name of the GPU, or of the CPU if the device is none that torch knows by name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        if found := re.search(r"^model name\s*: *(\S.*)", text, re.MULTILINE):
            return found[1].strip()
    return platform.processor() or platform.machine()


def has_bfloat16(device: torch.device) -> bool:
    """Returns whether the device multiplies bfloat16 in hardware; emulation would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # torch chooses its own kernels by these flags; they have no public names yet.
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def precision_name(device: torch.device, name: str = "auto") -> str:
    """Returns the precision that a name stands for: `auto` is bfloat16 or else float16 where that is fast."""
    if name != "auto":
        return name
    if has_bfloat16(device):
        return "bfloat16"
    has_tensor_cores = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)
    return "float16" if has_tensor_cores else "float32"


def precision(device: torch.device, name: str = "auto") -> contextlib.AbstractContextManager[None]:
    """Returns a context that autocasts to `float16` or `bfloat16`; for `float32` it does nothing."""
    name = precision_name(device, name)
    return contextlib.nullcontext() if name == "float32" else torch.autocast(device.type, getattr(torch, name))


def facts(device: torch.device, name: str = "auto") -> dict[str, Any]:
    """Returns what a `Speed` says of the device and of the precision that a name stands for."""
    return {"device": device.type, "processor": processor(device), "precision": precision_name(device, name)}


def send(values: Tensor, on: torch.device) -> Tensor:
    """Returns a CPU's values on a device, for which a GPU does not interrupt what it computes."""
    return values.pin_memory().to(on, non_blocking=True) if on.type == "cuda" else values.to(on)


@contextlib.contextmanager
def enough_memory(advice: Callable[[], str]) -> Iterator[None]:
    """Raises UserError, which ends in what `advice` returns, if the GPU or the CPU runs out of memory in the block."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # The allocators of the CPU and of MPS have no exception class of their own.
        said = any(words in str(error) for words in ("can't allocate memory", "MPS backend out of memory"))
        if said or isinstance(error, torch.OutOfMemoryError | MemoryError):
            # What the block had in memory is free then, for an advice that tries what fits.
            traceback.clear_frames(error.__traceback__)
            raise UserError(f"out of memory ({reason(error)}); {advice()}") from error
        raise


def fits(work: Callable[[], object]) -> bool:
    """Returns whether there is enough memory for some work, which it does."""
    try:
        with enough_memory(str):
            work()
    except UserError:
        return False
    return True
