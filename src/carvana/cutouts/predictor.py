"""A model in memory that finds the car in photos of any size: `carvana.load`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carvana.base.errors import UserError
from carvana.base.processes import cores
from carvana.cutouts import cutout
from carvana.data.any_photo import Pixels
from carvana.devices import device
from carvana.prediction import model_files
from carvana.prediction.engines import Compute
from carvana.prediction.settings import Settings, choose_engine


@dataclass(frozen=True)
class Predictor:
    """A model and the photo size (height, width) that its network takes."""

    compute: Compute
    size: tuple[int, int]

    def mask(self, photo: Pixels) -> Pixels:
        """Returns the car's share of every pixel, uint8 [height, width] in 0–255.

        The photo is RGB uint8 [height, width, 3], of any size. Raises UserError if it is something else.
        """
        if photo.ndim != 3 or photo.shape[2] != 3 or photo.dtype != "uint8":
            raise UserError(f"a photo is RGB uint8 [height, width, 3], not {photo.dtype} {list(photo.shape)}")
        return cutout.alpha_of(photo, self.size, self.compute)


def load(files: Sequence[Path], flip: bool, scales: Sequence[float], on: str) -> Predictor:
    """Returns the predictor of a model's files; see `carvana.load`."""
    if not files:
        raise UserError("name a model's file, for example models/fold-0.safetensors")
    # Torch, because it is ready at once; OpenVINO would first convert the network.
    build, size = model_files.load(files, settings(flip, scales, on, "torch", workers=1))
    return Predictor(build().compute, size)


def settings(
    flip: bool = False, scales: Sequence[float] = (1.0,), on: str = "auto", engine: str = "auto", workers: int = 0
) -> Settings:
    """Returns how to predict without params.yaml; 0 workers are as many as there are cores."""
    return Settings(
        threshold=0.5,
        flip=flip,
        scales=tuple(scales),
        on=device.pick(on),
        engine=choose_engine(engine),
        workers=workers or cores(),
        batch_size=1,
    )
