"""Prediction's speed: `python benchmarks/prediction.py`, on an otherwise idle machine.

The route that public repositories take (one photo at a time: decode, resize, a float32 forward pass, sigmoid, resize to
1918×1280, threshold, numpy's run-length code, rows in a list, pandas at the end) and this project's, from one zip to
submission.csv with one network: end to end, and step by step with all threads at the same work. They run in processes
of their own, alternately; the medians of several rounds are compared. Starting up is not counted.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from carvana.base import params, paths  # noqa: E402
from carvana.competition import HEIGHT, WIDTH  # noqa: E402
from carvana.data.archive import Archive  # noqa: E402
from carvana.data.photos import decode_photo  # noqa: E402
from carvana.devices import device  # noqa: E402
from carvana.kaggle import submission  # noqa: E402
from carvana.masks import rle, shards  # noqa: E402
from carvana.masks.fullsize import runs_of_logits  # noqa: E402
from carvana.prediction import engines  # noqa: E402
from carvana.prediction.inference import Ensemble, predict  # noqa: E402
from carvana.prediction.settings import Settings, choose_engine  # noqa: E402

WARM = 8
STEPS = ("decode", "network", "runs", "text")
Pixels = NDArray[np.uint8]
Logits = NDArray[np.float32]


def plain_decode(data: bytes, size: tuple[int, int]) -> Pixels:
    """RGB uint8 [height, width, 3]."""
    photo = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    return cv2.resize(cv2.cvtColor(photo, cv2.COLOR_BGR2RGB), size[::-1])


def plain_network(model: nn.Module, photo: Pixels) -> Logits:
    """Logits float32 [height, width], in torch's default memory format and with all cores."""
    with torch.no_grad():
        channels_first = torch.from_numpy(photo).permute(2, 0, 1).contiguous()
        return model(channels_first.permute(1, 2, 0)[None])[0].numpy()


