"""The model of one fold into models/: `python -m stages.train 0`. With `--summary`, only its table of layers."""

import argparse

import numpy as np

from carvana import cache, checkpoint, device, models, params, paths, split, training
from carvana.archive import car_of
from carvana.errors import UserError
from stages.stage import run


def main(fold: int) -> None:
    settings = params.load(paths.PARAMS)
    roles = split.read(paths.SPLIT)
    examples = cache.read(paths.CACHE)
    if examples.size != settings.train.height_and_width:
        raise UserError(f"{paths.CACHE} was made for another train.size; `dvc repro resize` makes it again")
    role_of_row = np.array([roles[car_of(name)] for name in examples.names])
    validation = np.flatnonzero(role_of_row == str(fold))
    train = np.flatnonzero((role_of_row != str(fold)) & (role_of_row != split.TEST))
    if not len(validation) or not len(train):
        raise UserError(f"fold {fold} has {len(validation)} photos to validate and {len(train)} to train on")
    model, history = training.fit(examples, train, validation, settings.train, device.pick(settings.runtime.device))
    training.write_history(paths.history(fold), history)
    checkpoint.save(paths.model(fold), model, settings.train.network, settings.train.height_and_width)


def summarise() -> None:
    settings = params.load(paths.PARAMS).train
    print(models.summary(models.build(settings.network), settings.height_and_width))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("fold", type=int, nargs="?", default=0)
    parser.add_argument("--summary", action="store_true")
    arguments = parser.parse_args()
    run(summarise if arguments.summary else lambda: main(arguments.fold), f"train-{arguments.fold}")
