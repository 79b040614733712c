"""How the photos of a training are shared out, and what it says of itself before it begins."""

import contextlib
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from carvana.base.errors import UserError
from carvana.base.params import Train
from carvana.data.cache import Rows
from carvana.devices import device, distributed
from carvana.networks import models
from carvana.training import batches
from carvana.training.examples import Examples
from carvana.training.state import State

HALF_SIZE_TIME = 0.25  # the time that a photo of half the size takes, as a share of the others'


def full_size_epochs(epochs: int, settings: Train) -> float:
    """Returns how many epochs at full size take as long as a training's first `epochs`."""
    return epochs - (1 - HALF_SIZE_TIME) * min(epochs, settings.half_size_epochs)


def batches_of(order: Rows, settings: Train) -> Sequence[Rows]:
    """Returns an epoch's rows in batches of `train.batch_size`; a rest is spread over them, a photo for each."""
    return np.array_split(order, max(len(order) // settings.batch_size, 1))


def pieces_of(batch: Rows, settings: Train) -> Sequence[Rows]:
    """Returns the places in a batch that this process computes at a time, `train.accumulate` pieces of equal size."""
    pieces = np.array_split(np.arange(len(batch)), distributed.world() * settings.accumulate)
    return pieces[distributed.rank() * settings.accumulate :][: settings.accumulate]


def photos_at_a_time(settings: Train) -> int:
    """Returns how many photos a process computes at a time, in training as in validation, which needs less memory."""
    return settings.batch_size // (distributed.world() * settings.accumulate)


def require_equal_pieces(photos: int, settings: Train) -> None:
    """Raises UserError unless every process gets equally many photos of a batch, and an epoch has photos for all."""
    pieces = distributed.world() * settings.accumulate
    if settings.batch_size % pieces or photos < pieces:
        raise UserError(
            f"train.batch_size: {settings.batch_size}, of {photos} photos in all, cannot be computed in {pieces} equal "
            f"pieces, as runtime.processes × train.accumulate ask; lower these, or make it a multiple of {pieces}"
        )


def enough_memory(settings: Train, on: torch.device) -> contextlib.AbstractContextManager[None]:
    """Raises UserError, with a value of `train.accumulate` that fits if there is one, if memory runs out."""
    return device.enough_memory(partial(_what_fits, settings, on))


def _what_fits(settings: Train, on: torch.device) -> str:
    def learn(photos: int) -> None:
        model = models.build(settings.network).to(on).train()
        with device.precision(on, settings.precision):
            logits = model(torch.zeros(photos, *settings.size, 3, dtype=torch.uint8, device=on))
        logits.sum().backward()

    # ValueError: the network needs two photos at a time.
    with contextlib.suppress(ValueError):
        for pieces in range(settings.accumulate + 1, settings.batch_size + 1):
            photos, rest = divmod(settings.batch_size, pieces * distributed.world())
            if photos and not rest and device.fits(partial(learn, photos)):
                return f"train.accumulate: {pieces} fits"
    return "lower train.size"


@contextlib.contextmanager
def enough_for_batch_norm(settings: Train) -> Iterator[None]:
    """Raises UserError if a network pools a whole photo into one value, which batch norm cannot take of one photo."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise UserError(
            f"batch norm in train.arch: {settings.arch} needs 2 photos at a time; raise train.batch_size, or lower "
            f"train.accumulate or runtime.processes"
        ) from error


def describe(state: State, examples: Examples, settings: Train, on: torch.device) -> str:
    """Returns what a training is about to do, in words."""
    network = models.describe(settings.network, models.count_parameters(state.model), [settings.size])
    photos, pseudo = examples.photos_of_an_epoch(settings.pseudo_share), ""
    if len(examples.pseudo):
        pseudo = f", {photos - len(examples.train)} pseudo-labelled ones in each epoch (of {len(examples.pseudo)})"
    by = f", {torch.get_num_threads()} threads" if on.type == "cpu" else ""
    by = ", which holds all photos" if batches.fits_into_memory(examples.cache, on) else by
    processes = f" each, {distributed.world()} processes" if distributed.world() > 1 else ""
    resumed = f"; it resumes after epoch {len(state.history)}" if state.history else ""
    halves = f", the first {settings.half_size_epochs} at half the size" if settings.half_size_epochs else ""
    return (
        f"Training {network}: {len(examples.train)} photos{pseudo}, and {len(examples.validation)} to validate\n"
        f"{settings.epochs} epochs of {max(photos // settings.batch_size, 1)} steps, "
        f"{min(settings.batch_size, photos)} photos a step{halves}{resumed}\n"
        f"by torch on {device.describe(on)} in {device.precision_name(on, settings.precision)}{by}{processes}"
    )
