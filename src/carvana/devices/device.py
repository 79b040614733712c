"""The device that computes, its precision and its memory."""

import contextlib
import platform
from collections.abc import Iterator
from pathlib import Path

import torch

from carvana.base.errors import UserError, first_line, near
from carvana.base.processes import keep_freed_memory

_KINDS = ("auto", "cpu", "cuda", "mps")


def pick(name: str) -> torch.device:
    """Returns the device of a name (`cpu`, `cuda`, `cuda:1`, `mps`); `auto` is a GPU if there is one, else the CPU.

    Raises UserError if the device is not available.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        kind = name.partition(":")[0]
        # `gpu` is most like cpu, which nobody means by it.
        advice = (kind not in (*_KINDS, "gpu") and near(kind, _KINDS)) or "; try auto"
        raise UserError(
            f"params.yaml: runtime.device: {name} is not available on this machine ({first_line(error)}){advice}"
        ) from error


def describe(device: torch.device) -> str:
    """Returns the device in words: `cpu`, `cuda (NVIDIA H100 80GB HBM3)`."""
    return f"{device} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def processor(device: torch.device) -> str:
    """Returns the name of the GPU, or of the CPU if the device is none that torch knows by name."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
        if names and names[0]:
            return names[0]
    return platform.processor() or platform.machine()


def has_bfloat16(device: torch.device) -> bool:
    """Returns whether the device multiplies bfloat16 in hardware; emulation would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # torch chooses its own kernels by these flags; they have no public names yet.
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_float16(device: torch.device) -> bool:
    """Returns whether the device multiplies float16 faster than float32, as GPUs with tensor cores do."""
    return device.type == "cuda" and torch.cuda.get_device_capability(device) >= (7, 0)


def precision_name(device: torch.device, name: str = "auto") -> str:
    """Returns the precision that a name stands for on a device.

    `auto` is bfloat16 if the device has it; else float16 if that is fast; else float32.
    """
    if name != "auto":
        return name
    if has_bfloat16(device):
        return "bfloat16"
    return "float16" if has_float16(device) else "float32"


def precision(device: torch.device, name: str = "auto") -> contextlib.AbstractContextManager[None]:
    """Returns a context that autocasts to `float16` or `bfloat16`; for `float32` it does nothing."""
    name = precision_name(device, name)
    if name == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, name))


def prepare(device: torch.device) -> None:
    """Prepares this process for training on the device.

    On the CPU, the process keeps freed memory for its next step, which saves about 12 % of a step.

    On a GPU, cuDNN chooses kernels by its own rules. With `cudnn.benchmark`, which tries them all, the first step at a
    size took 29 to 42 seconds on an H100, and the others about as long as without.
    """
    if device.type == "cpu":
        keep_freed_memory()


@contextlib.contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Raises UserError, with `advice` at its end, if the GPU or the CPU runs out of memory in the block."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise UserError(f"out of memory ({first_line(error)}); {advice}") from error
    except RuntimeError as error:
        # Of the CPU and of MPS, whose allocators have no exception class of their own.
        if not any(words in str(error) for words in ("can't allocate memory", "MPS backend out of memory")):
            raise
        raise UserError(f"out of memory ({first_line(error)}); {advice}") from error
