"""Whether prediction keeps a GPU busy, on a machine without one: `python benchmarks/pipeline.py`.

Prediction's own pipeline, in which workers that decode, a device, and threads that compute runs sleep instead of
working. The slowest of the three should alone determine the speed. With one buffer for logits (`--buffers 1`) the
device waits for the runs of each batch before it begins the next.
"""

import argparse
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from carvana.base import params, paths  # noqa: E402
from carvana.data import loader  # noqa: E402
from carvana.prediction import engines, inference  # noqa: E402
from carvana.prediction.settings import Settings  # noqa: E402

SIZE, BATCH, WORKERS = (64, 64), 16, 2
# Decoding, network and runs, as multiples of --rate.
RATIOS = [(1, 1, 1), (1, 2, 2), (2, 1, 2), (2, 2, 1), (4, 1, 1), (1, 1, 4), (1, 4, 1)]


class Device:
    """Computes one batch after the other, a given number of photos a second, beside this process."""

    def __init__(self, rate: float) -> None:
        self.rate, self.busy_until = rate, 0.0

    def launch(self, photos: Tensor, _buffer: Tensor) -> Callable[[], None]:
        """Begins a batch when the one before is done."""
        until = self.busy_until = max(self.busy_until, time.perf_counter()) + len(photos) / self.rate
        return lambda: time.sleep(max(until - time.perf_counter(), 0))


def measure(path: Path, decode: float, network: float, runs: float, buffers: int) -> float:
    """Photos per second of the whole, of which the parts alone would do `decode`, `network` and `runs` a second."""

    def sleep_to_decode(*_: object) -> np.ndarray:
        time.sleep(WORKERS / decode)
        return np.zeros((*SIZE, 3), np.uint8)

    def sleep_to_find_runs(*_: object) -> np.ndarray:
        time.sleep(WORKERS / runs)
        return np.zeros((0, 2), np.int32)

    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    begin = engines.launched_ahead(Device(network).launch, [torch.zeros(BATCH, *SIZE) for _ in range(buffers)])
    how = replace(Settings.of(params.load(ROOT / paths.PARAMS)), workers=WORKERS, batch_size=BATCH)
    with (
        mock.patch.object(loader, "decode_photo", sleep_to_decode),
        mock.patch.object(inference, "runs_of_logits", sleep_to_find_runs),
        mock.patch.object(engines, "build", lambda *_: engines.Engine(begin, BATCH, buffers)),
    ):
        done = [time.perf_counter() for _ in inference.predict(mock.Mock(size=SIZE), path, names, how)]
    # In steady state: the first batches fill the pipeline.
    first = len(done) // 4 // BATCH * BATCH
    return (len(done) - first) / (done[-1] - done[first - 1])


def main() -> None:
    """Prints a line for each ratio of the three, and the lowest share of what the slowest allows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--photos", type=int, default=960)
    parser.add_argument("--rate", type=float, default=200, help="photos a second of the slowest part")
    parser.add_argument("--buffers", type=int, default=3)
    parser.add_argument("--rows", type=int, default=len(RATIOS), help="how many of the ratios")
    arguments = parser.parse_args()
    lowest = 1.0
    print("decode  network  runs   whole  of the slowest")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "test.zip"
        with zipfile.ZipFile(path, "w") as archive:
            for number in range(arguments.photos):
                archive.writestr(f"{number // 16:012x}_{number % 16 + 1:02d}.jpg", b"")
        for ratio in RATIOS[: arguments.rows]:
            rates = [arguments.rate * each for each in ratio]
            whole = measure(path, *rates, arguments.buffers)
            lowest = min(lowest, whole / min(rates))
            print("{:6.0f}{:9.0f}{:6.0f}".format(*rates) + f"{whole:8.1f}{whole / min(rates):16.2f}", flush=True)
    print(f"lowest {lowest:.2f}")


if __name__ == "__main__":
    main()
