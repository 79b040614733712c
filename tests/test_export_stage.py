"""The export as a user makes it: the README's example is run, and a folder appears whole or not at all."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import jpeg, make_project, picture, set_params, stage
from finished_project import LOCK, commit, git, make_finished_project, write_evaluation, write_models
from PIL import Image
from test_cutout_stage import bright_network, cut

from carvana.base import params
from carvana.commands.export import history
from carvana.competition import HEIGHT, WIDTH
from carvana.data import photos
from carvana.masks import rle
from carvana.masks.fullsize import runs_of_logits
from carvana.networks import checkpoint
from carvana.prediction import export, export_readme
from carvana.prediction.inference import Ensemble

MODEL = "models/fold-0.safetensors"


@pytest.fixture
def project(tmp_path, kaggle):
    folder = make_project(tmp_path / "project")
    set_params(folder, runtime_engine="torch")
    checkpoint.save(folder / MODEL, *bright_network(), (64, 64))
    (folder / "data").mkdir()
    kaggle.rename(folder / "data/raw")
    return folder


def also_slow(few, others):
    return [*few, *(pytest.param(other, marks=pytest.mark.slow) for other in others)]


@pytest.mark.parametrize("kind", also_slow(["torchscript"], ["onnx", "openvino"]))
def test_the_example_of_the_readme_gives_the_pipelines_mask(project, kind):
    assert "differs from torch by at most" in stage(project, "export", "--format", kind, "--out", "out")
    text = (project / "out/README.md").read_text(encoding="utf-8")
    assert "uint8 | [n, 64, 64, 3], any n" in text
    assert "Its Dice is not known" in text
    photo = jpeg(picture(1)[0])
    (project / "out/car.jpg").write_bytes(photo)
    # OpenVINO computes in bfloat16 if the processor has it.
    assert dice(mask_of(text, project / "out"), expected_mask(project, photo)) > 0.999


@pytest.mark.parametrize("size", also_slow([(256, 320)], [(64, 64), (320, 512), (1024, 1024)]))
def test_the_example_reads_photos_as_the_network_was_trained_on(size, tmp_path):
    """At every size at which a JPEG can be decoded; a file that hands on a colour stands in for the network."""
    module = torch.jit.trace(lambda photos: photos[..., 0].float() - 100, torch.zeros(2, *size, 3, dtype=torch.uint8))
    module.save(str(tmp_path / "model.pt"))
    photo = jpeg(picture(2)[0])
    (tmp_path / "car.jpg").write_bytes(photo)
    found = mask_of(export_readme.render("torchscript", size, 0, []), tmp_path)
    red = photos.decode_photo(photo, "car.jpg", size)[..., 0].astype(np.float32)
    expected = rle.to_mask(runs_of_logits(red - 100, 0.5), HEIGHT, WIDTH) == 1
    assert 0.05 < expected.mean() < 0.95
    assert dice(found, expected) > 0.9999


def dice(one, other):
    return 2 * (one & other).sum() / (one.sum() + other.sum())


def mask_of(readme, folder):
    """The mask that the README's example writes for car.jpg, bool [1280, 1918]."""
    (example,) = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    assert len(example.split("\n\n")[1].splitlines()) <= 10
    subprocess.run([sys.executable, "-c", example], cwd=folder, check=True)
    with Image.open(folder / "mask.png") as image:
        return np.asarray(image) == 255


def expected_mask(project, photo):
    """The mask that the pipeline submits."""
    ensemble = Ensemble.load([project / MODEL])
    small = photos.decode_photo(photo, "car.jpg", ensemble.size)
    with torch.inference_mode():
        logits = ensemble(torch.from_numpy(small[None]))[0].numpy()
    mask = rle.to_mask(runs_of_logits(logits, 0.5), HEIGHT, WIDTH) == 1
    assert 0.05 < mask.mean() < 0.95
    return mask


def test_cutouts_take_an_exported_model(project):
    path = export.write(Ensemble.load([project / MODEL]), "openvino", project)
    (project / "one.jpg").write_bytes(jpeg(picture(1)[0][:300, :500]))
    cut(project, "one.jpg", "--out", "by-fold", "--masks")
    (project / MODEL).unlink()
    printed, _ = cut(project, "one.jpg", "--out", "by-file", "--masks", "--model", path.name)
    assert printed.startswith("1 cut-out in by-file")
    masks = [Image.open(project / folder / "one_mask.png") for folder in ("by-fold", "by-file")]
    by_fold, by_file = (np.asarray(each).astype(int) for each in masks)
    assert by_fold.max() == 255
    assert np.abs(by_fold - by_file).mean() < 1


def test_a_folder_that_exists_is_not_touched_and_a_failure_leaves_none(project):
    (project / "mine").mkdir()
    command = ("export", "--format", "torchscript", "--out")
    assert "mine is there already" in stage(project, *command, "mine", status=1)
    (project / MODEL).unlink()
    assert f"{MODEL} is missing" in stage(project, *command, "out", status=1)
    assert not (project / "out").exists()


def test_the_readme_tells_dice_and_commit_only_of_these_models(tmp_path, monkeypatch):
    project = make_finished_project(tmp_path, monkeypatch)
    monkeypatch.chdir(project)

    def told():
        return "\n".join(history(params.load(project / "params.yaml")))

    assert "unseen test cars: 0.9931 (worst 0.8927)" in told()
    assert f"Commit: {git(project, 'rev-parse', 'HEAD')}." in told()
    lock = (project / LOCK).read_bytes()
    (project / LOCK).write_bytes(lock + b"# not committed\n")
    assert "Commit: none has this model yet." in told()
    (project / LOCK).write_bytes(lock)
    for changed in ({"predict_flip": True}, {"predict_scales": [1.0, 0.8]}):
        set_params(project, **changed)
        assert "Its Dice is not known" in told()
    set_params(project)
    write_models(project, "other")
    commit(project)
    assert "Its Dice is not known" in told()
    write_models(project, "model")
    write_evaluation(project, 0.9)
    assert "Its Dice is not known" in told()
    (project / LOCK).unlink()
    assert "Its Dice is not known" in told()
