"""The training loop, as plain functions over a model and rows of a cache."""

import contextlib
import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from carvana.base.console import say
from carvana.base.errors import UserError
from carvana.base.params import Augment, Runtime, Train
from carvana.data.cache import Cache
from carvana.data.joined import Joined
from carvana.devices import device, distributed
from carvana.masks import metrics
from carvana.masks.fullsize import runs_of_logits
from carvana.masks.rle import Runs
from carvana.networks import models
from carvana.training import losses, optimization, resume
from carvana.training.augment import Augmentation, device_for
from carvana.training.batches import Batch, Read, Rows, batches, workers_for
from carvana.training.history import Epoch, best
from carvana.training.order import draw, photos_of
from carvana.training.pace import Pace
from carvana.training.state import Progress, begin, begin_epoch, resumed

_LOOK_EVERY = 16  # steps between checks of the loss, which wait for the GPU


@dataclass(frozen=True)
class Examples:
    """A cache's rows to train on, `pseudo` those whose masks were predicted, and rows to validate on.

    `truth` are the true runs at 1918×1280 of the rows to validate on.
    """

    cache: Cache | Joined
    train: Rows
    pseudo: Rows
    validation: Rows
    truth: list[Runs]

    @classmethod
    def of(cls, cache: Cache, train: Rows, validation: Rows, pseudo: Cache | None = None) -> "Examples":
        """Returns examples with the true runs from a cache, and with all photos of another one to train on as well."""
        truth = cache.read_truth(validation)
        if pseudo is None:
            return cls(cache, train, np.arange(0), validation, truth)
        rows = len(cache.names) + np.arange(len(pseudo.names))
        return cls(Joined(cache, pseudo), train, rows, validation, truth)

    def photos_of_an_epoch(self, share: float) -> int:
        """Returns how many photos an epoch trains on if `share` of them are pseudo-labelled."""
        return photos_of(len(self.train), len(self.pseudo), share)


def fit(
    examples: Examples,
    settings: Train,
    limits: Augment,
    runtime: Runtime,
    on: torch.device,
    saved: Path | None,
    after_epoch: Callable[[list[Epoch]], None] = lambda _: None,
) -> tuple[models.Model, list[Epoch], float]:
    """Returns a model trained on the examples, as it was after its best epoch, all epochs, and the seconds they took.

    The best epoch is the one with the highest Dice at 1918×1280 on the validation rows. After each epoch the state is
    written to `saved`, and training resumes from that file if it exists (None: neither; with several processes, rank
    0's counts). Then rank 0 calls `after_epoch` with the history so far. Every epoch has its own seed, so that the same
    examples and settings lead to the same weights on one device with one number of threads, even if training was
    stopped and resumed. Raises UserError if a loss is not finite, if memory runs out, or if batches have too few photos
    for batch norm.
    """
    device.prepare(on)
    advice = "lower train.batch_size or train.size, or raise train.accumulate"
    with device.enough_memory(advice), device.working_compiler(runtime.compile):
        kept = distributed.from_first(lambda: resume.load(saved) if saved else None)
        progress = resumed(lambda: begin(settings, on), kept, saved)
        photos = examples.photos_of_an_epoch(settings.pseudo_share)
        _require_enough_photos(progress.fewest, photos, settings)
        if distributed.rank() == 0:
            say(_plan(progress, examples, settings, on))
        forward = distributed.wrap(progress.model, examples.cache.size)
        if runtime.compile:
            forward = cast("nn.Module", torch.compile(forward))
        validated, done = len(examples.validation), len(progress.history)
        pace = Pace(photos, validated, settings.epochs, done, quiet=distributed.rank() != 0)
        with reader_of(examples.cache, settings, runtime, on) as read:
            while not _ended(progress.history, settings):
                began = perf_counter()
                train_loss, train_dice, rate = train_epoch(progress, forward, examples, settings, limits, read, pace)
                distributed.same_as_first(progress.judged)
                scores = validate(progress.judged, examples, settings, runtime.workers, read)
                epoch = Epoch(len(progress.history) + 1, rate, train_loss, train_dice, *scores)
                progress.add(epoch, perf_counter() - began)
                if saved:
                    resume.save(saved, progress.state_dict())
                if distributed.rank() == 0:
                    after_epoch(progress.history)
                    pace.add_epoch(progress.history)
    progress.model.load_state_dict(progress.best)
    return progress.model, progress.history, progress.seconds


