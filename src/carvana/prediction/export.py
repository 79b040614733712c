"""Writes an ensemble as a model for programs that do not have this project: ONNX or OpenVINO.

The model takes photos uint8 [n, height, width, 3], for any n, and returns logits float32 [n, height, width].
"""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import torch

from carvana.base.errors import UserError, reading
from carvana.prediction import engines
from carvana.prediction.inference import Ensemble

# The file of each format. OpenVINO writes the weights beside it, to model.bin.
FILES = {"onnx": "model.onnx", "openvino": "model.xml"}

MOST_DIFFERENCE = 1e-4  # from torch's logits, as a share of the largest of them
_BATCHES = (1, 2, 5)  # numbers of photos that a file is checked with


def write(ensemble: Ensemble, kind: str, folder: Path) -> Path:
    """Writes an ensemble in a format of `FILES` to `folder`, in float32, and returns the path of the model.

    Raises UserError if a package is missing, or if the network cannot be converted.
    """
    path = folder / FILES[kind]
    convert = {"onnx": _write_onnx, "openvino": _write_openvino}[kind]
    with reading("the network", f"cannot be converted to {kind}", "try another --format"), warnings.catch_warnings():
        # Of tracing, which asks for more care; `require_equal` is that care.
        warnings.simplefilter("ignore")
        convert(ensemble.cpu().eval().requires_grad_(False), path)
    return path


def require_equal(path: Path, ensemble: Ensemble) -> float:
    """Returns the largest difference between the logits of a written model and the ensemble's, both in float32.

    They are those of noise. Raises UserError if the model cannot be run, or differs by more than `MOST_DIFFERENCE`.
    """
    _, core = engines.load_openvino()
    compiled = core.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    difference, largest = 0.0, 0.0
    for count in _BATCHES:
        batch = np.random.default_rng(count).integers(0, 256, (count, *ensemble.size, 3), np.uint8)
        with torch.inference_mode():
            expected = ensemble.cpu().eval()(torch.from_numpy(batch)).numpy()
        with reading(path, f"cannot be run on {count} photos", "try another --format"):
            found = compiled(batch)[0]
        if found.shape != expected.shape or found.dtype != expected.dtype:
            raise UserError(f"{path} returns {found.dtype} {found.shape} for {count} photos; try another --format")
        difference = max(difference, float(np.abs(found - expected).max()))
        largest = max(largest, float(np.abs(expected).max()))
    if not difference <= MOST_DIFFERENCE * largest:
        raise UserError(f"{path.name} differs from torch's logits by up to {difference:.2g}; try another --format")
    return difference


def _write_onnx(ensemble: Ensemble, path: Path) -> None:
    for package in ("onnx", "onnxscript"):
        if not importlib.util.find_spec(package):
            raise UserError("torch writes ONNX by two packages that are not installed; `pip install onnx onnxscript`")
    program = torch.onnx.export(
        ensemble,
        # Two, because it takes a batch of one for a constant.
        (torch.zeros(2, *ensemble.size, 3, dtype=torch.uint8),),
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("n")},),
        input_names=["photos"],
        output_names=["logits"],
        verbose=False,
    )
    assert program is not None
    program.save(path, external_data=False)


def _write_openvino(ensemble: Ensemble, path: Path) -> None:
    openvino, _ = engines.load_openvino()
    model = engines.to_openvino(ensemble, ensemble.size)
    for port, name in ((model.input(0), "photos"), (model.output(0), "logits")):
        port.get_tensor().set_names({name})
    openvino.save_model(model, path, compress_to_fp16=False)
