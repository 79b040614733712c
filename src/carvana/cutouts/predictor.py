"""From a model's files, trained or exported, to what finds the car in photos of any size: `carvana.load`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from carvana.base.errors import UserError, reading
from carvana.cutouts import cutout
from carvana.data.any_photo import Pixels
from carvana.devices import device
from carvana.prediction import engines
from carvana.prediction.engines import Compute, Engine
from carvana.prediction.inference import Ensemble
from carvana.prediction.settings import Settings

_EXPORTED = (".onnx", ".xml")
_PROGRAMS = (".pt", ".pth")


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
    build, size = load_engine(files, how)
    return Predictor(build().compute, size)


def load_engine(files: Sequence[Path], how: Settings) -> tuple[Callable[[], Engine], tuple[int, int]]:
    """Returns what builds the engine of a model's files, in seconds, and the size (height, width) of its photos.

    Files are trained models (.safetensors), whose logits are averaged, or one exported to ONNX (.onnx) or OpenVINO
    (.xml), which OpenVINO computes on the CPU. Raises UserError if a file cannot be used. Torch's are refused.
    """
    if len(files) == 1 and files[0].suffix in _EXPORTED:
        model, size = _read_exported(files[0])
        return lambda: engines.by_openvino(model, size, how.threads), size
    if any(file.suffix in _PROGRAMS for file in files):
        raise UserError(f"{files[0]} may hold any program, which torch would run; export it to onnx or openvino")
    ensemble = Ensemble.load(files, how.flip, how.scales)
    return lambda: engines.build(ensemble, ensemble.size, how), ensemble.size


def _read_exported(path: Path) -> tuple[Any, tuple[int, int]]:
    """Returns an exported model as an `openvino.Model`, and its size. Raises UserError if it is none."""
    _, core = engines.load_openvino()
    with reading(path, "cannot be used", "`carvana export` makes a model that can", "name another"):
        # OpenVINO does not say that it is missing.
        path.stat()
        model = core.read_model(path)
        (photos,), (logits,) = model.inputs, model.outputs
        height, width, channels = (photos.partial_shape[axis].get_length() for axis in (1, 2, 3))
        kinds = [port.element_type.get_type_name() for port in (photos, logits)]
        if (channels, len(logits.partial_shape), kinds) != (3, 3, ["u8", "f32"]):
            raise ValueError("it does not make logits float32 [n, height, width] of photos uint8 [n, height, width, 3]")
        return model, (height, width)
