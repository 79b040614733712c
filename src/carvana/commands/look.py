"""Shows the training data on a page, before any training: `carvana look`. Needs `dvc repro resize split`."""

import argparse
from pathlib import Path

from carvana.base import params, paths
from carvana.base.console import Bar


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, default=paths.LOOK, help=f"the page, {paths.LOOK} by default")


def main(out: Path) -> None:
    from carvana.base.files import write_text
    from carvana.data import cache, split
    from carvana.data.archive import Archive
    from carvana.results import look

    workers = params.load(paths.PARAMS).runtime.workers
    truth = cache.read(paths.CACHE)
    roles = split.read(paths.SPLIT, truth.names)
    seen = look.survey(truth, roles, split.read_makes(paths.METADATA))
    cars = []
    with Archive(paths.TRAIN) as photos, Bar(total=seen["car"].nunique(), desc="look", unit=" cars") as bar:
        for car in look.draw(seen, truth, photos, workers):
            cars.append(car)
            bar.update()
    with Archive(paths.TEST) as archive:
        to_predict = archive.photos
    write_text(out, look.render(seen, to_predict, cars))
    print(f"{len(seen)} photos and {len(look.odd(seen))} odd ones on {out}")
