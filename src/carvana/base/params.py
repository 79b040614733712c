"""params.yaml, typed and frozen. An unknown key, a wrong type or a value out of range is an error that names the key.

Types and ranges are here; defaults and meanings are in params.yaml.
"""

import os
import re
import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from carvana.base import paths, yaml12
from carvana.base.errors import UserError, near, reading
from carvana.base.processes import cores

_LARGEST_SIDE = 4096  # pixels; the photos have 1918
_MOST_MESSAGES = 20  # of a file
_RESTORE = f"correct it, or restore it by `git checkout HEAD {paths.PARAMS}`"

# Values in messages, shortened.
_brief = reprlib.Repr()
_brief.maxstring = _brief.maxother = 80


def _all_cores(workers: Any) -> Any:
    """Returns the number of cores that this process may use for `auto`, and anything else as it is."""
    return cores() if workers == "auto" else workers


def _unique(folds: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(folds)) != len(folds):
        raise ValueError("names a fold twice")
    return folds


def _square(size: Any) -> Any:
    """Returns height and width for the side of a square, and anything else as it is."""
    return (size, size) if isinstance(size, int) else size


def _multiples_of_32(size: tuple[int, int]) -> tuple[int, int]:
    for side in size:
        if side > _LARGEST_SIDE:
            raise ValueError(f"{side} is too large; the largest side is {_LARGEST_SIDE}")
        if side < 32 or side % 32:
            below = max(32, side // 32 * 32)
            raise ValueError(f"{side} is not a multiple of 32; the nearest are {below} and {below + 32}")
    return size


def _possible_path(text: str) -> str:
    if "\0" in text or any(len(part) > 255 for part in os.fsencode(text).split(b"/")):
        raise ValueError("is not a possible path")
    return text


def _folder_of_labels(name: str) -> str:
    if not re.fullmatch(r"\w[\w.-]{0,99}", name):
        raise ValueError(f"is not the name of a folder in {paths.TEACHERS}/, big for {paths.TEACHERS}/big")
    return name


Size = Annotated[
    tuple[int, int], Field(strict=False), BeforeValidator(_square), AfterValidator(_multiples_of_32)
]  # height and width in pixels
Scale = Annotated[float, Field(ge=0.5, le=2)]
Seed = Annotated[int, Field(ge=0, lt=2**63)]
Count = Annotated[int, Field(ge=1, le=1_000_000)]
Width = Annotated[int, Field(ge=1, le=1024)]
Channels = Annotated[tuple[Width, ...], Field(strict=False, min_length=1, max_length=5)]
PathText = Annotated[str, Field(max_length=4000), AfterValidator(_possible_path)]


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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

    test_fraction: Annotated[float, Field(ge=0, lt=1)]
    folds: Annotated[int, Field(ge=2, le=100)]
    seed: Seed


Probability = Annotated[float, Field(ge=0, le=1)]
Share = Annotated[float, Field(ge=0, lt=1)]


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

    @model_validator(mode="after")
    def _squares_need_unet(self) -> Self:
        if self.patch > 1 and self.arch != "unet":
            raise ValueError(f"patch: {self.patch} is for unet only; set patch: 1 for arch: {self.arch}")
        return self


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
    loss: Literal["bce", "dice", "bce_dice", "boundary_bce"]
    boundary_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    epochs: Count
    batch_size: Count
    accumulate: Count
    optimizer: Literal["adam", "adamw"]
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    weight_decay: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    schedule: Literal["constant", "one_cycle"]
    precision: Literal["auto", "float32", "bfloat16", "float16"]
    seed: Seed
    folds: Annotated[tuple[int, ...], Field(strict=False, min_length=1, max_length=100), AfterValidator(_unique)]

    @property
    def teacher(self) -> Path | None:
        """The folder of pseudo-labels; None if there are none."""
        return None if self.pseudo_labels == "none" else paths.TEACHERS / self.pseudo_labels

    @property
    def network(self) -> Network:
        """The parameters of the network alone."""
        return Network(**{key: getattr(self, key) for key in Network.model_fields})

    @model_validator(mode="after")
    def _batch_divides(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ValueError(f"batch_size {self.batch_size} cannot be computed in {self.accumulate} equal pieces")
        return self


class Predict(_Frozen):
    """How logits are averaged and become masks, and what happens if a photo cannot be read."""

    threshold: Annotated[float, Field(gt=0, lt=1)]
    flip: bool
    on_bad_image: Literal["fail", "skip"]
    scales: Annotated[tuple[Scale, ...], Field(strict=False, min_length=1, max_length=8)]


class Report(_Frozen):
    """How many of the worst and of the best predictions are shown; at most 99, as their numbers have two digits."""

    worst: Annotated[int, Field(ge=0, le=99)]
    best: Annotated[int, Field(ge=0, le=99)]


class Runtime(_Frozen):
    """Settings for speed only: no stage depends on them, so changing them runs nothing again."""

    device: str
    workers: Annotated[int, BeforeValidator(_all_cores), Field(ge=0, le=1024)]
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
    def _folds_exist(self) -> Self:
        beyond = [fold for fold in self.train.folds if not 0 <= fold < self.split.folds]
        if beyond:
            raise ValueError(f"train.folds names {beyond[0]}, but split.folds makes 0 to {self.split.folds - 1}")
        return self


def load(path: Path) -> Params:
    """Returns the parameters of a file. Raises a UserError that names every invalid key."""
    with reading(path, "is not YAML", _RESTORE, "run this from the repository's root"):
        text = path.read_text(encoding="utf-8")
    return parse(text, path)


def parse(text: str, where: object) -> Params:
    """Returns the parameters of a file's text. Raises a UserError that names `where` and every invalid key."""
    with reading(where, "is not YAML", _RESTORE):
        content = yaml12.parse(text)
    try:
        return Params.model_validate(content)
    except ValidationError as error:
        raise UserError("\n".join(_message(where, fault) for fault in error.errors()[:_MOST_MESSAGES])) from None


def leaves(content: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the values of nested mappings by their dotted names, `train.size` for one."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) and value else {f"{prefix}{key}": value}
    return found


def _message(file: object, fault: Any) -> str:
    """Returns one line for one of pydantic's errors: the file, the key, and what is wrong."""
    # pydantic adds the branch of a union that it tried to the key.
    branches = ("str", "int", "tuple[int, int]", "function-after")
    key = ".".join(str(part) for part in fault["loc"] if part not in branches)
    if fault["type"] == "extra_forbidden":
        return f"{file}: {key} is not a parameter{near(key, _keys(Params))}"
    if fault["type"] == "missing":
        return f"{file}: {key} is missing"
    what = fault["msg"].removeprefix("Value error, ")
    where = f"{file}: {key}: " if key else f"{file}: "
    # pydantic has a Literal's values only as text: 'adam', 'adamw' or 'sgd'.
    names = re.findall("'(.*?)'", fault["ctx"]["expected"]) if fault["type"] == "literal_error" else []
    advice = near(str(fault["input"])[:80], names)
    # What concerns several keys of a section names their values itself.
    got = "" if not key or isinstance(fault["input"], dict) else f" (got {_brief.repr(fault['input'])})"
    return where + what + got + advice


def _keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys = []
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            keys += [prefix + name, *_keys(kind, f"{prefix}{name}.")]
        else:
            keys.append(prefix + name)
    return keys