def train_epoch(
    progress: Progress,
    forward: nn.Module,
    examples: Examples,
    settings: Train,
    limits: Augment,
    read: Read,
    pace: Pace,
) -> tuple[float, float, float]:
    """Trains one epoch; returns mean loss and mean Dice over the augmented photos, and the final learning rate.

    `forward` is `progress.model`, or a wrapper of it that computes the same.
    """
    number = len(progress.history) + 1
    random = begin_epoch(number, settings, distributed.rank())
    order = draw(examples.train, examples.pseudo, settings.pseudo_share, random)
    steps = [order[batch] for batch in _batches(len(order), settings.batch_size, progress.fewest)]
    pieces = [pieces_of(len(rows), settings.accumulate, progress.fewest) for rows in steps]
    loaded = read(rows[piece.rows] for rows, each in zip(steps, pieces, strict=True) for piece in each)
    label = f"epoch {number}/{settings.epochs}"
    watch = _Watch(label, examples.cache.names)
    progress.model.train()
    with tqdm(total=len(order), desc=label, unit=" photos", disable=None if distributed.rank() == 0 else True) as bar:
        for step, rows in enumerate(steps):
            changes = Augmentation.draw(len(rows), examples.cache.size, limits, random)
            at = (number - 1) * len(steps) + step
            rate = optimization.schedule(progress.optimizer, settings, at, len(steps), progress.history)
            sums = take_step(progress, forward, pieces[step], loaded, changes, settings)
            if progress.average is not None:
                progress.average.update(progress.model, step=at)
            watch.add(rows, sums)
            bar.update(len(rows))
            pace.add_step(len(rows))
            if step % _LOOK_EVERY == 0:
                loss, dice = watch.look()
                bar.set_postfix(loss=f"{loss:.4f}", dice=f"{dice:.4f}", refresh=False)
    watch.look()
    pace.end_steps()
    loss_sum, dice_sum = distributed.total(watch.sums).tolist()
    return loss_sum / len(order), dice_sum / len(order), rate


@dataclass(frozen=True)
class Piece:
    """Photos of a batch that one process computes at a time; their `weight` is 0 if the process has none of its own."""

    rows: slice
    weight: float


def pieces_of(photos: int, accumulate: int, fewest: int) -> list[Piece]:
    """Returns this process's pieces of a batch, none smaller than `fewest`."""
    parts = range(distributed.rank() * accumulate, (distributed.rank() + 1) * accumulate)
    rows = [_part(photos, number, distributed.world() * accumulate, fewest) for number in parts]
    # A process without photos of its own must still take part in averaging the gradients.
    return [Piece(each, 1.0) if each.stop > each.start else Piece(slice(0, fewest), 0.0) for each in rows]


def take_step(
    progress: Progress,
    forward: nn.Module,
    pieces: list[Piece],
    loaded: Iterator[Batch],
    changes: Augmentation,
    settings: Train,
) -> Tensor:
    """Takes an optimizer step on the pieces that `loaded` yields next; returns sums [2] of loss and Dice over photos.

    Losses are summed over photos and divided by the whole batch's count, so that its division into pieces (by
    `accumulate` and by processes) only changes what batch norm sees at a time.
    """
    on = next(progress.model.parameters()).device
    loss_of = losses.by_name(settings)
    world, count = distributed.world(), len(changes.flipped)
    sums = torch.zeros(2, device=on)
    progress.optimizer.zero_grad()
    for piece in pieces:
        photos, masks = (each.to(on) for each in changes.part(piece.rows).apply(*next(loaded)))
        target = losses.coverage_of(masks, settings.masks)
        with contextlib.nullcontext() if piece is pieces[-1] else distributed.without_sum(forward):
            with device.precision(on, settings.precision):
                logits = forward(photos)
            loss = piece.weight * loss_of(logits, target).sum()
            progress.scaler.scale(loss * world / count).backward()
        sums += torch.stack([loss.detach(), piece.weight * losses.dice_per_photo(logits.detach(), target).sum()])
    if settings.clip:
        progress.scaler.unscale_(progress.optimizer)
        nn.utils.clip_grad_norm_(progress.model.parameters(), settings.clip)
    progress.scaler.step(progress.optimizer)
    progress.scaler.update()
    return sums


@torch.inference_mode()
def validate(
    model: models.Model, examples: Examples, settings: Train, threads: int, read: Read
) -> tuple[float, float, float]:
    """Returns mean loss, mean Dice at network size and mean Dice at 1918×1280 over the unaugmented validation rows."""
    model.eval()
    on = next(model.parameters()).device
    loss_of = losses.by_name(settings)
    sums = torch.zeros(3, device=on)
    mine = range(distributed.rank(), len(examples.validation), distributed.world())
    held = _held(settings)
    pieces = [np.array(mine[start : start + held]) for start in range(0, len(mine), held)]
    loaded = read(examples.validation[places] for places in pieces)
    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for places, pair in zip(pieces, loaded, strict=True):
            photos, masks = (each.to(on) for each in pair)
            with device.precision(on, settings.precision):
                logits = model(photos)
            target = losses.coverage_of(masks, settings.masks)
            loss = loss_of(logits, target).sum()
            names = [examples.cache.names[row] for row in examples.validation[places]]
            _require_finite(loss.item(), "the validation after an epoch", names)
            full = pool.map(_dice_at_full_size, logits.cpu().numpy(), [examples.truth[place] for place in places])
            sums += torch.stack([loss, losses.dice_per_photo(logits, target).sum(), torch.tensor(sum(full), device=on)])
    loss, dice, full_dice = (distributed.total(sums) / len(examples.validation)).tolist()
    return loss, dice, full_dice


