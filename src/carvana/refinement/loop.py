"""The training of a second look; the first network stays as it is."""

import math
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

import torch
from torch import Tensor
from tqdm import tqdm

from carvana.base.console import say
from carvana.base.errors import UserError
from carvana.base.params import Augment, Params, Train
from carvana.devices import device
from carvana.masks import metrics
from carvana.masks.fullsize import runs_of_logits
from carvana.networks import models
from carvana.networks.checkpoint import Trained
from carvana.networks.second_look import SIZE, SecondLook
from carvana.refinement import windows
from carvana.refinement.examples import Examples
from carvana.training import losses, optimization, resume, state
from carvana.training.augment import Augmentation
from carvana.training.history import Epoch, best
from carvana.training.pace import Pace
from carvana.training.state import Progress

_WEIGHT_DECAY = 0.01


def fit(
    first: Trained,
    examples: Examples,
    settings: Params,
    on: torch.device,
    saved: Path | None,
    after_epoch: Callable[[list[Epoch]], None] = lambda _: None,
) -> tuple[SecondLook, list[Epoch], float]:
    """Returns the second look behind `first` as it was after its best epoch, all epochs, and the seconds they took.

    As in `training.loop.fit`, the best epoch is the one with the highest validation Dice, the state after each epoch is
    written to `saved`, from which training resumes, and an epoch's draws depend on the seed and its number alone.
    Raises UserError if a photo cannot be read, if a loss is not finite, or if memory runs out.
    """
    device.prepare(on)
    changed = schedule_of(settings)
    with device.enough_memory("lower refine.batch_size or refine.windows"):
        kept = resume.load(saved) if saved else None
        progress = state.resumed(lambda: begin(first, settings, changed, on), kept, saved)
        model = progress.model
        assert isinstance(model, SecondLook)
        say(_plan(model, examples, settings, on, len(progress.history)))
        alone = None
        if not progress.history:
            _, alone = validate(model, examples, settings)
            say(f"The first network alone: Dice {alone:.5f} at full size")
        pace = Pace(len(examples.train), len(examples.validation), changed.epochs, len(progress.history), quiet=False)
        while len(progress.history) < changed.epochs:
            began = perf_counter()
            train_loss, train_dice, rate = train_epoch(progress, model, examples, settings, changed, pace)
            loss, dice = validate(model, examples, settings)
            progress.add(
                Epoch(len(progress.history) + 1, rate, train_loss, train_dice, loss, dice, dice), perf_counter() - began
            )
            if saved:
                resume.save(saved, progress.state_dict())
            after_epoch(progress.history)
            pace.add_epoch(progress.history)
    if alone is not None:
        reached = best(progress.history).validation_dice_full_size
        advice = "" if reached > alone else ", no better than without it: change refine.*, or set refine.epochs: 0"
        say(f"With the second look: Dice {reached:.5f}{advice}")
    model.load_state_dict(progress.best)
    return model, progress.history, progress.seconds


def schedule_of(settings: Params) -> Train:
    """Returns the parameters of the first network's training with those that differ for the second look."""
    how = settings.refine
    changes = {"epochs": how.epochs, "learning_rate": how.learning_rate, "batch_size": how.batch_size}
    constant = {"optimizer": "adamw", "weight_decay": _WEIGHT_DECAY, "schedule": "one_cycle"}
    return settings.train.model_copy(update=changes | constant)


