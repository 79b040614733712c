"""What recipes cost on this machine, for the photos that it has: time, disk and memory."""

import contextlib
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

import cv2
import numpy as np
from pydantic import TypeAdapter

from carvana.base import lockfile, params, paths, speed, unfinished
from carvana.base.console import Bar
from carvana.base.errors import UserError, reading
from carvana.base.files import write_json
from carvana.base.params import Params
from carvana.competition import CARS, HEIGHT, TEST_PHOTOS, VIEWS, WIDTH, car_of
from carvana.data.archive import Archive
from carvana.data.labels import FOR_EACH
from carvana.devices import device
from carvana.recipes import probe, workspace
from carvana.recipes.probe import Rates
from carvana.recipes.recipe import Recipe
from carvana.training import plan

_STARTS = 30.0  # seconds for the starts of ten stages and for the report, measured on two cores
_RUNS = 20_000  # bytes of a photo's runs in predictions, submission.csv and its zip


@dataclass(frozen=True)
class Data:
    """How many cars have masks, and how many photos are to be predicted."""

    cars: int
    photos: int

    @classmethod
    def of(cls, settings: Params) -> Self:
        """Returns the numbers of data/raw or, before the download, those of its source."""
        if folder := _folder_of_zips(settings):
            with Archive(folder / paths.TRAIN.name) as train, Archive(folder / paths.TEST.name) as test:
                return cls(len(set(map(car_of, train.photos))), len(test.photos))
        if settings.data.source == "demo":
            return cls(settings.demo.train_cars, settings.demo.test_cars * len(VIEWS))
        return cls(CARS, TEST_PHOTOS)


def _folder_of_zips(settings: Params) -> Path | None:
    """Returns where the photos' zips are: data/raw if it is of this source, or the user's folder that is the source."""
    recorded = lockfile.read(paths.LOCK).get("download") if paths.LOCK.exists() else None
    is_raw = not recorded or recorded.params.get("data.source") == settings.data.source
    folders = [paths.RAW] if is_raw else []
    folders += [Path(settings.data.local_dir)] if settings.data.source == "local" else []
    names = (paths.TRAIN.name, paths.TEST.name)
    return next((folder for folder in folders if all((folder / name).exists() for name in names)), None)


@dataclass(frozen=True)
class Cost:
    """Seconds of a recipe's training and scores and of its prediction, GB of disk, and GB of memory.

    Those of teachers are in all but `prediction`. `ran`: the times are those that all of them took here.
    """

    training: float
    prediction: float
    disk: float
    memory: float
    ran: bool

    def after(self, teacher: "Cost") -> "Cost":
        """Returns the cost of a recipe whose teacher has to be run first."""
        return Cost(
            self.training + teacher.training + teacher.prediction,
            self.prediction,
            self.disk + teacher.disk,
            max(self.memory, teacher.memory),
            self.ran and teacher.ran,
        )


def costs(recipes: Sequence[Recipe]) -> dict[str, Cost | UserError]:
    """Returns the cost of each recipe and of its teachers, by name, or why it cannot run here.

    What was measured before is not measured again.
    """
    defaults, chain = workspace.defaults(), {each.name: each for recipe in recipes for each in recipe.chain}
    found: dict[str, Cost | UserError] = {}
    with Bar(total=len(chain), desc="measure", unit=" recipes") as bar:
        for name, recipe in chain.items():
            text = workspace.params_of(recipe, defaults)
            settings = params.parse(text, paths.recipe(name))
            teacher = found[recipe.teacher.name] if recipe.teacher else None
            try:
                cost = cost_of(settings, _rates(settings, text), Data.of(settings))
                found[name] = cost.after(teacher) if isinstance(teacher, Cost) else teacher or cost
            except UserError as error:
                found[name] = error
            bar.update()
    return found


def cost_of(settings: Params, rates: Rates, data: Data) -> Cost:
    """Returns what some parameters cost by themselves, without a teacher."""
    train, split = settings.train, settings.split
    tests = round(split.test_fraction * data.cars)
    validating = (data.cars - tests) / split.folds
    taught = len(VIEWS) * (data.cars - tests - validating)
    pseudo = taught * train.pseudo_share / (1 - train.pseudo_share) if train.teacher else 0
    labelled = min(FOR_EACH * len(VIEWS) * data.cars, data.photos) if train.teacher else 0
    learning = plan.full_size_epochs(train.epochs, train) * (taught + pseudo) / rates.train
    fold = learning + train.epochs * len(VIEWS) * validating / rates.validate
    cached, scored = len(VIEWS) * data.cars + labelled, len(VIEWS) * (tests + validating)
    height, width = train.size
    return Cost(
        training=_STARTS + cached / rates.label + len(train.folds) * fold + scored / rates.predict,
        prediction=data.photos / rates.predict,
        disk=(cached * height * width * 4 + data.photos * _RUNS) / 1e9,
        memory=rates.memory / 1e3,
        ran=rates.ran,
    )


def remember_run(settings: Params) -> None:
    """Replaces what was measured of some parameters by how fast the workspace ran with them, if that was here."""
    train = settings.train
    trainings = [speed.read(paths.training_speed(fold)) for fold in train.folds]
    predicted, path = speed.read(paths.PREDICTION_SPEED), _file_of(settings)
    here, measured = device.processor(device.pick(settings.runtime.device)), _read(path)
    # A prediction that a kill had left finished has no speed.
    if measured and predicted.photos_per_second and {each.processor for each in (*trainings, predicted)} == {here}:
        photos, seconds = (sum(getattr(each, key) for each in trainings) for key in ("photos", "seconds"))
        rate = photos / seconds * plan.full_size_epochs(train.epochs, train) / train.epochs
        # The seconds of a training have its validation, too, which then takes no time of its own.
        changes = {"train": rate, "validate": 1e9, "predict": predicted.photos_per_second, "ran": True}
        write_json(path, asdict(replace(measured, **changes)))


def _rates(settings: Params, text: str) -> Rates:
    """Returns the rates of some parameters on this machine, measured now or earlier."""
    path = _file_of(settings)
    if not (rates := _read(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        rates = probe.measure(text, _some_photos(settings))
        write_json(path, asdict(rates))
    return rates


def _file_of(settings: Params) -> Path:
    """Returns where the rates of some parameters on this device are kept."""
    inputs = {
        "settings": settings.model_dump_json(include={"train", "predict", "augment", "runtime"}),
        "device": str(device.facts(device.pick(settings.runtime.device))),
        "versions": str(unfinished.versions()),
    }
    return paths.ESTIMATES / f"{unfinished.fingerprint(inputs, [])}.json"


def _read(path: Path) -> Rates | None:
    """Returns rates; None if they are missing or damaged."""
    with contextlib.suppress(UserError), reading(path, "is not an estimate", "it is made again"):
        return TypeAdapter(Rates).validate_json(path.read_text(encoding="utf-8"))
    return None


def _some_photos(settings: Params) -> Path:
    """Returns a zip with photos; before the download, one with a blurred photo as large as Kaggle's, of 100 KB."""
    if folder := _folder_of_zips(settings):
        return folder / paths.TEST.name
    path, noise = paths.ESTIMATES / paths.TEST.name, np.random.default_rng(0).integers(0, 256, (16, 24, 3), np.uint8)
    blurred = cv2.resize(noise, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    _, photo = cv2.imencode(".jpg", blurred, [cv2.IMWRITE_JPEG_QUALITY, 60])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{0:012}_01.jpg", photo.tobytes())
    return path