class _Watch:
    """Sums of an epoch's loss and Dice over this process's photos, kept on the device and checked now and then."""

    def __init__(self, label: str, names: list[str]) -> None:
        self.sums = torch.zeros(2)
        self._label, self._names = label, names
        self._seen, self._step = 0.0, 0
        self._unseen: list[tuple[Rows, Tensor]] = []

    def add(self, rows: Rows, sums: Tensor) -> None:
        self.sums = self.sums.to(sums.device) + sums
        self._unseen.append((rows, sums))

    def look(self) -> tuple[float, float]:
        """Returns approximate mean loss and Dice so far. Raises UserError if a loss is not finite."""
        values = torch.stack([sums[0] for _, sums in self._unseen]).tolist() if self._unseen else []
        for (rows, _), value in zip(self._unseen, values, strict=True):
            self._seen += len(rows) / distributed.world()
            self._step += 1
            _require_finite(value, f"{self._label}, step {self._step}", [self._names[row] for row in rows])
        self._unseen.clear()
        loss, dice = (self.sums / max(1.0, self._seen)).tolist()
        return loss, dice


def _require_finite(loss: float, at: str, names: list[str]) -> None:
    if not math.isfinite(loss):
        raise UserError(
            f"the loss is {loss} at {at}, on {', '.join(names)}; lower train.learning_rate, and check these "
            f"photos and masks"
        )


def _plan(progress: Progress, examples: Examples, settings: Train, on: torch.device) -> str:
    """Returns what a training is about to do, in words."""
    network = models.describe(settings.network, models.count_parameters(progress.model), [examples.cache.size])
    total = examples.photos_of_an_epoch(settings.pseudo_share)
    photos = min(settings.batch_size, total)
    steps = len(_batches(total, photos, progress.fewest))
    pseudo = f", {total - len(examples.train)} pseudo-labelled ones in each epoch (of {len(examples.pseudo)})"
    threads = f", {torch.get_num_threads()} threads" if on.type == "cpu" else ""
    processes = f" each, {distributed.world()} processes" if distributed.world() > 1 else ""
    resumed = f"; it resumes after epoch {len(progress.history)}" if progress.history else ""
    return (
        f"Training {network}: {len(examples.train)} photos"
        f"{pseudo if len(examples.pseudo) else ''}, and {len(examples.validation)} to validate\n"
        f"{settings.epochs} epochs of {steps} steps, {photos} photos a step{resumed}\n"
        f"by torch on {device.describe(on)} in {device.precision_name(on, settings.precision)}{threads}{processes}"
    )


def _ended(history: list[Epoch], settings: Train) -> bool:
    """Returns whether all epochs are done, or `patience` epochs have passed without a better one."""
    if not history:
        return False
    waited = len(history) - best(history).epoch
    return len(history) >= settings.epochs or (settings.patience > 0 and waited >= settings.patience)


def _require_enough_photos(fewest: int, photos: int, settings: Train) -> None:
    pieces = settings.accumulate * distributed.world()
    if fewest > 1 and (settings.batch_size < fewest * pieces or photos < fewest):
        raise UserError(
            f"batch norm in train.arch: {settings.arch} needs {fewest} photos at a time; train.batch_size: "
            f"{settings.batch_size} in {pieces} pieces (train.accumulate × runtime.processes) of {photos} photos has "
            f"fewer. Raise train.batch_size, or lower train.accumulate"
        )


def _batches(count: int, size: int, fewest: int) -> list[slice]:
    """Returns batches of `size` out of `count` photos; a remainder of less than `fewest` joins the last batch."""
    starts = range(0, max(count - fewest + 1, 1), size)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], count], strict=True)]


def _held(settings: Train) -> int:
    """Returns how many photos a process computes at a time, in training as in validation, which needs less memory."""
    return math.ceil(settings.batch_size / (distributed.world() * settings.accumulate))


def reader_of(
    cache: Cache | Joined, settings: Train, runtime: Runtime, on: torch.device
) -> contextlib.AbstractContextManager[Read]:
    """Returns a context that reads the cache to the device on which pieces are augmented; see `batches`."""
    height, width = cache.size
    to = device_for(on)
    size = (_held(settings) + 1) * height * width * 4
    return batches(cache, to, workers_for(to, runtime.workers, size, distributed.beside()))


def _part(count: int, number: int, parts: int, fewest: int) -> slice:
    """Returns the `number`-th of nearly equal parts of `count` photos, none below `fewest`; the last may be empty."""
    parts = max(min(parts, count // fewest), 1)
    return slice(min(count * number // parts, count), min(count * (number + 1) // parts, count))


def _dice_at_full_size(logits: NDArray[np.float32], truth: Runs) -> float:
    return metrics.overlap_of_runs(runs_of_logits(logits, 0.5), truth).dice
