"""Draws what each level of the network computes from a photo: `carvana features car.jpg --out features`.

The photo is a file, or one of Kaggle's photos in data/raw by its name. The folder gets one picture for each level, and
a page with all of them, index.html.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from carvana.base import params, paths
from carvana.base.errors import UserError
from carvana.base.files import write_text
from carvana.competition import HEIGHT, WIDTH

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHOWN = 640  # pixels across, of the photo on the page


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", help="a file, or the name of one of Kaggle's photos, 0cdf5b5d0ce1_01.jpg")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the pictures")
    parser.add_argument("--fold", type=int, help="whose model; the first of train.folds")
    parser.add_argument(
        "--module",
        dest="modules",
        action="append",
        default=[],
        help="another module in place of the levels, by its name in `carvana layers`; several times",
    )


def main(photo: str, out: Path, fold: int | None, modules: list[str]) -> None:
    from PIL import Image

    from carvana.cutouts import cutout
    from carvana.networks import checkpoint
    from carvana.results import features, page
    from carvana.results.pictures import Picture

    settings = params.load(paths.PARAMS)
    trained = checkpoint.load(paths.model(settings.train.folds[0] if fold is None else fold))
    pixels, whole = read(photo, trained.size)
    found = features.of_modules(trained.model, pixels, modules) if modules else features.levels(trained.model, pixels)
    levels = []
    for number, (name, maps) in enumerate(found.items(), start=1):
        sheet = features.sheet(maps, whole.shape[:2])
        cutout.save(out / f"{number:02d}-{name}.png", Image.fromarray(sheet))
        levels.append({"name": name, "text": features.describe(maps), "picture": Picture.of(sheet)})
    content = page.render("features.html", name=Path(photo).name, photo=Picture.of(whole), levels=levels)
    write_text(out / "index.html", content)
    print(f"{len(found)} levels in {out}, all of them on {out / 'index.html'}")


def read(photo: str, size: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns the photo at the network's size, and as it is to be shown. Raises UserError if there is none."""
    from carvana.data import any_photo
    from carvana.data.archive import Archive
    from carvana.data.photos import decode_photo, resize_by_area

    if Path(photo).is_file():
        pixels = any_photo.read(Path(photo))
        height, width = pixels.shape[:2]
        shown = (max(round(SHOWN * height / width), 1), SHOWN)
        return resize_by_area(pixels, size), resize_by_area(pixels, shown)
    for path in (paths.TRAIN, paths.TEST):
        with Archive(path) as archive:
            if photo in archive.photos:
                data = archive.read(photo)
                return decode_photo(data, photo, size), decode_photo(data, photo, (SHOWN * HEIGHT // WIDTH, SHOWN))
    raise UserError(f"{photo} is neither a file nor a photo in {paths.TRAIN} or {paths.TEST}")