def plain_runs(logits: Logits) -> NDArray[np.int64]:
    """Returns starts and lengths alternately."""
    mask = cv2.resize(1 / (1 + np.exp(-logits)), (WIDTH, HEIGHT)) > 0.5
    pixels = np.concatenate([[0], mask.flatten(), [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    runs[1::2] -= runs[::2]
    return runs


def plain_text(runs: NDArray[np.int64]) -> str:
    """As the kernels of the competition have it."""
    return " ".join(str(each) for each in runs)


def plain(ensemble: Ensemble, folder: Path) -> float:
    """Photos per second of the plain route, end to end."""
    model = ensemble.models[0].to(memory_format=torch.contiguous_format)
    rows, started = [], 0.0
    with zipfile.ZipFile(folder / "test.zip") as archive:
        for number, name in enumerate(archive.namelist()):
            if number == WARM:
                started = time.perf_counter()
            logits = plain_network(model, plain_decode(archive.read(name), ensemble.size))
            rows.append((name, plain_text(plain_runs(logits))))
    pd.DataFrame(rows, columns=["img", "rle_mask"]).to_csv(folder / "submission.csv", index=False)
    return (len(rows) - WARM) / (time.perf_counter() - started)


def ours(ensemble: Ensemble, folder: Path, how: Settings) -> float:
    """Photos per second of this project, end to end."""
    with Archive(folder / "test.zip") as archive:
        names = archive.photos
    predictions = predict(ensemble, folder / "test.zip", names, how)
    done: list[Any] = list(islice(predictions, WARM))
    started = time.perf_counter()
    done += predictions
    shards.write(folder / "predictions/000.parquet", [each.photo for each in done], [each.runs for each in done])
    submission.write(folder / "predictions", folder / "sample.csv", folder / "ours.csv", folder / "ours.csv.gz")
    return (len(done) - WARM) / (time.perf_counter() - started)


def plain_steps(ensemble: Ensemble, files: list[bytes]) -> dict[str, float]:
    """Seconds a photo of every step of the plain route."""
    model = ensemble.models[0].to(memory_format=torch.contiguous_format)
    decoded = each(lambda data: plain_decode(data, ensemble.size), files, 1)
    logits = each(lambda photo: plain_network(model, photo), decoded[1], 1)
    runs = each(plain_runs, logits[1], 1)
    return dict(zip(STEPS, (decoded[0], logits[0], runs[0], each(plain_text, runs[1], 1)[0]), strict=True))


def our_steps(ensemble: Ensemble, files: list[bytes], how: Settings) -> dict[str, float]:
    """Seconds a photo of every step of this project, with all threads at the same step."""
    engine = engines.build(ensemble.eval(), ensemble.size, how)
    with engines.one_core_a_thread():
        decoded = each(lambda data: decode_photo(data, "photo", ensemble.size), files, how.workers)
        logits = each(lambda photo: engine.compute(photo[None])[0], decoded[1], engine.threads)
        runs = each(lambda values: runs_of_logits(values, how.threshold), logits[1], how.workers)
        # One thread: the stage that does it has no other.
        text = each(rle.to_text, runs[1], 1)
    return dict(zip(STEPS, (decoded[0], logits[0], runs[0], text[0]), strict=True))


def each(step: Callable[[Any], Any], values: Sequence[Any], threads: int) -> tuple[float, list[Any]]:
    """Seconds a value that `threads` threads need together, and the results."""
    with ThreadPoolExecutor(threads) as pool:
        # One thread is this one: torch keeps cores for every thread that has called it.
        run = pool.map if threads > 1 else map
        list(run(step, values[:WARM]))
        started = time.perf_counter()
        results = list(run(step, values))
        return (time.perf_counter() - started) / len(values), results


def write_zip(source: Path, folder: Path, count: int) -> None:
    """A test.zip of `count` photos, those of `source` under names of its own, and its sample submission."""
    names = [f"{number // 16:012x}_{number % 16 + 1:02d}.jpg" for number in range(count)]
    with Archive(source) as archive, zipfile.ZipFile(folder / "test.zip", "w") as target:
        for number, name in enumerate(names):
            target.writestr(name, archive.read(archive.photos[number % len(archive.photos)]))
    (folder / "sample.csv").write_text("\n".join(["img,rle_mask", *(f"{name}," for name in names), ""]))


def measure(route: str, model: Path, size: int, folder: Path) -> None:
    """Prints one round of a route as JSON: photos per second, and seconds a photo of every step."""
    ensemble = Ensemble.load([model]).eval()
    ensemble.size = (size, size) if size else ensemble.size
    with Archive(folder / "test.zip") as archive:
        files = [archive.read(name) for name in archive.photos]
    if route == "plain":
        found = {"end to end": plain(ensemble, folder)} | plain_steps(ensemble, files)
    else:
        how = replace(Settings.of(params.load(ROOT / paths.PARAMS)), on=torch.device("cpu"), engine=route)
        found = {"end to end": ours(ensemble, folder, how)} | our_steps(ensemble, files, how)
    print(json.dumps(found))


def show(route: str, found: dict[str, float], baseline: dict[str, float]) -> None:
    """Prints a route's figures, and how many times faster than the baseline's they are."""
    rate, steps = found["end to end"], {name: found[name] for name in STEPS}
    allowed = 1 / sum(steps.values())
    print(f"{route:<10}{rate:8.2f}", end="")
    for name, seconds in steps.items():
        print(f"{seconds * 1e3:10.3f}{f' ({baseline[name] / seconds:.1f})':<8}", end="")
    print(f"   {rate / baseline['end to end']:.2f} times plain, {rate / allowed:.0%} of what the steps allow")


def main() -> None:
    """Runs all routes alternately, in processes of their own, and prints their medians."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=0, help="another one than the model was trained at")
    parser.add_argument("--photos", type=int, default=96)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", type=Path, default=ROOT / paths.model(0))
    parser.add_argument("--zip", type=Path, default=ROOT / paths.TEST)
    parser.add_argument("--only", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        measure(arguments.only[0], arguments.model, arguments.size, Path(arguments.only[1]))
        return
    routes = ["plain", "torch"] + ["openvino"] * (choose_engine("auto") == "openvino")
    rounds: dict[str, list[dict[str, float]]] = {route: [] for route in routes}
    with tempfile.TemporaryDirectory() as folder:
        write_zip(arguments.zip, Path(folder), arguments.photos)
        command = [sys.executable, __file__, "--model", arguments.model, "--size", str(arguments.size)]
        for _ in range(arguments.rounds):
            for route, found in rounds.items():
                output = subprocess.run([*command, "--only", route, folder], check=True, stdout=subprocess.PIPE).stdout  # noqa: S603
                found.append(json.loads(output))
    medians = {
        route: {name: float(np.median([one[name] for one in found])) for name in found[0]}
        for route, found in rounds.items()
    }
    size = f"{arguments.size}²" if arguments.size else "the model's size"
    bfloat16 = "bfloat16" if device.has_bfloat16(torch.device("cpu")) else "float32"
    print(f"{arguments.photos} photos at {size}, {torch.get_num_threads()} threads, ours in {bfloat16}")
    print("          photos/s  ms a photo (times faster than plain):" + "".join(f"  {name}" for name in STEPS))
    for route, found in medians.items():
        show(route, found, medians["plain"])
    limit = medians[routes[-1]]
    print(
        f"limits: {1 / limit['decode']:.0f} photos/s by decoding alone, {1 / limit['network']:.0f} by the network alone"
    )


if __name__ == "__main__":
    main()
