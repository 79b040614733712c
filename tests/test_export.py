"""Exported models against the ensemble that they are of, in every format, for any number of photos."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from competition_files import jpeg, picture
from PIL import Image
from projects import ROOT, make_project, read_network, set_params, stage
from test_cutout_stage import bright_network

from carvana.base.errors import UserError
from carvana.competition import HEIGHT, WIDTH
from carvana.data.photos import decode_photo
from carvana.masks import metrics, rle
from carvana.masks.fullsize import runs_of_logits
from carvana.networks import checkpoint, models
from carvana.networks.checkpoint import Trained
from carvana.prediction import engines, export
from carvana.prediction.inference import Ensemble

SIZE = (64, 96)
MODEL = "models/fold-0.safetensors"
SMALL = read_network(depth=2, width=2)
NETWORKS = {
    "patches": read_network(depth=3, width=4, patch=2, upsampling="bilinear", head="slides"),
    "plain": read_network(depth=3, width=4, upsampling="transposed", batch_norm=False, dropout=0.5),
    "encoder": pytest.param(read_network(encoder="tu-tf_efficientnet_lite0"), marks=pytest.mark.slow),
}

KINDS = ["onnx", "openvino"]
some_kinds = pytest.mark.parametrize("kind", ["openvino", pytest.param("onnx", marks=pytest.mark.slow)])


def ensemble_of(network=SMALL, seed=0, members=2, **views):
    """Networks with random weights, as from several folds, which also see mirrored and smaller photos."""
    torch.manual_seed(seed)
    trained = [Trained(models.build(network).eval(), SIZE, network) for _ in range(members)]
    return Ensemble(trained, **({"flip": True, "scales": (1.0, 0.7)} | views))


def photos(count, size=SIZE):
    return np.random.default_rng(count).integers(0, 256, (count, *size, 3), dtype=np.uint8)


def run(path, batch):
    """What another program does with the file."""
    if path.suffix == ".onnx":
        return onnxruntime.InferenceSession(path).run(["logits"], {"photos": batch})[0]
    return openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})({"photos": batch})["logits"]


def assert_equal_for_any_number(path, ensemble):
    for count in (1, 2, 5, 7):
        batch = photos(count)
        with torch.inference_mode():
            expected = ensemble(torch.from_numpy(batch)).numpy()
        found = run(path, batch)
        assert (found.shape, found.dtype) == (expected.shape, np.float32)
        assert np.abs(found - expected).max() < export.MOST_DIFFERENCE * np.abs(expected).max()


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """The small ensemble in every format."""
    return {kind: export.write(ensemble_of(), kind, tmp_path_factory.mktemp(kind)) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_has_the_logits_of_its_ensemble_for_any_number_of_photos(exported, kind):
    path, ensemble = exported[kind], ensemble_of()
    assert_equal_for_any_number(path, ensemble)
    assert export.require_equal(path, ensemble) < 1e-4
    with pytest.raises(UserError, match="differs from torch's logits by up to"):
        export.require_equal(path, ensemble_of(seed=1))


@some_kinds
@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_every_kind_of_network_can_be_exported(network, kind, tmp_path):
    ensemble = ensemble_of(network, members=1, flip=False, scales=(1.0,))
    assert_equal_for_any_number(export.write(ensemble, kind, tmp_path), ensemble)


def test_a_file_for_one_photo_at_a_time_is_refused(exported, tmp_path):
    model = openvino.Core().read_model(exported["openvino"])
    model.reshape([1, *SIZE, 3])
    openvino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    with pytest.raises(UserError, match=r"model\.xml cannot be run on 2 photos"):
        export.require_equal(tmp_path / "model.xml", ensemble_of())


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match="`pip install onnx onnxscript`"):
        export.write(ensemble_of(), "onnx", Path("none"))
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UserError, match="`pip install openvino`"):
        engines.load_openvino.__wrapped__()


@pytest.fixture(scope="module")
def _project(_competition, tmp_path_factory):
    """A project with a model, and the same model in exported-openvino/."""
    folder = make_project(tmp_path_factory.mktemp("export") / "project")
    set_params(folder, runtime_engine="torch")
    checkpoint.save(folder / MODEL, *bright_network(), (64, 64))
    shutil.copytree(_competition[0], folder / "data/raw")
    command = ("export", "--format", "openvino", "--out", "exported-openvino")
    assert "differs from torch by at most" in stage(folder, *command)
    return folder


@pytest.fixture
def project(_project, tmp_path):
    return shutil.copytree(_project, tmp_path / "project", symlinks=True)


@some_kinds
def test_the_example_of_the_document_gives_the_pipelines_mask(project, kind):
    (example,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/export.md").read_text(encoding="utf-8"), re.DOTALL)
    out = "exported-openvino" if kind == "openvino" else "exported"
    if kind == "openvino":
        example = re.sub(r"import onnxruntime  # or openvino: (.*)", r"import openvino\n\1", example)
        example = re.sub(r"model = onnx.*\n", "", example).replace("model.get_inputs()[0].shape[1:3]", "64, 64")
        example = re.sub(r"(\(logits,\) = )model\.run.*# openvino: \(logits,\) = (.*)", r"\1\2", example)
    else:
        assert "differs from torch by at most" in stage(project, "export", "--format", kind, "--out", out)
    photo = jpeg(picture(1)[0])
    (project / "car.jpg").write_bytes(photo)
    subprocess.run([sys.executable, "-c", example], cwd=project, check=True)
    with Image.open(project / "mask.png") as image:
        found = np.asarray(image) == 255
    ensemble = Ensemble.load([project / MODEL])
    small = decode_photo(photo, "car.jpg", ensemble.size)
    with torch.inference_mode():
        logits = ensemble(torch.from_numpy(small[None]))[0].numpy()
    expected = rle.to_mask(runs_of_logits(logits, 0.5), HEIGHT, WIDTH) == 1
    assert 0.05 < expected.mean() < 0.95
    assert metrics.overlap_of_masks(found, expected).dice > 0.998


def test_a_folder_that_exists_is_not_touched_and_a_failure_leaves_none(project):
    (project / "mine").mkdir()
    command = ("export", "--format", "openvino", "--out")
    assert "mine is there already" in stage(project, *command, "mine", status=1)
    (project / MODEL).unlink()
    assert f"{MODEL} is missing" in stage(project, *command, "out", status=1)
    assert not (project / "out").exists()
