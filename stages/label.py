"""Writes pseudo-labelled photos at `train.size` to data/pseudo: `python -m stages.label`; none by default."""

import math
from pathlib import Path

from carvana.base import params, paths
from carvana.base.console import say
from carvana.base.errors import some
from carvana.base.stage import command_line, run


def main() -> None:
    from carvana.data import cache, labels

    settings = params.load(paths.PARAMS)
    photos = Path(settings.train.pseudo_photos)
    folder = settings.train.teacher
    found = labels.read(folder, photos).at_most(drawn(settings)) if folder else labels.NONE
    if found.empty:
        say(f"{len(found.empty)} photos on which {folder} shows no car are left out: {some(found.empty)}")
    size = settings.train.size
    cache.write_labelled(photos, found.names, found.each_runs(), paths.PSEUDO, size, settings.runtime.workers)


def drawn(settings: params.Params) -> int:
    """Returns how many pseudo-labelled photos a training draws at most: with 100,000 there are more than it can see."""
    from carvana.data.archive import Archive

    with Archive(paths.TRAIN) as train:
        taught = len(train.photos) * (1 - settings.split.test_fraction) * (1 - 1 / settings.split.folds)
    share = settings.train.pseudo_share
    return math.ceil(settings.train.epochs * taught * share / (1 - share))


if __name__ == "__main__":
    command_line("label", __doc__).parse_args()
    run(main, "label")
