"""What computes logits of photos: torch, on a GPU or a CPU, or OpenVINO on a CPU."""

import contextlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from carvana.networks import device

# Photos uint8 [n, height, width, 3] → logits float32 [n, height, width]; several threads may call it at a time.
Compute = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def choose(name: str) -> str:
    """`torch` or `openvino`, as `runtime.engine` names it for a CPU: `auto` is OpenVINO where it is installed."""
    if name == "torch" or importlib.util.find_spec("openvino"):
        return "torch" if name == "torch" else "openvino"
    if name == "openvino":
        print("openvino is not installed (`pip install openvino`); torch computes instead", file=sys.stderr)
    return "torch"


def on_cpu(network: nn.Module, size: tuple[int, int], engine: str, cores: int) -> Compute:
    """An engine of `choose` on so many cores, each of which computes a photo of its own."""
    return _openvino(network, size, cores) if engine == "openvino" else _torch(network)


def on_device(network: nn.Module, size: tuple[int, int], engine: str, cores: int, on: torch.device) -> Compute:
    """An engine for photos that threads bring one by one: as `on_cpu`, or a GPU, which takes them in turn."""
    if on.type == "cpu":
        return on_cpu(network, size, engine, cores)
    network, turn = network.to(on).eval(), threading.Lock()

    def compute(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        with turn, torch.inference_mode(), device.precision(on):
            return network(torch.from_numpy(photos).to(on)).float().cpu().numpy()

    return compute


def threads(engine: str, cores: int) -> int:
    """How many threads, each with a photo of its own, keep so many cores busy.

    OpenVINO computes in threads of its own: while some of ours wait for those, as many others decode.
    """
    return 2 * cores if engine == "openvino" else cores


@contextlib.contextmanager
def one_core_a_thread() -> Iterator[None]:
    """Torch computes on the core of the thread that calls it: photos side by side beat cores side by side."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _torch(network: nn.Module) -> Compute:
    network = network.cpu().eval()

    def compute(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode(), device.precision(torch.device("cpu")):
            return network(torch.from_numpy(photos)).float().numpy()

    return compute


def _import_openvino() -> ModuleType:
    # OpenVINO's import and its conversion report to an analytics service through this package, unasked. Without the
    # package they report nothing; None is how Python is told that it is not there.
    sys.modules["openvino_telemetry"] = None
    import openvino  # noqa: PLC0415 - optional

    return openvino


def _openvino(network: nn.Module, size: tuple[int, int], cores: int) -> Compute:
    openvino = _import_openvino()
    photo = torch.zeros(1, *size, 3, dtype=torch.uint8)
    with torch.inference_mode():
        converted = openvino.convert_model(network.cpu().eval(), example_input=photo, input=[photo.shape])
    precision = "bf16" if device.has_bfloat16(torch.device("cpu")) else "f32"
    settings = {
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": str(cores),
        "INFERENCE_NUM_THREADS": str(cores),
        # Its own tests of a machine's load would fight with the threads that decode.
        "ENABLE_CPU_PINNING": "NO",
    }
    compiled = openvino.Core().compile_model(converted, "CPU", settings)
    mine = threading.local()

    def compute(photos: NDArray[np.uint8]) -> NDArray[np.float32]:
        if not hasattr(mine, "request"):
            mine.request = compiled.create_infer_request()
        return np.concatenate([mine.request.infer(photo[None])[0].copy() for photo in photos])

    return compute
