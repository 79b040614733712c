"""What a GPU could do, and what the pipeline makes of it: `python benchmarks/gpu.py`, on an otherwise idle machine.

Prints one JSON, in 8 minutes at most on an H200 with 16 cores. For some recipes, and for resnet34 at 1024×1024, in
photos a second: each step of prediction alone, and the whole, from the zip to runs, once it is in progress; the step of
training with photos in the device's memory, and whole trainings, alone and beside each other. `ratio` is the whole's
share of what the slowest step allows. Networks have random weights, and logits of a car. Photos are those of
data/raw/test.zip, again and again. Without a GPU it measures the CPU, for which nothing is compiled.
"""

import argparse
import itertools
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from carvana.base import params, paths  # noqa: E402
from carvana.data import loader  # noqa: E402
from carvana.data.archive import Archive  # noqa: E402
from carvana.devices import device  # noqa: E402
from carvana.masks import metrics  # noqa: E402
from carvana.masks.fullsize import runs_of_logits  # noqa: E402
from carvana.networks import models  # noqa: E402
from carvana.networks.checkpoint import Trained  # noqa: E402
from carvana.prediction.inference import Ensemble, Prediction, predict  # noqa: E402
from carvana.prediction.settings import Settings  # noqa: E402
from carvana.recipes import probe, recipe, workspace  # noqa: E402
from carvana.recipes.recipe import Recipe  # noqa: E402
from carvana.training import loop, plan, state  # noqa: E402
from carvana.training.augment import Augmentation  # noqa: E402

RESNET = {"train.size": 1024, "train.encoder": "resnet34", "train.patch": 1}


def rate(work: Callable[[], object], photos: int, on: torch.device, seconds: float) -> float:
    """Photos a second of some work, for `seconds` at least, after a first time."""
    work()
    wait(on)
    begun, times = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds or not times:
        work()
        times += 1
        wait(on)
    return times * photos / (time.perf_counter() - begun)


def wait(on: torch.device) -> None:
    """Waits until the device has done all that it was told."""
    if on.type == "cuda":
        torch.cuda.synchronize(on)


def prediction(settings: params.Params, path: Path, seconds: float) -> dict[str, Any]:
    """Photos a second of each step alone, of the whole, and seconds until its first photo."""
    how, train = Settings.of(settings), settings.train
    on, is_cuda, count = how.on, how.on.type == "cuda", how.batch_size
    trained = [Trained(models.build(train.network), train.size, train.network) for _ in train.folds]
    ensemble = probe.OfCars(trained, how.flip, how.scales)
    with Archive(path) as archive:
        names = list(itertools.islice(itertools.cycle(archive.photos), 100_064))
    decoded = loader.load(path, names, ensemble.size, count, how.workers, is_cuda)
    found = {"decode": rate(lambda: next(decoded), count, on, seconds)}
    batch = next(decoded).photos
    decoded.close()
    begun, outcomes = time.perf_counter(), predict(ensemble, path, names, how)
    next(outcomes)
    found["seconds to the first photo"] = time.perf_counter() - begun
    found["whole"] = rate(lambda: list(itertools.islice(outcomes, count)), count, on, 5 * seconds)
    outcomes.close()
    network, buffer = ensemble.to(on).eval(), torch.empty(count, *ensemble.size, pin_memory=is_cuda)
    with torch.inference_mode(), device.precision(on):
        photos = batch.to(on)
        logits = network(photos).float()
        found["upload"] = rate(lambda: batch.to(on, non_blocking=True), count, on, seconds)
        found["network"] = rate(lambda: network(photos), count, on, seconds)
        found["download"] = rate(lambda: buffer.copy_(logits, non_blocking=True), count, on, seconds)
    with ThreadPoolExecutor(how.threads) as pool:
        runs = lambda: list(pool.map(lambda one: runs_of_logits(one, how.threshold), buffer.numpy()))  # noqa: E731
        found["runs"] = rate(runs, count, on, seconds)
    steps = ("decode", "upload", "network", "download", "runs")
    return found | {"ratio": found["whole"] / min(found[step] for step in steps), "photos a batch": count}


