"""From the files of trained models to what finds the car in photos of any size: `carvana.load`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from carvana.base.errors import UserError
from carvana.cutouts import cutout
from carvana.data.any_photo import Pixels
from carvana.devices import device
from carvana.prediction import engines
from carvana.prediction.engines import Compute
from carvana.prediction.inference import Ensemble
from carvana.prediction.settings import Settings


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
        alpha, _ = cutout.alpha_and_cells(photo, self.size, self.compute)
        return alpha


def load(files: Sequence[Path], flip: bool, scales: Sequence[float], on: str) -> Predictor:
    """Returns the predictor of a model's files; see `carvana.load`."""
    if not files:
        raise UserError("name a model's file, for example models/fold-0.safetensors")
    # Torch, because it is ready at once; OpenVINO would first convert the network.
    how = Settings(0.5, flip, tuple(scales), device.pick(on), engine="torch", workers=1, batch_size=1)
    ensemble = Ensemble.load(files, flip, how.scales)
    return Predictor(engines.build(ensemble, ensemble.size, how).compute, ensemble.size)
