"""Kaggle's files, written completely or not at all, with the same bytes for the same seed."""

import zipfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from carvana.base.console import Bar
from carvana.base.files import whole_file
from carvana.data import loader
from carvana.masks import rle
from demo_studio.encoding import gif, jpeg
from demo_studio.identities import Entry, entries, metadata_csv
from demo_studio.photo import Scene, build_scene, take_photo

KAGGLE_EPOCH = (1980, 1, 1, 0, 0, 0)


class Task(NamedTuple):
    """One car to photograph, and whether its masks are also wanted as run-length codes."""

    seed: int
    number: int
    views: tuple[int, ...]
    with_runs: bool


class Shot(NamedTuple):
    """One photo and its mask, encoded as in Kaggle's files."""

    photo: bytes
    mask: bytes
    runs: str


@lru_cache(maxsize=1)
def scene_of(seed: int, number: int) -> Scene:
    """Returns the scene of a car; only the last one is kept."""
    return build_scene(seed, number)


def photograph(task: Task) -> list[Shot]:
    """Returns all views of one car."""
    shots = []
    for view in task.views:
        photo, mask = take_photo(scene_of(task.seed, task.number), task.seed, task.number, view)
        shots.append(Shot(jpeg(photo), gif(mask), rle.to_text(rle.to_runs(mask)).decode() if task.with_runs else ""))
    return shots


@contextmanager
def _whole_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    """Yields a zip to fill under a temporary name; it gets its own name only on success."""
    with whole_file(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        yield archive


def _member(name: str, compression: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, KAGGLE_EPOCH)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    return info


def _write_text(path: Path, text: str) -> None:
    """Writes a zip of one deflated text file, which is named like the zip without its suffix."""
    with _whole_zip(path) as archive:
        archive.writestr(_member(path.stem, zipfile.ZIP_DEFLATED), text)


def _names(cars: list[Entry]) -> list[str]:
    return [f"{car.id}_{view:02}" for car in cars for view in car.views]


def _write_train(folder: Path, cars: list[Entry], shots: Iterator[Shot]) -> None:
    with _whole_zip(folder / "train.zip") as photos, _whole_zip(folder / "train_masks.zip") as masks:
        for name in _names(cars):
            shot = next(shots)
            photos.writestr(_member(f"train/{name}.jpg"), shot.photo)
            masks.writestr(_member(f"train_masks/{name}_mask.gif"), shot.mask)


def _write_test(folder: Path, cars: list[Entry], shots: Iterator[Shot]) -> None:
    truth = folder / "test_masks.csv.zip"
    rows = _member(truth.stem, zipfile.ZIP_DEFLATED)
    with (
        _whole_zip(folder / "test.zip") as photos,
        _whole_zip(truth) as archive,
        archive.open(rows, "w") as table,
    ):
        table.write(b"img,rle_mask\n")
        for name in _names(cars):
            shot = next(shots)
            photos.writestr(_member(f"test/{name}.jpg"), shot.photo)
            table.write(f"{name}.jpg,{shot.runs}\n".encode())


def write(folder: Path, train_cars: int, test_cars: int, seed: int, workers: int = 0) -> None:
    """Writes an invented data set in Kaggle's files.

    These are train.zip, train_masks.zip, test.zip, metadata.csv.zip, sample_submission.csv.zip, and
    test_masks.csv.zip: the true masks of the test photos, `img,rle_mask`. The same seed results in the same bytes for
    any number of workers, and a car is the same in sets of all sizes.

    Args:
        folder: the folder for the files; made if missing.
        train_cars: cars with masks, mostly 16 photos each.
        test_cars: cars without masks.
        seed: 0 or more, names the world that the cars are from.
        workers: number of processes; with 0 all work is done in this process.
    """
    folder.mkdir(parents=True, exist_ok=True)
    train, test = entries(seed, train_cars, test_cars)
    sample = "".join(f"{name}.jpg,1 1\n" for name in _names(test))
    _write_text(folder / "metadata.csv.zip", metadata_csv(train + test))
    _write_text(folder / "sample_submission.csv.zip", "img,rle_mask\n" + sample)
    tasks = [Task(seed, car.number, car.views, with_runs=car in test) for car in train + test]
    every_car = loader.each(photograph, tasks, workers)
    bar = Bar(total=len(_names(train + test)), desc="render", unit=" photos")
    with bar, closing(every_car):
        shots = _counted(every_car, bar)
        _write_train(folder, train, shots)
        _write_test(folder, test, shots)


def _counted(every_car: Iterator[list[Shot]], bar: Bar) -> Iterator[Shot]:
    """Yields every shot, and counts the cars' photos."""
    for car in every_car:
        # Before the last shot is taken: nobody asks for another one after it.
        bar.update(len(car))
        yield from car


def render(seed: int, car: int, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders one photo and its mask.

    Args:
        seed: 0 or more, names the world that the car is from.
        car: number of the car; train cars count from 0, test cars from `FIRST_TEST_CAR`.
        view: 1..16; 1 is the front, each next view is turned by another 22.5 degrees.

    Returns:
        The photo, uint8 [1280, 1918, 3] RGB, and the mask, uint8 [1280, 1918] of {0, 1}.
    """
    return take_photo(scene_of(seed, car), seed, car, view)
