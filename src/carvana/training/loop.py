"""The training: `fit` runs its epochs, `train_epoch` takes the steps of one, `validate` scores unseen cars after it."""

import math
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise
from pathlib import Path
from time import perf_counter
from typing import TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from carvana.base.console import Bar, say
from carvana.base.errors import UserError
from carvana.base.params import Augment, Train
from carvana.data.cache import Rows
from carvana.devices import device, distributed
from carvana.masks import metrics
from carvana.masks.fullsize import runs_of_logits
from carvana.networks.models import Model
from carvana.training import history, losses, optimization, plan, resume
from carvana.training.augment import Augmentation
from carvana.training.batches import Batch, Read, half_size, reader_of
from carvana.training.examples import Examples
from carvana.training.history import Epoch
from carvana.training.state import State, begin, begin_epoch

Item = TypeVar("Item")

_LOOK_EVERY = 16  # steps between looks at the loss, each of which waits for the GPU


def fit(
    examples: Examples,
    settings: Train,
    limits: Augment,
    workers: int,
    on: torch.device,
    saved: Path | None,
) -> State:
    """Returns a finished training, whose model is as it was after the epoch of the highest Dice at 1918×1280.

    After each epoch the state is written to `saved`, from which the same training resumes if the file is there (None:
    neither; of several processes, rank 0's counts). Every epoch has its own seed, so that the same examples and
    settings lead to the same weights on a CPU with one number of threads, even if training was stopped and resumed; a
    GPU is not deterministic. Raises UserError if a loss is not finite, if memory runs out, or if batches have too few
    photos for their pieces or for batch norm.
    """
    is_first, photos = distributed.rank() == 0, examples.photos_of_an_epoch(settings.pseudo_share)
    plan.require_equal_pieces(photos, settings)
    with plan.enough_memory(settings, on), plan.enough_for_batch_norm(settings):
        state = begin(settings, on)
        if kept := distributed.from_first(lambda: resume.load(saved) if saved else None):
            if kept.keys() != state.state_dict().keys():
                raise UserError(f"{saved} is not the state of a training; remove it, and training starts over")
            state.load_state_dict(kept)
        if is_first:
            say(plan.describe(state, examples, settings, on))
        done, total = len(state.history), settings.epochs
        work, begun = (photos * plan.full_size_epochs(epochs, settings) for epochs in (total, done))
        bar = Bar(total=work, initial=begun, desc="train", unit=" photos", quiet=not is_first)
        with bar, reader_of(examples.cache, plan.photos_at_a_time(settings), workers, on) as read:
            for number in range(done + 1, total + 1):
                began = perf_counter()
                trained = train_epoch(number, state, examples, settings, limits, read, bar)
                distributed.same_as_first(state.model)
                scores = validate(state.model, examples, settings, workers, read)
                state.add(Epoch(number, *trained, *scores), perf_counter() - began)
                if saved:
                    resume.save(saved, state.state_dict())
                if is_first:
                    say(history.line(state.history, total))
    state.model.load_state_dict(state.best)
    return state


def train_epoch(
    number: int, state: State, examples: Examples, settings: Train, limits: Augment, read: Read, bar: Bar
) -> tuple[float, float, float]:
    """Trains one epoch; returns the final learning rate, and mean loss and mean Dice over the augmented photos."""
    # Every photo once, in an order of this epoch's own; this process's pieces of all batches are read ahead.
    random = begin_epoch(number, settings, distributed.rank())
    order = examples.draw(settings.pseudo_share, random)
    batches = plan.batches_of(order, settings)
    loaded = read(batch[piece] for batch in batches for piece in plan.pieces_of(batch, settings))
    is_half = number <= settings.half_size_epochs
    if is_half:
        loaded = (half_size(*pair) for pair in loaded)
    sums, seen = torch.zeros(2, device=next(state.model.parameters()).device), 0
    state.model.train()
    for step, batch in enumerate(batches):
        done = (number - 1) * len(batches) + step
        rate = optimization.schedule(state.optimizer, settings, done, settings.epochs * len(batches))
        changes = Augmentation.draw(len(batch), settings.size, limits, random)
        pieces = plan.pieces_of(batch, settings)
        sums += take_step(state, pieces, loaded, changes, settings)
        seen += sum(map(len, pieces))
        bar.update(plan.HALF_SIZE_TIME * len(batch) if is_half else len(batch))
        if step % _LOOK_EVERY == 0 or step == len(batches) - 1:
            loss, dice = _means(sums, seen, f"epoch {number}, step {step + 1}")
            bar.set_postfix(epoch=number, loss=f"{loss:.4f}", dice=f"{dice:.4f}", refresh=False)
    mean_loss, mean_dice = _means(distributed.total(sums), len(order), f"epoch {number}")
    return rate, mean_loss, mean_dice


