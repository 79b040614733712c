"""What recipes cost on this machine, for the photos that it has: time, disk and memory."""

import contextlib
import math
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import cv2
import numpy as np
from pydantic import TypeAdapter

from carvana.base import lockfile, params, paths, unfinished, yaml12
from carvana.base.console import Bar, duration
from carvana.base.errors import UserError, reading
from carvana.base.files import write_json
from carvana.base.params import Params
from carvana.competition import CARS, HEIGHT, TEST_PHOTOS, VIEWS, WIDTH, car_of
from carvana.data.archive import Archive
from carvana.data.labels import FOR_EACH
from carvana.devices import device
from carvana.experiments import known
from carvana.experiments.known import Experiment
from carvana.recipes import probe, workspace
from carvana.recipes.probe import Rates
from carvana.recipes.recipe import SECTIONS, Recipe

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

    Those of teachers are in all but `prediction`. `known`: all have run here, and their times are measured ones.
    """

    training: float
    prediction: float
    disk: float
    memory: float
    known: bool

    @property
    def seconds(self) -> float:
        """The time of all of it."""
        return self.training + self.prediction

    def in_words(self) -> str:
        """Returns what is to be expected, for a line before it begins."""
        if self.known:
            return "what exists is not made again"
        times = f"about {duration(self.training)} to the scores, then {duration(self.prediction)} to predict"
        return f"{times}; {self.disk:.1f} GB of disk"

    def after(self, teacher: "Cost") -> "Cost":
        """Returns the cost of a recipe whose teacher has to be run first."""
        return Cost(
            self.training + teacher.training + teacher.prediction,
            self.prediction,
            self.disk + teacher.disk,
            max(self.memory, teacher.memory),
            self.known and teacher.known,
        )


def costs(recipes: Sequence[Recipe], data: Data | None = None) -> dict[str, Cost | UserError]:
    """Returns the cost of each recipe and of its teachers, by name, or why it cannot run here.

    `data` stands for that of the workspace. What was measured before is not measured again.
    """
    defaults, experiments = workspace.defaults(), known.everything()
    chain = {each.name: each for recipe in recipes for each in recipe.chain}
    found: dict[str, Cost | UserError] = {}
    with Bar(total=len(chain), desc="measure", unit=" recipes") as bar:
        for name, recipe in chain.items():
            text = workspace.params_of(recipe, defaults)
            settings = params.parse(text, paths.recipe(name))
            teacher = found[recipe.teacher.name] if recipe.teacher else None
            try:
                rates, ran = _rates(settings, text), _when_it_ran(name, text, experiments)
                cost = cost_of(settings, replace(rates, **ran), data or Data.of(settings), known=bool(ran))
                found[name] = cost.after(teacher) if isinstance(teacher, Cost) else teacher or cost
            except UserError as error:
                found[name] = error
            bar.update()
    return found


def cost_of(settings: Params, rates: Rates, data: Data, *, known: bool = False) -> Cost:
    """Returns what some parameters cost by themselves, without a teacher."""
    train, split = settings.train, settings.split
    tests = round(split.test_fraction * data.cars)
    validating = (data.cars - tests) / split.folds
    taught = len(VIEWS) * (data.cars - tests - validating)
    pseudo = taught * train.pseudo_share / (1 - train.pseudo_share) if train.teacher else 0
    labelled = min(FOR_EACH * len(VIEWS) * data.cars, data.photos) if train.teacher else 0
    fold = train.epochs * ((taught + pseudo) / rates.train + len(VIEWS) * validating / rates.validate)
    cached, scored = len(VIEWS) * data.cars + labelled, len(VIEWS) * (tests + validating)
    height, width = train.size
    return Cost(
        training=_STARTS + cached / rates.label + len(train.folds) * fold + scored / rates.predict,
        prediction=data.photos / rates.predict,
        disk=(cached * height * width * 4 + data.photos * _RUNS) / 1e9,
        memory=rates.memory / 1e3,
        known=known,
    )


def _rates(settings: Params, text: str) -> Rates:
    """Returns the rates of some parameters on this machine, measured now or earlier."""
    on = device.pick(settings.runtime.device)
    inputs = {
        "settings": settings.model_dump_json(include={"train", "predict", "augment", "runtime"}),
        "device": str(device.facts(on)),
        "versions": unfinished.versions("torch", "openvino"),
    }
    path = paths.ESTIMATES / f"{unfinished.fingerprint(inputs, [])}.json"
    with contextlib.suppress(UserError), reading(path, "is not an estimate", "it is made again"):
        return TypeAdapter(Rates).validate_json(path.read_text(encoding="utf-8"))
    path.parent.mkdir(parents=True, exist_ok=True)
    rates = probe.measure(text, _some_photos(settings))
    write_json(path, asdict(rates))
    return rates


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


def _when_it_ran(name: str, text: str, experiments: list[Experiment]) -> dict[str, Any]:
    """Returns the rates with which the experiment of a name and of these parameters ran on this machine, if it did."""
    wanted = params.leaves({section: yaml12.parse(text)[section] for section in SECTIONS})
    on = device.pick(params.parse(text, name).runtime.device)
    for each in experiments:
        ran = each.prediction
        if each.name != name or not ran or not each.trainings or not wanted.items() <= each.params.items():
            continue
        if ran.processor == device.processor(on):
            photos, seconds = (sum(getattr(speed, key) for speed in each.trainings) for key in ("photos", "seconds"))
            # Its seconds have the validation, too.
            return {"train": photos / seconds, "validate": math.inf, "predict": ran.photos_per_second}
    return {}
