"""Draws what each level of the network computes from a photo: `carvana features car.jpg --out features`.

The photo is a file, or Kaggle's of that name in data/raw. The folder gets a picture of each level, and index.html.
"""

import argparse
from pathlib import Path

from carvana.base import params, paths
from carvana.base.files import whole_file, write_text


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("photo", help="a file, or the name of one of Kaggle's photos, 0cdf5b5d0ce1_01.jpg")
    parser.add_argument("--out", type=Path, required=True, help="the folder for the pictures")
    parser.add_argument("--fold", type=int, help="whose model; the first of train.folds")


def main(photo: str, out: Path, fold: int | None) -> None:
    from PIL import Image

    from carvana.networks import checkpoint
    from carvana.results import features, page
    from carvana.results.pictures import Picture

    settings = params.load(paths.PARAMS)
    trained = checkpoint.load(paths.model(settings.train.folds[0] if fold is None else fold))
    pixels, whole = features.read(photo, trained.size)
    found = features.levels(trained.model, pixels)
    levels = []
    for number, (name, maps) in enumerate(found.items(), start=1):
        sheet = features.sheet(maps, whole.shape[:2])
        with whole_file(out / f"{number:02d}-{name}.png") as temporary:
            Image.fromarray(sheet).save(temporary, "PNG", compress_level=1)
        levels.append({"name": name, "text": features.describe(maps), "picture": Picture.of(sheet)})
    content = page.render("features.html", name=Path(photo).name, photo=Picture.of(whole), levels=levels)
    write_text(out / "index.html", content)
    print(f"{len(found)} levels in {out}, all of them on {out / 'index.html'}")
