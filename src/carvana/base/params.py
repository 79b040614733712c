"""params.yaml, typed and frozen. An unknown key, a wrong type or a value out of range is an error that names the key.

Types and ranges are here; defaults and meanings are in params.yaml.
"""

import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from carvana.base import paths, yaml12
from carvana.base.errors import UserError, near, reading
from carvana.base.processes import beside, cores

_RESTORE = f"correct it, or restore it by `git checkout HEAD {paths.PARAMS}`"


def _possible_path(text: str) -> str:
    if "\0" in text or any(len(part) > 255 for part in os.fsencode(text).split(b"/")):
        raise ValueError("is not a possible path")
    return text


def _folder_of_labels(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise ValueError(f"is not the name of a folder in {paths.TEACHERS}/, big for {paths.TEACHERS}/big")
    return name


Side = Annotated[int, Field(ge=32, le=4096, multiple_of=32)]  # pixels; the photos have 1918
# Height and width; a single number is the side of a square.
Size = Annotated[
    tuple[Side, Side],
    Field(strict=False),
    BeforeValidator(lambda size: (size, size) if isinstance(size, int) else size),
]
Workers = Annotated[
    int,
    Field(ge=0, le=1024),
    BeforeValidator(lambda count: cores() if count == "auto" else count),
    # This process's share, at least one, of what those on its machine have together.
    AfterValidator(lambda count: max(count // beside(), min(count, 1))),
]
Scale = Annotated[float, Field(ge=0.5, le=2)]
Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Width = Annotated[int, Field(ge=1, le=1024)]
Channels = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=5)]
PathText = Annotated[str, Field(max_length=4000), AfterValidator(_possible_path)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Data(_Frozen):
    """The source of the competition's files."""

    source: Literal["demo", "local", "kaggle"]
    quality: Literal["standard", "hq"]
    local_dir: PathText


class Demo(_Frozen):
    """The number of cars that the demo studio renders, and their seed."""

    train_cars: Annotated[int, Field(ge=4, le=10_000)]
    test_cars: Annotated[int, Field(ge=1, le=100_000)]
    seed: Seed


class Split(_Frozen):
    """The share of cars held out of every training, and the number of folds over the rest."""

    test_fraction: Share
    folds: Annotated[int, Field(ge=2, le=100)]
    seed: Seed


class Network(_Frozen):
    """The network; see `carvana.networks.models.build`. Fields after `patch` apply to the slides' U-Net only."""

    arch: str
    encoder: str
    decoder_channels: Literal["auto"] | Channels
    patch: Literal[1, 2, 4]
    depth: Annotated[int, Field(ge=2, le=6)]
    width: Width
    batch_norm: bool
    head: Literal["plain", "slides"]
    upsampling: Literal["nearest", "bilinear", "transposed"]
    dropout: Share


class Augment(_Frozen):
    """Limits for random changes to photos in training; see `carvana.training.augment.Augmentation`."""

    flip: Probability
    rotation: Annotated[float, Field(ge=0, le=25)]
    shift: Annotated[float, Field(ge=0, le=0.5)]
    scale: Share
    close_up: Probability
    brightness: Share
    contrast: Share
    saturation: Probability
    hue: Annotated[float, Field(ge=0, le=180)]


class Train(Network):
    """The network, its training data and its training; see `carvana.training.loop.fit`."""

    size: Size
    encoder_weights: PathText
    pseudo_labels: Annotated[str, AfterValidator(_folder_of_labels)]
    pseudo_photos: PathText
    pseudo_share: Share
    masks: Literal["soft", "hard"]
    loss: Literal["bce", "boundary_bce"]
    boundary_weight: Annotated[float, Field(ge=0)]
    epochs: Count
    half_size_epochs: Annotated[int, Field(ge=0)]
    batch_size: Count
    accumulate: Count
    optimizer: Literal["adam", "adamw", "muon"]
    learning_rate: Annotated[float, Field(gt=0)]
    weight_decay: Annotated[float, Field(ge=0)]
    schedule: Literal["constant", "one_cycle"]
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    seed: Seed
    folds: Annotated[tuple[int, ...], Field(strict=False, min_length=1)]

    @property
    def teacher(self) -> Path | None:
        """The folder of pseudo-labels; None if there are none."""
        return None if self.pseudo_labels == "none" else paths.TEACHERS / self.pseudo_labels

    @property
    def network(self) -> Network:
        """The parameters of the network alone."""
        return Network(**{key: getattr(self, key) for key in Network.model_fields})


class Predict(_Frozen):
    """How logits are averaged and become masks."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    flip: bool
    scales: Annotated[tuple[Scale, ...], Field(strict=False, min_length=1, max_length=8)]


class Report(_Frozen):
    """How many of the worst and of the best predictions are shown; their numbers have two digits."""

    worst: Annotated[int, Field(ge=0, le=99)]
    best: Annotated[int, Field(ge=0, le=99)]


class Runtime(_Frozen):
    """Settings for speed only: no stage depends on them, so changing them runs nothing again."""

    device: str
    workers: Workers
    batch_size: Count
    engine: Literal["auto", "torch", "openvino"]
    processes: Annotated[int, Field(ge=1, le=1024)]


class Params(_Frozen):
    """The content of params.yaml."""

    data: Data
    demo: Demo
    split: Split
    train: Train
    augment: Augment
    predict: Predict
    report: Report
    runtime: Runtime

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        train = self.train
        if train.patch > 1 and train.arch != "unet":
            raise ValueError(f"train.patch: {train.patch} is for unet only; set it to 1 for train.arch: {train.arch}")
        if train.batch_size % train.accumulate:
            raise ValueError(f"train.batch_size: {train.batch_size} is no multiple of train.accumulate")
        if train.half_size_epochs >= train.epochs:
            raise ValueError(f"train.half_size_epochs: {train.half_size_epochs} is not below train.epochs")
        if len(set(train.folds)) < len(train.folds):
            raise ValueError("train.folds names a fold twice")
        if beyond := [fold for fold in train.folds if not 0 <= fold < self.split.folds]:
            raise ValueError(f"train.folds names {beyond[0]}, but split.folds makes 0 to {self.split.folds - 1}")
        return self


def load(path: Path) -> Params:
    """Returns the parameters of a file. Raises a UserError that names every invalid key."""
    with reading(path, "is not YAML", _RESTORE, "run this from the repository's root"):
        return parse(path.read_text(encoding="utf-8"), path)


def parse(text: str, where: object) -> Params:
    """Returns the parameters of a file's text. Raises a UserError that names `where` and every invalid key."""
    with reading(where, "is not YAML", _RESTORE):
        content = yaml12.parse(text)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        lines = dict.fromkeys(_message(where, fault) for fault in error.errors())
        raise UserError("\n".join(list(lines)[:20])) from None


def leaves(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested mappings by their dotted names, `train.size` for one."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


def _message(file: object, fault: Any) -> str:
    """Returns one line for one of pydantic's errors: the file, the key, and what is wrong."""
    # pydantic adds the place in a list, or the branch of a union, to the section and the name.
    key = ".".join(map(str, fault["loc"][:2]))
    if fault["type"] == "extra_forbidden":
        sections = Params.__annotations__
        known = [f"{section}.{name}" for section, model in sections.items() for name in model.model_fields]
        return f"{file}: {key} is not a parameter{near(key, [*sections, *known])}"
    if fault["type"] == "missing":
        return f"{file}: {key} is missing"
    what, value = fault["msg"].removeprefix("Value error, "), fault["input"]
    if not key:  # it concerns several keys, and names them
        return f"{file}: {what}"
    # pydantic has a Literal's values only as text: 'adam', 'adamw' or 'sgd'.
    names = re.findall("'(.*?)'", fault["ctx"]["expected"]) if fault["type"] == "literal_error" else []
    return f"{file}: {key}: {what} (got {value!r:.80}){near(str(value), names)}"