def train_epoch(
    progress: Progress, model: SecondLook, examples: Examples, settings: Params, changed: Train, pace: Pace
) -> tuple[float, float, float]:
    """Trains one epoch; returns mean loss and mean Dice over the windows, and the final learning rate."""
    on = next(model.parameters()).device
    number = len(progress.history) + 1
    random = state.begin_epoch(number, changed, 0)
    names = [examples.train[place] for place in torch.randperm(len(examples.train), generator=random).tolist()]
    steps = -(-len(names) // changed.batch_size)
    label = f"epoch {number}/{changed.epochs}"
    sums, rate = torch.zeros(2, device=on), 0.0
    model.eval()
    model.network.train()
    loaded = examples.load(names, changed.batch_size, settings.runtime.workers, on)
    with tqdm(total=len(names), desc=label, unit=" photos", disable=None) as bar:
        for step, (photos, masks) in enumerate(loaded):
            rate = optimization.schedule(
                progress.optimizer, changed, (number - 1) * steps + step, steps, progress.history
            )
            taken = take_step(progress, model, photos, masks, settings, random)
            sums += taken * len(photos)
            if not taken[0].isfinite():
                raise UserError(f"the loss is not finite at {label}, step {step + 1}; lower refine.learning_rate")
            bar.update(len(photos))
            pace.add_step(len(photos))
    pace.end_steps()
    loss, dice = (sums / len(names)).tolist()
    return loss, dice, rate


def take_step(
    progress: Progress, model: SecondLook, photos: Tensor, masks: Tensor, settings: Params, random: torch.Generator
) -> Tensor:
    """Takes an optimizer step on windows of some photos, and returns their mean loss and mean Dice [2].

    Photos are flipped and recoloured within the limits of augment.*, but not moved: at full size, moving would blur.
    """
    how, on = settings.refine, photos.device
    changes = Augmentation.draw(len(photos), SIZE, _unmoved(settings.augment), random)
    photos, masks = changes.apply(photos, masks)
    with torch.no_grad(), device.precision(on, settings.train.precision):
        padded = model.pad(photos)
        first = model.first_logits(padded)
        logits = model.enlarge(first)
    places = windows.corners(first, SIZE, how.window, how.windows, random)
    parts = [windows.cut(each, places, how.window) for each in (padded, logits, masks)]
    target = losses.coverage_of(parts[2], "soft")
    progress.optimizer.zero_grad()
    with device.precision(on, settings.train.precision):
        corrected = model.correct(parts[0], parts[1])
    loss = losses.boundary_cross_entropy(corrected, target, settings.train.boundary_weight).mean()
    progress.scaler.scale(loss).backward()
    progress.scaler.step(progress.optimizer)
    progress.scaler.update()
    return torch.stack([loss.detach(), losses.dice_per_photo(corrected.detach(), target).mean()])


@torch.inference_mode()
def validate(model: SecondLook, examples: Examples, settings: Params) -> tuple[float, float]:
    """Returns mean loss and mean Dice over the validation photos, both at 1918×1280."""
    model.eval()
    on = next(model.parameters()).device
    loss = dice = 0.0
    loaded = examples.load(examples.validation, 1, settings.runtime.workers, on)
    for name, (photos, masks) in zip(examples.validation, loaded, strict=True):
        with device.precision(on, settings.train.precision):
            logits = model(photos)
        target = losses.coverage_of(masks, "soft")
        of_this = losses.boundary_cross_entropy(logits, target, settings.train.boundary_weight).item()
        if not math.isfinite(of_this):
            raise UserError(f"the loss is {of_this} in validation, on {name}; lower refine.learning_rate")
        loss += of_this
        runs = runs_of_logits(logits[0].cpu().numpy(), 0.5)
        dice += metrics.overlap_of_runs(runs, examples.truth[name]).dice
    return loss / len(examples.validation), dice / len(examples.validation)


def begin(first: Trained, settings: Params, changed: Train, on: torch.device) -> Progress:
    """Returns the training of a second look behind `first`, before its first epoch."""
    state.seed(settings.train.seed, 0, 1)
    model = models.channels_last(SecondLook(first.model, first.size, settings.refine.network)).to(on)
    model.first.requires_grad_(requires_grad=False)
    half = device.precision_name(on, settings.train.precision) == "float16"
    scaler = torch.amp.GradScaler(on.type, enabled=half)
    return Progress(model, None, optimization.build_optimizer(model.network, changed), scaler, fewest=1)


def _plan(model: SecondLook, examples: Examples, settings: Params, on: torch.device, done: int) -> str:
    """Returns what the training is about to do, in words."""
    how = settings.refine
    threads = f", {torch.get_num_threads()} threads" if on.type == "cpu" else ""
    resumed = f"; it resumes after epoch {done}" if done else ""
    return (
        f"Training a second look of {models.count_parameters(model.network):,} parameters behind a network at "
        f"{model.size[0]}×{model.size[1]}: {len(examples.train)} photos, and {len(examples.validation)} to validate\n"
        f"{how.epochs} epochs, {how.batch_size} photos a step, {how.windows} windows of {how.window}×{how.window} a "
        f"photo{resumed}\n"
        f"by torch on {device.describe(on)} in {device.precision_name(on, settings.train.precision)}{threads}"
    )


def _unmoved(limits: Augment) -> Augment:
    return limits.model_copy(update={"rotation": 0.0, "shift": 0.0, "scale": 0.0, "close_up": 0.0})
