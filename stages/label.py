"""Writes pseudo-labelled photos at `train.size` to data/pseudo: `python -m stages.label`; none by default."""

from pathlib import Path

from carvana.base import params, paths
from carvana.base.console import say
from carvana.base.errors import some
from carvana.base.stage import command_line, run


def main() -> None:
    from carvana.data import cache, labels, split
    from carvana.data.archive import Archive

    settings = params.load(paths.PARAMS)
    photos = Path(settings.train.pseudo_photos)
    folder = settings.train.teacher
    found = labels.NONE
    if folder:
        labels.require_unseen(folder, split.read(paths.SPLIT))
        with Archive(paths.TRAIN) as train:
            found = labels.read(folder, photos).at_most(labels.FOR_EACH * len(train.photos))
    if found.empty:
        say(f"{len(found.empty)} photos on which {folder} shows no car are left out: {some(found.empty)}")
    size = settings.train.size
    cache.write_labelled(photos, found.names, found.each_runs(), paths.PSEUDO, size, settings.runtime.workers)


if __name__ == "__main__":
    command_line("label", __doc__).parse_args()
    run(main, "label")
