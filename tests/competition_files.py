"""Kaggle's files in small: photos of ellipses, their masks, tables and zips."""

import csv
import io
import zipfile

import cv2
import numpy as np
from PIL import Image

from carvana.competition import HEIGHT, WIDTH

# The first three look like numbers, as some of Kaggle's do.
CARS = ["011330127438", "331659860e11", "502733994e02", "0cdf5b5d0ce1", "a1b2c3d4e5f6", "fffe00001111"]
VIEWS = ["01", "02"]


def picture(seed):
    """A photo uint8 [1280, 1918, 3] of a coloured ellipse before a grey ramp, and its mask of {0, 1}."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    centre = random.uniform(0.4, 0.6, 2) * (HEIGHT, WIDTH)
    radii = random.uniform(0.15, 0.3, 2) * (HEIGHT, WIDTH)
    mask = (((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1).astype(np.uint8)
    photo = np.repeat((150 + 80 * rows / HEIGHT)[..., None], 3, axis=2)
    photo[mask == 1] = random.uniform(0, 120, 3)
    return photo.astype(np.uint8), mask


def jpeg(photo):
    return cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 55])[1].tobytes()


def encoded(photo, kind, **options):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, kind, **options)
    return file.getvalue()


def gif(mask):
    """A mask as Kaggle's are: mode P, black and white in the palette, indices as given."""
    image = Image.frombytes("P", mask.shape[::-1], np.ascontiguousarray(mask, dtype=np.uint8).tobytes())
    image.putpalette([0, 0, 0, 255, 255, 255])
    buffer = io.BytesIO()
    image.save(buffer, "GIF", optimize=False)
    return buffer.getvalue()


def pack(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def csv_text(rows, **options):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", **options).writerows(rows)
    return buffer.getvalue()


def write_competition(folder, train_cars=CARS[:5], test_cars=CARS[5:]):
    """Kaggle's five zips of ellipses. Gives the masks by photo name, of train and test."""
    photos, masks, truth = {}, {}, {}
    for car in [*train_cars, *test_cars]:
        for view in VIEWS:
            photo, mask = picture(int(car, 16) * 16 + int(view))
            photos[f"{car}_{view}.jpg"] = jpeg(photo)
            masks[f"{car}_{view}_mask.gif"] = gif(mask)
            truth[f"{car}_{view}.jpg"] = mask
    train = {name for name in photos if name[:12] in train_cars}
    pack(folder / "train.zip", {f"train/{name}": photos[name] for name in sorted(train)})
    pack(folder / "train_masks.zip", {f"train_masks/{n}": d for n, d in masks.items() if n[:12] in train_cars})
    pack(folder / "test.zip", {f"test/{name}": data for name, data in photos.items() if name not in train})
    makes = ["Acura", "", "BMW", "Acura", "BMW", "Acura"]
    rows = [["id", "year", "make", "model", "trim1", "trim2"]]
    rows += [[car, "2014", make, "X", "", ""] for car, make in zip([*train_cars, *test_cars], makes, strict=False)]
    pack(folder / "metadata.csv.zip", {"metadata.csv": csv_text(rows, quoting=csv.QUOTE_ALL)})
    rows = [["img", "rle_mask"], *([name, "1 1"] for name in sorted(photos) if name not in train)]
    pack(folder / "sample_submission.csv.zip", {"sample_submission.csv": csv_text(rows)})
    return truth


def repack(path, change):
    """Writes a zip again after `change` has edited its members {name: bytes}."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    pack(path, members)
