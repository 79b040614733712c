"""Exported models against the ensemble that they are of, in every format, for any number of photos."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from conftest import read_network, read_params

from carvana.base.errors import UserError
from carvana.networks import models
from carvana.networks.checkpoint import Trained
from carvana.prediction import engines, export, model_files
from carvana.prediction.inference import Ensemble
from carvana.prediction.settings import Settings

SIZE = (64, 96)
SMALL = read_network(depth=2, width=2)
PATCHES = read_network(depth=3, width=4, patch=2, upsampling="bilinear", head="slides")
PLAIN = read_network(depth=3, width=4, upsampling="transposed", batch_norm=False, dropout=0.5)
ENCODER = read_network(encoder="tu-tf_efficientnet_lite0")

KINDS = ["onnx", "openvino", "torchscript"]


def ensemble_of(network=SMALL, seed=0):
    """Two networks with random weights, as from two folds, which also see mirrored and smaller photos."""
    torch.manual_seed(seed)
    trained = [Trained(models.build(network).eval(), SIZE, network) for _ in range(2)]
    return Ensemble(trained, flip=True, scales=(1.0, 0.7))


def photos(count, size=SIZE):
    return np.random.default_rng(count).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def run(path, batch):
    """What another program does with the file."""
    if path.suffix == ".onnx":
        return onnxruntime.InferenceSession(path).run(["logits"], {"photos": batch})[0]
    if path.suffix == ".xml":
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        return openvino.compile_model(path, "CPU", settings)({"photos": batch})["logits"]
    return torch.jit.load(path)(torch.from_numpy(batch)).numpy()


def assert_equal_for_any_number(path, ensemble):
    for count in (1, 2, 5, 7):
        batch = photos(count)
        with torch.inference_mode():
            expected = ensemble(torch.from_numpy(batch)).numpy()
        found = run(path, batch)
        assert found.shape == expected.shape
        assert found.dtype == np.float32
        assert np.abs(found - expected).max() < export.MOST_DIFFERENCE * np.abs(expected).max()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The small ensemble in every format."""
    return {kind: export.write(ensemble_of(), kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_the_logits_of_its_ensemble_for_any_number_of_photos(exported, kind):
    assert_equal_for_any_number(exported[kind], ensemble_of())


@pytest.mark.parametrize("kind", ["openvino", "torchscript", pytest.param("onnx", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    "network",
    [PATCHES, PLAIN, pytest.param(ENCODER, marks=pytest.mark.slow)],
    ids=["patches", "plain", "encoder"],
)
def test_every_kind_of_network_can_be_exported(network, kind, tmp_path):
    ensemble = ensemble_of(network)
    assert_equal_for_any_number(export.write(ensemble, kind, tmp_path), ensemble)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_that_differs_from_torch_is_refused(exported, kind):
    assert export.require_equal(exported[kind], ensemble_of(), photos(3)) < 1e-4
    with pytest.raises(UserError, match="differ from torch's by up to"):
        export.require_equal(exported[kind], ensemble_of(seed=1), photos(3))


def test_a_file_for_one_photo_at_a_time_is_refused(tmp_path):
    ensemble = ensemble_of()
    model = engines.to_openvino(ensemble, SIZE)
    model.reshape([1, *SIZE, 3])
    openvino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    with pytest.raises(UserError, match=r"model\.xml cannot be run on 2 photos"):
        export.require_equal(tmp_path / "model.xml", ensemble, photos(5))


@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_an_exported_file_is_an_engine(exported, kind):
    how = Settings.of(read_params(runtime_engine="torch", runtime_device="cpu", runtime_workers=2))
    build, size = model_files.load([exported[kind]], how)
    assert size == SIZE
    assert np.allclose(build().compute(photos(3)), run(exported[kind], photos(3)), atol=1e-4)


def test_a_file_that_cannot_be_used_is_refused(exported, tmp_path):
    def doubled(pictures):
        return pictures * 2

    other = torch.jit.trace(doubled, torch.zeros(1, 8, 8, 3))
    openvino.save_model(openvino.convert_model(other, input=[1, 8, 8, 3]), tmp_path / "other.xml")
    (tmp_path / "lonely.xml").write_bytes(exported["openvino"].read_bytes())
    (tmp_path / "text.onnx").write_text("no model", encoding="ascii")
    how = Settings.of(read_params(runtime_device="cpu"))
    for name, complaint in (
        ("other.xml", "its input is not photos uint8"),
        ("lonely.xml", "bin file"),
        ("text.onnx", "; `carvana export` makes a model that can"),
        ("none.onnx", "is missing; name another"),
        ("model.pt", "may hold any program, which torch would run"),
    ):
        with pytest.raises(UserError, match=f"{name} .*{complaint}"):
            model_files.load([tmp_path / name], how)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="`pip install onnx onnxscript`"):
        export.write(ensemble_of(), "onnx", Path("none"))
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match="`pip install openvino`"):
        engines.load_openvino.__wrapped__()
