"""Training's speed: `python benchmarks/training.py --size 512`, on an otherwise idle machine.

Photos per second of the project's step (with its own loss, with the plain loop's, and shared by several processes as
`runtime.processes` does), and of a plain float32 loop in torch's default memory format with cross entropy, all with the
network and batch of params.yaml; then of the input pipeline alone (cache, flip and augmentation). All run alternately,
in processes of their own, and the medians of their steps are compared.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "src"))

from carvana.base import params, torchrun  # noqa: E402
from carvana.base.params import Augment, Train  # noqa: E402
from carvana.data import cache  # noqa: E402
from carvana.devices import device, distributed  # noqa: E402
from carvana.masks import shards  # noqa: E402
from carvana.networks import models  # noqa: E402
from carvana.training import loop, plan, state  # noqa: E402
from carvana.training.augment import Augmentation  # noqa: E402
from carvana.training.batches import reader_of  # noqa: E402

STEPS, PHOTOS = 6, 64


def write_cache(folder: Path, size: int) -> None:
    """A cache of noise."""
    random = np.random.default_rng(0)
    for name, shape in (("photos", (PHOTOS, size, size, 3)), ("masks", (PHOTOS, size, size))):
        np.save(folder / f"{name}.npy", random.integers(0, 256, shape, dtype=np.uint8))
    names = [f"{row:012x}_01.jpg" for row in range(PHOTOS)]
    shards.write(folder / "truth.parquet", names, [np.empty((0, 2), np.int32)] * PHOTOS)
    (folder / "index.csv").write_text("\n".join(["image,digest", *(f"{name}," for name in names), ""]))


def plain(examples: cache.Cache, whole: params.Params, on: torch.device) -> list[float]:
    """Seconds of each step of the loop that one writes first."""
    settings = whole.train
    model = models.build(settings.network, settings.encoder_weights).to(on, memory_format=torch.contiguous_format)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    seconds = []
    for step in range(STEPS):
        rows = batch(step, settings)
        started = time.perf_counter()
        photos = torch.from_numpy(examples.read_photos(rows)).to(on)
        masks = torch.from_numpy(examples.read_masks(rows)).to(on)
        # As a batch that was stacked channels first.
        photos = photos.permute(0, 3, 1, 2).contiguous().permute(0, 2, 3, 1)
        loss = functional.binary_cross_entropy_with_logits(model(photos), masks.float() / 255)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - started)
    return seconds


def ours(examples: cache.Cache, whole: params.Params, on: torch.device) -> list[float]:
    """Seconds of each step of the project, by one process or by all that torchrun started."""
    settings = whole.train
    made = state.begin(settings.model_copy(update={"size": examples.size}), on)
    nothing = Augment(**dict.fromkeys(Augment.model_fields, 0.0))
    seconds = []
    pieces = plan.pieces_of(batch(0, settings), settings)
    with reader_of(examples, plan.photos_at_a_time(settings), whole.runtime.workers, on) as read:
        loaded = read(batch(step, settings)[piece] for step in range(STEPS) for piece in pieces)
        for _ in range(STEPS):
            changes = Augmentation.draw(settings.batch_size, examples.size, nothing, torch.Generator())
            started = time.perf_counter()
            loop.take_step(made, pieces, loaded, changes, settings).sum().item()
            seconds.append(time.perf_counter() - started)
    return seconds


def same_loss(examples: cache.Cache, whole: params.Params, on: torch.device) -> list[float]:
    """Seconds of each step of the project with the plain loop's loss."""
    return ours(examples, whole.model_copy(update={"train": whole.train.model_copy(update={"loss": "bce"})}), on)


def inputs(examples: cache.Cache, whole: params.Params, on: torch.device) -> list[float]:
    """Seconds of each batch of the input pipeline, with the default augmentation."""
    settings = whole.train
    seconds = []
    with reader_of(examples, settings.batch_size, whole.runtime.workers, on) as read:
        loaded = read(batch(step, settings) for step in range(STEPS))
        for _ in range(STEPS):
            started = time.perf_counter()
            changes = Augmentation.draw(settings.batch_size, examples.size, whole.augment, torch.Generator())
            photos, _ = changes.apply(*next(loaded))
            photos.sum().item()
            seconds.append(time.perf_counter() - started)
    return seconds


def batch(step: int, settings: Train) -> np.ndarray:
    """Rows of a step's batch."""
    return np.arange(step * settings.batch_size, (step + 1) * settings.batch_size) % PHOTOS


MEASURES = {each.__name__: each for each in (plain, ours, same_loss, inputs)}


def measured(name: str, folder: str, processes: int) -> list[float]:
    """Seconds of the steps of one measurement, from processes of its own."""
    command, environment = torchrun.command_for(processes) if name == "shared" else ([sys.executable], None)
    command += [__file__, "--only", "ours" if name == "shared" else name, "--cache", folder]
    output = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout  # noqa: S603
    return list(map(float, output.split()))


def main() -> None:
    """Runs all alternately, in processes of their own, and prints photos per second."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=2, help="that share a training, in one of the figures")
    parser.add_argument("--only", choices=MEASURES, help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    settings = params.load(ROOT / "params.yaml")
    if arguments.only:
        with distributed.joined(device.pick(settings.runtime.device)) as on:
            seconds = MEASURES[arguments.only](cache.read(arguments.cache), settings, on)
            if distributed.rank() == 0:
                print(*seconds[2:])  # the first steps warm up
        return
    with tempfile.TemporaryDirectory() as folder:
        write_cache(Path(folder), arguments.size)
        seconds: dict[str, list[float]] = {name: [] for name in (*MEASURES, "shared")}
        for _ in range(arguments.rounds):
            for name, values in seconds.items():
                values.extend(measured(name, folder, arguments.processes))
    rates = {name: settings.train.batch_size / np.median(values) for name, values in seconds.items()}
    print(f"{arguments.size}², batches of {settings.train.batch_size}, {torch.get_num_threads()} threads, photos/s")
    best = max(rates["ours"], rates["shared"])
    print(f"plain loop      {rates['plain']:8.1f}")
    print(f"this project    {rates['ours']:8.1f}   {rates['ours'] / rates['plain']:.2f} times the plain loop")
    print(f"with its loss   {rates['same_loss']:8.1f}   {rates['same_loss'] / rates['plain']:.2f}")
    print(f"in {arguments.processes} processes  {rates['shared']:8.1f}   {rates['shared'] / rates['plain']:.2f}")
    print(f"input pipeline  {rates['inputs']:8.1f}   {rates['inputs'] / best:.1f} times what training takes")


if __name__ == "__main__":
    main()
