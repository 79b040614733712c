"""From a model's files to the engine that computes it: trained models, or one that `export` wrote."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from carvana.base.errors import UserError, reading, some
from carvana.prediction import engines
from carvana.prediction.engines import Engine
from carvana.prediction.inference import Ensemble
from carvana.prediction.settings import Settings

_EXPORTED = (".onnx", ".xml")
_PROGRAMS = (".pt", ".pth")


def load(files: Sequence[Path], how: Settings) -> tuple[Callable[[], Engine], tuple[int, int]]:
    """Returns what builds the engine of a model's files, and the size (height, width) of the photos that it takes.

    The files are read at once; to build the engine may take seconds.

    Files are trained models (.safetensors), whose logits are averaged, or one exported to ONNX (.onnx) or OpenVINO
    (.xml), which OpenVINO computes on the CPU. Raises UserError if a file cannot be used. Files of
    torch are refused, because they may be programs, which can do more than compute.
    """
    if len(files) == 1 and files[0].suffix in _EXPORTED:
        model, size = _read(files[0])
        return lambda: engines.by_openvino(model, size, how.threads), size
    if programs := [str(file) for file in files if file.suffix in _PROGRAMS]:
        raise UserError(
            f"{some(programs)} may hold any program, which torch would run; export the model to onnx or openvino"
        )
    ensemble = Ensemble.load(files, how.flip, how.scales)
    return lambda: engines.build(ensemble, ensemble.size, how), ensemble.size


def _read(path: Path) -> tuple[Any, tuple[int, int]]:
    """Returns an exported model as an `openvino.Model`, and its size. Raises UserError if it is none."""
    _, core = engines.load_openvino()
    with reading(path, "cannot be used", "`carvana export` makes a model that can", "name another"):
        # OpenVINO does not say that it is missing.
        path.stat()
        model = core.read_model(path)
        if (len(model.inputs), len(model.outputs)) != (1, 1):
            raise ValueError("it has other inputs and outputs than photos and logits")
        photos, logits = model.input(0), model.output(0)
        height, width, channels = (photos.partial_shape[axis].get_length() for axis in (1, 2, 3))
        if channels != 3 or photos.element_type.get_type_name() != "u8":
            raise ValueError("its input is not photos uint8 [n, height, width, 3]")
        if len(logits.partial_shape) != 3 or logits.element_type.get_type_name() != "f32":
            raise ValueError("its output is not logits float32 [n, height, width]")
        return model, (height, width)
