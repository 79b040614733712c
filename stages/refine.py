"""Trains the second look behind the model of one fold, into models/: `python -m stages.refine 0`.

With refine.epochs: 0 there is none, and models/ gets the weights as they were trained. In models/, the first network
sees photos of predict.size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from carvana.base import definition, files, params, paths, unfinished
from carvana.base.errors import UserError
from carvana.base.stage import command_line, run
from carvana.competition import car_of

if TYPE_CHECKING:
    import torch

    from carvana.base.params import Params
    from carvana.networks.checkpoint import Trained
    from carvana.refinement.examples import Examples


def main(fold: int) -> None:
    from carvana.devices import device
    from carvana.networks import checkpoint
    from carvana.training import history

    settings = params.load(paths.PARAMS)
    first = read_first(fold, settings)
    if settings.refine.epochs == 0:
        checkpoint.save(paths.model(fold), first.model, first.network, first.size)
        history.write(paths.second_history(fold), [])
        return
    from carvana.refinement import loop

    examples = read_examples(fold)
    on = device.pick(settings.runtime.device)
    name = fingerprint(fold, examples, settings, on)
    unfinished.discard_if_recorded(paths.unrefined(fold) / name, paths.LOCK, f"refine@{fold}")
    folder = unfinished.subfolder(paths.unrefined(fold), name)
    model, epochs, _ = loop.fit(first, examples, settings, on, folder / "epoch.pt")
    history.write(paths.second_history(fold), epochs)
    checkpoint.save(paths.model(fold), model, first.network, first.size, settings.refine.network)
    unfinished.finish(folder, [paths.second_history(fold), paths.model(fold)])


def read_first(fold: int, settings: Params) -> Trained:
    """Returns the trained network of a fold, for photos of `predict.size`."""
    from carvana.networks import checkpoint, models

    trained = checkpoint.load(paths.trained(fold))
    models.require_size(trained.network, settings.size_to_predict, "predict.size")
    return replace(trained, size=settings.size_to_predict)


def fingerprint(fold: int, examples: Examples, settings: Params, on: torch.device) -> str:
    """Returns a name for this training: a digest of all that its weights depend on, including the device's rounding."""
    from carvana.data import cache
    from carvana.data.archive import Archive
    from carvana.devices import device

    with Archive(examples.photos) as archive:
        photos = archive.digest()
    inputs = {
        "first": files.digest(paths.trained(fold)),
        "size": str(settings.size_to_predict),
        "photos": photos,
        "cache": cache.read(paths.CACHE).digest(),
        "rows": str((examples.train, examples.validation)),
        "refine": settings.refine.model_dump_json(),
        "train": str((settings.train.seed, settings.train.boundary_weight)),
        "augment": settings.augment.model_dump_json(),
        "versions": unfinished.versions("torch", "timm", "segmentation-models-pytorch"),
        "device": f"{on.type}, {device.precision_name(on, settings.train.precision)}",
    }
    return unfinished.fingerprint(inputs, definition.read("refine").files)


def read_examples(fold: int) -> Examples:
    from carvana.data import cache, split
    from carvana.refinement.examples import Examples

    known = cache.read(paths.CACHE)
    roles = split.read(paths.SPLIT, known.names)
    validation = [name for name in known.names if roles[car_of(name)] == str(fold)]
    train = [name for name in known.names if roles[car_of(name)] not in (str(fold), split.TEST)]
    if not validation or not train:
        raise UserError(f"fold {fold} has {len(validation)} photos to validate and {len(train)} to train on")
    return Examples.of(paths.TRAIN, known, train, validation)


if __name__ == "__main__":
    parser = command_line("refine", __doc__)
    parser.add_argument("fold", type=int, nargs="?", default=0, help="whose cars validate the model; 0 by default")
    arguments = parser.parse_args()
    run(lambda: main(arguments.fold), f"refine-{arguments.fold}")
