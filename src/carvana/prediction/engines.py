"""Engines that compute logits of photos: torch on a GPU or a CPU, or OpenVINO on a CPU."""

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from carvana.base.errors import UserError
from carvana.devices import device
from carvana.prediction.settings import Settings

Logits = NDArray[np.float32]
Compute = Callable[[NDArray[np.uint8]], Logits]  # photos uint8 [n, height, width, 3] → [n, height, width]
Begin = Callable[[Tensor], contextlib.AbstractContextManager[Logits]]
Launch = Callable[[Tensor, Tensor], Callable[[], object]]

_BUFFERS = 3  # of a GPU's logits: one is written, one is read, and one is ready for the next batch


@dataclass(frozen=True)
class Engine:
    """What computes logits; several threads may use it at the same time.

    `begin` takes photos uint8 [n, height, width, 3], at most `photos_a_call`, and returns a context of their logits
    float32 [n, height, width], which must not be used after it. A CPU computes when the context is entered; a GPU has
    begun before. `threads` that enter contexts keep the device busy.
    """

    begin: Begin
    photos_a_call: int
    threads: int

    def compute(self, photos: NDArray[np.uint8]) -> Logits:
        """Returns logits float32 [n, height, width] of photos uint8 [n, height, width, 3]."""
        with self.begin(torch.from_numpy(photos)) as logits:
            return logits.copy()


def build(network: nn.Module, size: tuple[int, int], how: Settings) -> Engine:
    """Returns the engine for networks of `size` = (height, width).

    On a CPU, each core computes a photo of its own, which is faster than all cores on one photo. OpenVINO computes in
    threads of its own, and there are twice as many callers, because some wait for it. A GPU computes one batch after
    the other.
    """
    if how.on.type != "cpu":
        return _on_gpu(network, size, how)
    if how.engine == "openvino":
        return _openvino(network, size, how.threads)
    return Engine(_when_entered(_torch(network)), 1, how.threads)


@contextlib.contextmanager
def one_core_a_thread() -> Iterator[None]:
    """Makes torch compute on one core for each thread that calls it on the CPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _torch(network: nn.Module) -> Compute:
    network = network.cpu().eval()

    def compute(photos: NDArray[np.uint8]) -> Logits:
        with torch.inference_mode(), device.precision(torch.device("cpu")):
            return network(torch.from_numpy(photos)).float().numpy()

    return compute


def _when_entered(compute: Compute) -> Begin:
    @contextlib.contextmanager
    def begin(photos: Tensor) -> Iterator[Logits]:
        yield compute(photos.numpy())

    return begin


def _on_gpu(network: nn.Module, size: tuple[int, int], how: Settings) -> Engine:
    on, is_cuda = how.on, how.on.type == "cuda"
    network = network.to(on).eval()

    def launch(photos: Tensor, buffer: Tensor) -> Callable[[], object]:
        with torch.inference_mode(), device.precision(on):
            logits = network(photos.to(on, non_blocking=True)).float()
            buffer[: len(photos)].copy_(logits, non_blocking=is_cuda)
        if not is_cuda:
            return lambda: None
        # Its waiting threads sleep, so that their cores can decode and compute runs.
        return torch.cuda.current_stream(on).record_event(torch.cuda.Event(blocking=True)).synchronize

    buffers = [torch.empty(how.batch_size, *size, pin_memory=is_cuda) for _ in range(_BUFFERS)]
    return Engine(launched_ahead(launch, buffers), how.batch_size, _BUFFERS)


def launched_ahead(launch: Launch, buffers: list[Tensor]) -> Begin:
    """Returns `Engine.begin` of a device that computes on its own, while this process does something else.

    `launch(photos, buffer)` makes the device write their logits into one of the `buffers` [n, height, width], and
    returns a function that waits until they are there. A buffer is free again at the end of its context; `begin` waits
    for one. One thread, always the same, launches: torch keeps cuDNN's plans for each thread that calls it
    (https://github.com/pytorch/pytorch/pull/103939), so that every thread, and every fold, would plan anew.
    """
    free: SimpleQueue[Tensor] = SimpleQueue()
    for buffer in buffers:
        free.put(buffer)

    @contextlib.contextmanager
    def arriving(launched: Future[Callable[[], object]], buffer: Tensor, count: int) -> Iterator[Logits]:
        try:
            wait = launched.result()
            wait()
            yield buffer[:count].numpy()
        finally:
            free.put(buffer)

    def begin(photos: Tensor) -> contextlib.AbstractContextManager[Logits]:
        buffer = free.get()
        return arriving(_launching_thread().submit(launch, photos, buffer), buffer, len(photos))

    return begin


@functools.cache
def _launching_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1)


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

    def compute(photos: NDArray[np.uint8]) -> Logits:
        if not hasattr(mine, "request"):
            mine.request = compiled.create_infer_request()
        return np.concatenate([mine.request.infer(photo[None])[0].copy() for photo in photos])

    return Engine(_when_entered(compute), 1, 2 * cores)
