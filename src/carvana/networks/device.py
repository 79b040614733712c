"""Which processor computes, in which precision, and with which memory."""

import contextlib
import ctypes
import sys
from collections.abc import Iterator

import torch

from carvana.errors import UserError, first_line


def pick(name: str) -> torch.device:
    """The device of a name (`cpu`, `cuda`, `cuda:1`, `mps`); `auto` takes a GPU if there is one."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        torch.empty(0, device=name)
        return torch.device(name)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise UserError(
            f"params.yaml: runtime.device: {name} is not available on this machine ({first_line(error)}); try auto"
        ) from error


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware; in emulation it would be slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    # The flags by which torch itself chooses its kernels; there is no public name for them yet.
    return device.type == "cpu" and (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def has_float16(device: torch.device) -> bool:
    """Whether the device multiplies float16 faster than float32: GPUs with tensor cores."""
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
    """Returns autocast to the precision of a name, `float16` or `bfloat16`; for `float32` it does nothing."""
    name = precision_name(device, name)
    if name == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, name))


def prepare(device: torch.device) -> None:
    """Sets this process up to train on the device.

    On the CPU the process keeps the memory that it frees, for its next step: glibc gives every large block back and
    takes it anew, and the system then clears it page by page, some 12 % of a step.
    """
    choose_kernels(device)
    if device.type == "cpu" and sys.platform == "linux":
        trim_threshold, mmap_max = -1, -4  # malloc.h
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(mmap_max, 0)
            libc.mallopt(trim_threshold, 2**31 - 1)


def choose_kernels(device: torch.device) -> None:
    """On a GPU lets cuDNN try its kernels on the first batch, and keep the fastest."""
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True


@contextlib.contextmanager
def enough_memory(advice: str) -> Iterator[None]:
    """Turns "out of memory" of a GPU or of the CPU into a UserError that ends in `advice`."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise UserError(f"out of memory ({first_line(error)}); {advice}") from error
    except RuntimeError as error:
        # The CPU's allocator has no exception of its own.
        if "can't allocate memory" not in str(error):
            raise
        raise UserError(f"out of memory ({first_line(error)}); {advice}") from error


@contextlib.contextmanager
def working_compiler(wanted: bool) -> Iterator[None]:
    """Turns a failure of torch.compile, if it is `wanted`, into a UserError."""
    try:
        yield
    except RuntimeError as error:
        if not wanted or not isinstance(error, torch._dynamo.exc.TorchDynamoException):
            raise
        raise UserError(f"torch.compile failed ({first_line(error)}); set runtime.compile: false") from error
