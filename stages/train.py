"""Trains the model of one fold into models/: `python -m stages.train 0`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from carvana.base import definition, files, params, paths, speed, torchrun, unfinished
from carvana.base.errors import UserError
from carvana.base.speed import Speed
from carvana.base.stage import command_line, run
from carvana.competition import car_of

if TYPE_CHECKING:
    import torch

    from carvana.training.examples import Examples


def main(fold: int) -> None:
    from carvana.devices import device, distributed
    from carvana.networks import checkpoint, models
    from carvana.networks.sizes import sizes_of
    from carvana.training import history, loop

    settings = params.load(paths.PARAMS)
    train, runtime = settings.train, settings.runtime
    if torchrun.launch(runtime.processes, "stages.train", str(fold)):
        return
    models.require_size(train.network, train.size)
    if train.half_size_epochs:
        height, width = train.size
        models.require_size(train.network, (height // 2, width // 2), "train.half_size_epochs")
    # Else it would fail after the training.
    for size in sizes_of(train.size, settings.predict.scales):
        models.require_size(train.network, size, "predict.scales")
    examples = read_examples(fold, train.size)
    on = device.pick(runtime.device)
    with distributed.joined(on) as on:
        folder, first = paths.unfinished(fold) / fingerprint(examples, settings, on), distributed.rank() == 0
        if first:
            unfinished.discard_if_recorded(folder, paths.LOCK, f"train@{fold}")
            unfinished.subfolder(folder.parent, folder.name)
        saved = folder / "epoch.pt" if first else None
        done = loop.fit(examples, train, settings.augment, runtime.workers, on, saved)
        if first:
            history.write(paths.history(fold), done.history)
            checkpoint.save(paths.model(fold), done.model, train.network, train.size)
            photos = len(done.history) * examples.photos_of_an_epoch(train.pseudo_share)
            write_speed(fold, done.seconds, photos, train, on)
            unfinished.finish(folder, [paths.history(fold), paths.model(fold)])


def fingerprint(examples: Examples, settings: params.Params, on: torch.device) -> str:
    """Returns a name for this training: a digest of all that its weights depend on, including the device's rounding.

    Raises UserError if another machine differs in any of it.
    """
    from carvana.devices import device, distributed
    from carvana.networks.weights import weights_file

    train = settings.train
    weights = weights_file(train.encoder, train.encoder_weights)
    inputs = {
        "cache": examples.cache.digest(),
        "rows": str((examples.train.tolist(), examples.validation.tolist())),
        "train": train.model_dump_json(exclude={"folds", "pseudo_labels", "pseudo_photos"}),
        "augment": settings.augment.model_dump_json(),
        "weights": files.digest(weights) if weights and weights.is_file() else train.encoder_weights,
        "versions": str(unfinished.versions()),
        "device": f"{on.type}, {device.precision_name(on, train.precision)}",
        # Each has batch norm (on a CPU) and random numbers of its own.
        "processes": str(distributed.world()),
    }
    code = definition.read("train").files
    distributed.require_same(inputs | {"code": unfinished.fingerprint({}, code)})
    return unfinished.fingerprint(inputs, code)


def write_speed(fold: int, seconds: float, photos: int, train: params.Train, on: torch.device) -> None:
    import torch

    from carvana.devices import device, distributed

    by = device.facts(on, train.precision) | {
        "engine": "torch",
        "processes": distributed.world(),
        "threads": torch.get_num_threads(),
    }
    speed.write(paths.training_speed(fold), Speed(seconds, photos, photos / seconds, **by))


def read_examples(fold: int, size: tuple[int, int]) -> Examples:
    import numpy as np

    from carvana.data import cache, split
    from carvana.training.examples import Examples

    real, pseudo = cache.read(paths.CACHE, size), cache.read(paths.PSEUDO, size, labelled=True)
    roles = split.read(paths.SPLIT, real.names)
    unseen = {split.TEST: "a test car", str(fold): "a validation car"}
    for name in pseudo.names:
        if (role := roles.get(car_of(name))) in unseen:
            raise UserError(
                f"{paths.PSEUDO} has {name}, a photo of {unseen[role]} of fold {fold}, which must stay unseen; "
                f"take pseudo-labels of other photos, or set train.pseudo_labels: none"
            )
    role_of_row = np.array([roles[car_of(name)] for name in real.names])
    validation = np.flatnonzero(role_of_row == str(fold))
    train = np.flatnonzero((role_of_row != str(fold)) & (role_of_row != split.TEST))
    if not len(validation) or not len(train):
        raise UserError(f"fold {fold} has {len(validation)} photos to validate and {len(train)} to train on")
    return Examples.of(real, train, validation, pseudo)


if __name__ == "__main__":
    parser = command_line("train", __doc__)
    parser.add_argument("fold", type=int, nargs="?", default=0, help="whose cars validate the model; 0 by default")
    arguments = parser.parse_args()
    run(lambda: main(arguments.fold), f"train-{arguments.fold}")