def training(text: str, settings: params.Params, path: Path, seconds: float, several: int) -> dict[str, Any]:
    """Photos a second of steps on photos that are on the device, plain and compiled, and of whole trainings."""
    train, on = settings.train, device.pick(settings.runtime.device)
    rows, found = np.arange(train.batch_size), {}
    pieces = plan.pieces_of(rows, train)
    changes = Augmentation.draw(len(rows), train.size, settings.augment, torch.Generator())
    photos = torch.randint(0, 256, (len(pieces[0]), *train.size, 3), dtype=torch.uint8).to(on)
    loaded: Iterator[tuple[Tensor, Tensor]] = itertools.repeat((photos, photos[..., 0].contiguous()))
    for name in ("step", "compiled step") if on.type == "cuda" else ("step",):
        made = state.begin(train.model_copy(update={"encoder_weights": "none"}), on)
        if name == "compiled step":
            made.forward = torch.compile(made.forward)
        begun = time.perf_counter()
        loop.take_step(made, pieces, loaded, changes, train).sum().item()
        found[f"seconds of the first {name}"] = time.perf_counter() - begun
        step = lambda made=made: loop.take_step(made, pieces, loaded, changes, train)  # noqa: E731
        found[name] = rate(step, len(rows), on, seconds)
        del made
    alone = probe.measure(text, path)
    with ThreadPoolExecutor(several) as pool:
        beside = list(pool.map(lambda _: probe.measure(text, path).train, range(several)))
    whole = {"whole": alone.train, "validation": alone.validate, f"{several} beside each other": sum(beside)}
    return found | whole | {"ratio": alone.train / found["step"], "memory in MB": alone.memory}


def agreement(settings: params.Params, path: Path) -> float:
    """The lowest Dice between the masks of this device and of the CPU, for 16 photos and the workspace's models."""
    found: list[list[Prediction]] = []
    for name in (settings.runtime.device, "cpu"):
        runtime = settings.runtime.model_copy(update={"device": name, "engine": "torch"})
        how = Settings.of(settings.model_copy(update={"runtime": runtime}))
        ensemble = Ensemble.load([paths.model(fold) for fold in settings.train.folds], how.flip, how.scales)
        with Archive(path) as archive:
            found.append(list(predict(ensemble, path, archive.photos[:16], how)))
    return min(metrics.overlap_of_runs(one.runs, other.runs).dice for one, other in zip(*found, strict=True))


def main() -> None:
    """Measures all cases in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--recipes", nargs="*", default=["large", "sharp"])
    parser.add_argument("--resnet", type=int, default=1024, help="the side of its photos")
    parser.add_argument("--seconds", type=float, default=2, help="of each measurement, and five times for the whole")
    parser.add_argument("--several", type=int, default=4, help="trainings beside each other")
    parser.add_argument("--zip", type=Path, default=paths.TEST)
    arguments = parser.parse_args()
    changes = RESNET | {"train.size": arguments.resnet}
    cases = [*map(recipe.read, arguments.recipes), Recipe("resnet34", "", None, changes, None)]
    current = params.load(paths.PARAMS)
    on = device.pick(current.runtime.device)
    found: dict[str, Any] = {
        "device": device.processor(on),
        "workers": current.runtime.workers,
        "torch": torch.__version__,
    }
    paths.ESTIMATES.mkdir(parents=True, exist_ok=True)
    for case in cases:
        text = workspace.params_of(case, workspace.defaults())
        settings = params.parse(text, paths.PARAMS)
        print(case.name, file=sys.stderr, flush=True)
        found[case.name] = {
            "prediction": prediction(settings, arguments.zip, arguments.seconds),
            "training": training(text, settings, arguments.zip, arguments.seconds, arguments.several),
        }
    if paths.model(0).exists():
        found["lowest Dice to the masks of the CPU"] = agreement(current, arguments.zip)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
