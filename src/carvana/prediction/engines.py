"""Engines that compute logits of photos: torch on a GPU or a CPU, or OpenVINO on a CPU."""

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from carvana.base.errors import UserError
from carvana.devices import device
from carvana.prediction.settings import Settings

# Photos uint8 [n, height, width, 3] → logits float32 [n, height, width]; several threads may call it at the same time.
Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


@dataclass(frozen=True)
class Engine:
    """The function that computes logits, how many photos it takes per call, and how many threads keep it busy."""

    compute: Compute
    photos_a_call: int
    threads: int


def build(network: nn.Module, size: tuple[int, int], how: Settings) -> Engine:
    """Returns the engine for networks of `size` = (height, width).

    On a CPU, each core computes a photo of its own, which is faster than all cores on one photo. OpenVINO computes in
    threads of its own, and there are twice as many callers, because some wait for it. A GPU computes one batch at a
    time, called by one thread, while others compute runs.
    """
    if how.on.type != "cpu":
        return Engine(_torch(network, how.on), how.batch_size, max(how.workers, 2))
    if how.engine == "openvino":
        return _openvino(network, size, how.threads)
    return Engine(_torch(network, how.on), 1, how.threads)


@contextlib.contextmanager
def one_core_a_thread() -> Iterator[None]:
    """Makes torch compute on one core for each thread that calls it on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _torch(network: nn.Module, on: torch.device) -> Compute:
    network = network.to(on).eval()
    host: Tensor | None = None

    def compute(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal host
        with torch.inference_mode(), device.precision(on):
            logits = network(torch.from_numpy(photos).to(on, non_blocking=True)).float()
            if on.type != "cuda":
                return logits.cpu().numpy()
            if host is None or len(host) < len(logits):
                host = torch.empty(logits.shape, pin_memory=True)
            return host[: len(logits)].copy_(logits).numpy().copy()

    return compute if on.type == "cpu" else by_one_thread(compute)


def by_one_thread(compute: Compute) -> Compute:
    """Returns a function whose callers wait while one thread, always the same, computes for them in turn.

    Torch keeps cuDNN's plans for each thread that calls it (https://github.com/pytorch/pytorch/pull/103939), so that
    every thread would have to plan anew. With 16 threads that took turns on an H200, prediction began slowly.
    """
    thread = ThreadPoolExecutor(1)
    return lambda photos: thread.submit(compute, photos).result()


@functools.cache
def load_openvino() -> tuple[ModuleType, Any]:
    """Returns the module and this process's only `openvino.Core`. Raises UserError if OpenVINO is not installed.

    The latter is never freed. OpenVINO replaces the signal stack of the thread that first compiles a network, and frees
    that stack together with the last of its objects. If another thread does that, the first one's next signal (Ctrl-C,
    or a DataLoader's worker that ends) kills the process.
    """
    # OpenVINO's import and its conversion report to an analytics service through this package, without asking. If it is
    # missing they report nothing; with None, Python treats it as missing.
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    try:
        import openvino  # noqa: PLC0415 - optional
    except ModuleNotFoundError:
        raise UserError("OpenVINO is not installed; `pip install openvino`") from None
    return openvino, openvino.Core()


def to_openvino(network: nn.Module, size: tuple[int, int]) -> Any:
    """Returns an `openvino.Model` of a network, for any number of photos of `size` (height, width)."""
    openvino, _ = load_openvino()
    photos = torch.zeros(2, *size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        # OpenVINO itself would trace it twice and compare the results: four times as long, minutes for large ensembles.
        traced = torch.jit.trace(network.cpu().eval(), photos, strict=False, check_trace=False)
        return openvino.convert_model(traced, example_input=photos, input=[(-1, *size, 3)])


def _openvino(network: nn.Module, size: tuple[int, int], cores: int) -> Engine:
    """Returns an engine that computes photos one by one, `cores` at the same time."""
    model, (_, core) = to_openvino(network, size), load_openvino()
    # One shape, so that OpenVINO plans for it when it compiles.
    model.reshape([1, *size, 3])
    settings = {
        "INFERENCE_PRECISION_HINT": "bf16" if device.has_bfloat16(torch.device("cpu")) else "f32",
        "NUM_STREAMS": str(cores),
        "INFERENCE_NUM_THREADS": str(cores),
        # Pinned threads would compete with the decoding workers for one core while another is idle.
        "ENABLE_CPU_PINNING": "NO",
    }
    compiled = core.compile_model(model, "CPU", settings)
    mine = threading.local()

    def compute(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not hasattr(mine, "request"):
            mine.request = compiled.create_infer_request()
        return np.concatenate([mine.request.infer(photo[None])[0].copy() for photo in photos])

    return Engine(compute, 1, 2 * cores)
