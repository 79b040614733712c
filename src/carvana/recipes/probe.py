"""What a recipe costs on this machine: some seconds of its own steps, at their own size, in a process of its own."""

import math
import os
import sys
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from carvana.base import params, paths
from carvana.base.console import Bar
from carvana.base.errors import UserError
from carvana.base.processes import die_with_parent, peak_memory
from carvana.base.speed import Stopwatch
from carvana.data import cache
from carvana.data.archive import Archive
from carvana.devices import device
from carvana.masks.fullsize import runs_of_logits
from carvana.networks import models
from carvana.networks.checkpoint import Trained
from carvana.prediction.inference import Ensemble, predict
from carvana.prediction.settings import Settings
from carvana.training import loop, plan, state
from carvana.training.batches import reader_of
from carvana.training.examples import Examples

# Processes without a state of this one, all of which have these imports already.
_PROCESSES = get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])

_PHOTOS = 16  # different ones, each of them taken again and again
_SECONDS = 3.0  # that the last measurement takes at least: a single step may take twice as long as others


@dataclass(frozen=True)
class Rates:
    """Photos a second, and the peak memory in MB: of the GPU if there is one, else of a process.

    `label` is the rate of photos into the cache, `train` that of a fold's training, `validate` of its validation, and
    `predict` of the prediction, of all folds together. `ran`: they are those of a whole run.
    """

    label: float
    train: float
    validate: float
    predict: float
    memory: int
    ran: bool = False


def measure(text: str, photos: Path) -> Rates:
    """Returns the rates of a params.yaml, with photos of a zip. Raises UserError if memory does not suffice.

    Training and prediction have a process each, as in the pipeline; a system that kills one for its memory does not
    kill this one.
    """
    try:
        with ProcessPoolExecutor(1, _PROCESSES, _begin, max_tasks_per_child=1) as processes:
            label, train, validate, memory = processes.submit(_training, text, photos).result()
            predicted, also = processes.submit(_prediction, text, photos).result()
    except BrokenProcessPool:
        raise UserError("it takes more memory than there is") from None
    return Rates(label, train, validate, predicted, max(memory, also))


def _begin() -> None:
    die_with_parent()
    sys.stdout = sys.stderr = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - as long as the process
    if Path("/proc/self/oom_score_adj").exists():
        # The first to be killed if memory is short.
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def _training(text: str, path: Path) -> tuple[float, float, float, int]:
    """Returns the rates of the cache, of training and of validation, and the memory."""
    settings = params.parse(text, paths.PARAMS)
    workers, on = settings.runtime.workers, device.pick(settings.runtime.device)
    # Its encoder begins anywhere: to load weights takes as long for one photo as for thousands.
    train = settings.train.model_copy(update={"encoder_weights": "none", "half_size_epochs": 0})
    with tempfile.TemporaryDirectory(dir=paths.ESTIMATES) as temporary:
        folder, names, car = Path(temporary) / "cache", _names(path), runs_of_logits(_car(train.size).numpy(), 0.5)
        begun = perf_counter()
        cache.write_labelled(path, names, [car] * len(names), folder, train.size, processes=0)
        label = len(names) / (perf_counter() - begun) * max(workers, 1)
        cached, none = cache.read(folder, train.size, labelled=True), np.arange(0)
        training = state.begin(train, on)

        def examples(photos: int) -> Examples:
            rows = np.resize(np.arange(len(names)), photos)
            return Examples(cached, rows, none, rows, [car] * photos)

        def learn(photos: int) -> None:
            with Bar(total=photos, desc="", unit="", quiet=True) as bar:
                loop.train_epoch(1, training, examples(photos), train, settings.augment, read, bar)

        def validate(photos: int) -> None:
            loop.validate(training.model, examples(photos), train, workers, read)

        with (
            plan.enough_memory(train, on),
            reader_of(cached, plan.photos_at_a_time(train), workers, on) as read,
        ):
            return label, _rate(learn, train.batch_size), _rate(validate, train.batch_size), _memory(on)


def _rate(work: Callable[[int], None], photos: int) -> float:
    """Returns the photos a second of some work, of more and more photos until it takes `_SECONDS`."""
    work(photos)  # a first step has to wait for its memory, three times as long as it computes on some machines
    while True:
        begun = perf_counter()
        work(photos)
        if (seconds := perf_counter() - begun) >= _SECONDS:
            return photos / seconds
        photos *= math.ceil(min(1.2 * _SECONDS / seconds, 16))


def _prediction(text: str, path: Path) -> tuple[float, int]:
    """Returns the rate of the prediction after its first photo, and the memory."""
    settings = params.parse(text, paths.PARAMS)
    how, train = Settings.of(settings), settings.train
    trained = [Trained(models.build(train.network), train.size, train.network) for _ in train.folds]
    ensemble, watch = OfCars(trained, how.flip, how.scales), Stopwatch()
    # Photos that are computed at the same time end at the same time: whole turns of them count.
    turn = how.threads if how.on.type == "cpu" else how.batch_size
    for _ in predict(ensemble, path, _names(path) * 1000, how):
        watch.add_photo()
        turns, rest = divmod(watch.photos - 1, turn)
        if not rest and turns > 1 and watch.photos / watch.photos_per_second > _SECONDS:
            break
    return watch.photos_per_second, _memory(how.on)


def _names(path: Path) -> list[str]:
    with Archive(path) as archive:
        return archive.photos[:_PHOTOS]


def _memory(on: torch.device) -> int:
    return torch.cuda.max_memory_reserved(on) // 2**20 if on.type == "cuda" else peak_memory()


class OfCars(Ensemble):
    """Networks that compute as ever, but whose logits show a car: noise would have far more runs."""

    def forward(self, photos: Tensor) -> Tensor:
        """Returns the logits of a car; see `Ensemble.forward`."""
        return super().forward(photos) * 1e-6 + _car(self.size).to(photos.device)


def _car(size: tuple[int, int]) -> Tensor:
    """Returns logits float32 [height, width] of an ellipse in the middle of a photo."""
    down, right = (torch.linspace(-1, 1, side) for side in size)
    return 0.4 - down[:, None] ** 2 - right**2
