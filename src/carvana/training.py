"""The training loop: plain functions over a model, a cache and rows of it."""

import copy
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from carvana import augment, device, losses, models
from carvana.cache import Cache
from carvana.errors import UserError
from carvana.params import Train
from carvana.work import whole_file


@dataclass(frozen=True)
class Epoch:
    """A row of a training's history: mean loss per photo, and mean Dice over photos at network size."""

    epoch: int
    train_loss: float
    train_dice: float
    validation_loss: float
    validation_dice: float


def fit(
    cache: Cache,
    train_rows: NDArray[np.integer],
    validation_rows: NDArray[np.integer],
    settings: Train,
    on: torch.device,
) -> tuple[models.UNet, list[Epoch]]:
    """A model trained on some rows of the cache, as it was after its best epoch, and the history of all.

    The best epoch is the one with the highest Dice on the validation rows. On one device with one number of
    threads, the same rows, settings and seed give the same weights. Raises UserError on a loss that is not finite.
    """
    torch.manual_seed(settings.seed)
    generator = torch.Generator().manual_seed(settings.seed)
    model = models.build(settings.network).to(on)
    optimizer = torch.optim.Adam(model.parameters(), lr=settings.learning_rate)
    steps = settings.epochs * math.ceil(len(train_rows) / settings.batch_size)
    schedule = _schedule(settings, optimizer, steps)
    history: list[Epoch] = []
    best = copy.deepcopy(model.state_dict())
    for number in range(1, settings.epochs + 1):
        order = train_rows[torch.randperm(len(train_rows), generator=generator).numpy()]
        label = f"epoch {number}/{settings.epochs}"
        train_loss, train_dice = train_epoch(model, optimizer, schedule, cache, order, settings, generator, label)
        validation_loss, validation_dice = validate(model, cache, validation_rows, settings.batch_size, on)
        if all(validation_dice > earlier.validation_dice for earlier in history):
            best = copy.deepcopy(model.state_dict())
        history.append(Epoch(number, train_loss, train_dice, validation_loss, validation_dice))
    model.load_state_dict(best)
    return model, history


def train_epoch(
    model: models.UNet,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    cache: Cache,
    rows: NDArray[np.integer],
    settings: Train,
    generator: torch.Generator,
    label: str,
) -> tuple[float, float]:
    """One pass over `rows` in their order; mean loss and mean Dice over the photos as they were met."""
    model.train()
    on = next(model.parameters()).device
    loss_sum = dice_sum = torch.zeros((), device=on)
    with tqdm(total=len(rows), desc=label, unit=" photos", disable=None) as progress:
        seen = 0
        for step, (batch, *pair) in enumerate(batches(cache, rows, settings.batch_size, on), start=1):
            photos, masks = augment.flip(*pair, settings.flip, generator)
            with device.precision(on):
                logits = model(photos)
            coverage = masks.float() / 255
            loss = losses.binary_cross_entropy(logits, coverage)
            _require_finite(loss, f"{label}, step {step}", [cache.names[row] for row in batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            loss_sum = loss_sum + loss.detach() * len(batch)
            dice_sum = dice_sum + dice_per_photo(logits.detach(), coverage).sum()
            seen += len(batch)
            progress.update(len(batch))
            progress.set_postfix(loss=f"{loss_sum.item() / seen:.4f}", dice=f"{dice_sum.item() / seen:.4f}")
    return loss_sum.item() / seen, dice_sum.item() / seen


@torch.inference_mode()
def validate(
    model: models.UNet, cache: Cache, rows: NDArray[np.integer], batch_size: int, on: torch.device
) -> tuple[float, float]:
    """Mean loss and mean Dice over the rows' photos, at network size, without augmentation."""
    model.eval()
    loss_sum = dice_sum = 0.0
    for batch, photos, masks in batches(cache, rows, batch_size, on):
        with device.precision(on):
            logits = model(photos)
        coverage = masks.float() / 255
        loss_sum += losses.binary_cross_entropy(logits, coverage).item() * len(batch)
        dice_sum += dice_per_photo(logits, coverage).sum().item()
    return loss_sum / len(rows), dice_sum / len(rows)


def batches(
    cache: Cache, rows: NDArray[np.integer], batch_size: int, on: torch.device
) -> Iterator[tuple[NDArray[np.integer], Tensor, Tensor]]:
    """Rows, photos uint8 [n, height, width, 3] and masks uint8 [n, height, width] on the device, batch by batch.

    Read from the memory maps in this process: at 512² that is several times faster than through workers.
    """
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        photos, masks = cache.read_photos(batch), cache.read_masks(batch)
        yield batch, torch.from_numpy(photos).to(on), torch.from_numpy(masks).to(on)


def dice_per_photo(logits: Tensor, coverage: Tensor) -> Tensor:
    """Dice [n] of logits > 0 against coverage >= 1/2, both [n, height, width]; 1 where both are empty."""
    predicted, true = logits > 0, coverage >= 0.5
    total = predicted.sum(dim=(1, 2)) + true.sum(dim=(1, 2))
    both = (predicted & true).sum(dim=(1, 2))
    return torch.where(total > 0, 2 * both / total.clamp(min=1), torch.ones_like(total, dtype=torch.float32))


def write_history(path: Path, history: list[Epoch]) -> None:
    """Writes a row an epoch, for `dvc plots`."""
    columns = [field.name for field in fields(Epoch)]
    with whole_file(path) as temporary, temporary.open("w", encoding="ascii", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for epoch in history:
            writer.writerow([epoch.epoch, *(f"{getattr(epoch, column):.6f}" for column in columns[1:])])


def _schedule(settings: Train, optimizer: torch.optim.Optimizer, steps: int) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate by step: constant, or up to its peak and down to nothing (https://arxiv.org/abs/1708.07120)."""
    if settings.schedule == "one_cycle":
        return torch.optim.lr_scheduler.OneCycleLR(optimizer, settings.learning_rate, total_steps=steps)
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=1)


def _require_finite(loss: Tensor, where: str, names: list[str]) -> None:
    if not math.isfinite(loss.item()):
        raise UserError(
            f"the loss is {loss.item()} at {where}, on {', '.join(names)}; lower train.learning_rate, "
            f"and look at these photos and masks"
        )
