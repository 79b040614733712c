"""From a model's files to the engine that computes it: trained models, or one that `export` wrote."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from carvana.base.errors import UserError, reading
from carvana.prediction import engines
from carvana.prediction.engines import Engine
from carvana.prediction.inference import Ensemble
from carvana.prediction.settings import Settings

_EXPORTED = (".onnx", ".xml")
_PROGRAMS = (".pt", ".pth")


def load(files: Sequence[Path], how: Settings) -> tuple[Callable[[], Engine], tuple[int, int]]:
    """Returns what builds the engine of a model's files, in seconds, and the size (height, width) of its photos.

    Files are trained models (.safetensors), whose logits are averaged, or one exported to ONNX (.onnx) or OpenVINO
    (.xml), which OpenVINO computes on the CPU. Raises UserError if a file cannot be used. Torch's are refused.
    """
    if len(files) == 1 and files[0].suffix in _EXPORTED:
        model, size = _read(files[0])
        return lambda: engines.by_openvino(model, size, how.threads), size
    if any(file.suffix in _PROGRAMS for file in files):
        raise UserError(f"{files[0]} may hold any program, which torch would run; export it to onnx or openvino")
    ensemble = Ensemble.load(files, how.flip, how.scales)
    return lambda: engines.build(ensemble, ensemble.size, how), ensemble.size


def _read(path: Path) -> tuple[Any, tuple[int, int]]:
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