def take_step(
    state: State, pieces: Sequence[Rows], loaded: Iterator[Batch], changes: Augmentation, settings: Train
) -> Tensor:
    """Takes an optimizer step on the pieces that `loaded` yields next; returns sums [2] of loss and Dice over photos.

    Losses are summed over photos and divided by the whole batch's count, so that its division into pieces (by
    `train.accumulate` and by processes) only changes what batch norm sees at a time.
    """
    on = next(state.model.parameters()).device
    loss_of = losses.by_name(settings.loss, settings.boundary_weight)
    sums = torch.zeros(2, device=on)
    state.optimizer.zero_grad()
    for piece in pieces:
        # 1. Photos and masks are changed together.
        photos, masks = (each.to(on) for each in changes.apply(*next(loaded), piece))
        target = losses.coverage_of(masks, settings.masks)
        # 2. Gradients add up over the pieces; with the last one, they are averaged over the processes.
        with distributed.averaging(state.forward, piece is pieces[-1]):
            with device.precision(on, settings.precision):
                logits = state.forward(photos)
            loss = loss_of(logits, target).sum()
            state.scaler.scale(loss * distributed.world() / len(changes.flipped)).backward()
        sums += torch.stack([loss.detach(), losses.dice_per_photo(logits.detach(), target).sum()])
    # 3. The step, which the scaler leaves out if a gradient in float16 is not finite.
    state.scaler.step(state.optimizer)
    state.scaler.update()
    return sums


@torch.inference_mode()
def validate(model: Model, examples: Examples, settings: Train, threads: int, read: Read) -> tuple[float, float, float]:
    """Returns mean loss, mean Dice at network size and mean Dice at 1918×1280 over the unaugmented validation rows."""
    model.eval()
    on = next(model.parameters()).device
    loss_of = losses.by_name(settings.loss, settings.boundary_weight)
    sums, full = torch.zeros(2, device=on), 0.0
    mine = np.arange(distributed.rank(), len(examples.validation), distributed.world())
    held = plan.photos_at_a_time(settings)
    pieces = [mine[start : start + held] for start in range(0, len(mine), held)]
    loaded = read(examples.validation[places] for places in pieces)

    def compute() -> Iterator[tuple[Rows, Tensor, Tensor]]:
        for places, pair in zip(pieces, loaded, strict=True):
            photos, masks = (each.to(on) for each in pair)
            with device.precision(on, settings.precision):
                logits = model(photos)
            target = losses.coverage_of(masks, settings.masks)
            loss, dice = loss_of(logits, target).sum(), losses.dice_per_photo(logits, target).sum()
            yield places, logits, torch.stack([loss, dice])

    with ThreadPoolExecutor(max(threads, 1)) as pool:
        for places, logits, loss_and_dice in one_behind(compute()):
            sums += loss_and_dice
            runs = pool.map(lambda one: runs_of_logits(one, 0.5), logits.cpu().numpy())
            overlaps = map(metrics.overlap_of_runs, runs, [examples.truth[place] for place in places])
            full += sum(one.dice for one in overlaps)
    sums = torch.cat([sums, torch.tensor([full], device=on)])
    mean_loss, mean_dice, mean_full = _means(distributed.total(sums), len(examples.validation), "a validation")
    return mean_loss, mean_dice, mean_full


def one_behind(items: Iterable[Item]) -> Iterator[Item]:
    """Returns the items, each when the next one has been made, so that a GPU computes that one meanwhile."""
    return (item for item, _ in pairwise(chain(items, cast("list[Item]", [None]))))


def _means(sums: Tensor, photos: int, at: str) -> list[float]:
    """Returns sums over photos as means. Raises UserError, which says where, if the first, the loss, is not finite."""
    means = [value / photos for value in sums.tolist()]
    if not math.isfinite(means[0]):
        raise UserError(f"the loss is {means[0]} at {at}; lower train.learning_rate, and check the photos and masks")
    return means
