import os
import re

import pytest
import yaml
from projects import ROOT

from carvana.base import params
from carvana.base.errors import UserError
from carvana.networks.sizes import sizes_of


def load(tmp_path, key, value):
    """The committed parameters with another value of a key, or of a whole section."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    section, _, name = key.partition(".")
    content[section] = content[section] | {name: value} if name else value
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return params.load(tmp_path / "params.yaml")


def test_the_parameters_are_those_of_which_the_documents_say_what_they_are_worth():
    table = (ROOT / "docs/parameters.md").read_text(encoding="utf-8")
    worth = re.findall(r"^\| `(.+)` \| .+ \|$", table, re.MULTILINE)
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    assert list(params.leaves(content)) == worth
    assert len(worth) <= 60


def test_the_committed_file_is_valid_and_frozen():
    settings = params.load(ROOT / "params.yaml")
    assert settings.data.source == "demo"
    with pytest.raises(ValueError, match="frozen"):
        settings.train.epochs = 1


OUT_OF_RANGE = {
    "split.folds": [1, 2.5],
    "split.test_fraction": [1],
    "train.size": [[1, 2, 3], 256.0],
    "train.epochs": [10**9, "12", True],
    "train.half_size_epochs": [-1],
    "train.batch_size": [10**9],
    "train.learning_rate": [float("nan")],
    "train.pseudo_share": [1.0],
    "train.folds": [[]],
    "train.seed": [10**40],
    "predict.threshold": [1.0],
    "predict.scales": [[], [1.0, 0.1], 1.0],
    "runtime.workers": ["all"],
}


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        *((key, value, key) for key, values in OUT_OF_RANGE.items() for value in values),
        ("train.size", 100, "train.size: Input should be a multiple of 32 (got 100)"),
        ("train.size", [256, 100], "train.size: Input should be a multiple of 32 (got 100)"),
        ("train.size", 0, "train.size: Input should be greater than or equal to 32 (got 0)"),
        ("train.size", [4128, 64], "train.size: Input should be less than or equal to 4096 (got 4128)"),
        ("train.decoder_channels", [0], "train.decoder_channels: Input should be greater than or equal to 1 (got 0)"),
        ("train.size", "big", "train.size: Input should be a valid tuple (got 'big')"),
        ("train.encoder_weights", "a" * 300, "train.encoder_weights: is not a possible path"),
        ("data.local_dir", "a\0b", "data.local_dir: is not a possible path"),
        ("data.local_dir", "\ud800", "data.local_dir: "),
        ("train.sise", 128, "train.sise is not a parameter; did you mean train.size?"),
        ("trian", {}, "trian is not a parameter; did you mean train?"),
        ("train.folds", [4], "train.folds names 4, but split.folds makes 0 to 3"),
        ("train.accumulate", 3, "train.batch_size: 4 is no multiple of train.accumulate"),
        ("train.half_size_epochs", 36, "train.half_size_epochs: 36 is not below train.epochs"),
        ("train.folds", [-1], "train.folds names -1"),
        ("train.folds", [0, 0], "train.folds names a fold twice"),
        ("train.pseudo_labels", "data/teacher", "train.pseudo_labels: is not the name of a folder in teachers/"),
        ("train.pseudo_labels", "..", "train.pseudo_labels: is not the name of a folder in teachers/"),
        ("train.masks", "SOFTT", "train.masks: Input should be 'soft' or 'hard' (got 'SOFTT'); did you mean soft?"),
        ("train.arch", "fpn", "train.patch: 2 is for unet only; set it to 1 for train.arch: fpn"),
    ],
)
def test_a_bad_value_names_its_key(tmp_path, key, value, complaint):
    with pytest.raises(UserError) as error:
        load(tmp_path, key, value)
    lines = str(error.value).splitlines()
    assert any(line.startswith(f"{tmp_path / 'params.yaml'}: {complaint}") for line in lines), lines


def test_a_missing_key_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(UserError, match=r"params\.yaml is missing"):
        params.load(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_text("data: {source: demo}", encoding="utf-8")
    with pytest.raises(UserError, match=r"data\.local_dir is missing"):
        params.load(tmp_path / "params.yaml")


def test_size_is_a_side_or_height_and_width_and_scales_are_multiples_of_32_of_it(tmp_path):
    assert load(tmp_path, "train.size", 128).train.size == (128, 128)
    assert load(tmp_path, "train.size", [640, 960]).train.size == (640, 960)
    scales = load(tmp_path, "predict.scales", [1, 0.8]).predict.scales
    assert sizes_of((256, 256), scales) == [(256, 256), (192, 192)]
    assert sizes_of((256, 320), (1.26, 1.0)) == [(320, 416), (256, 320)]
    assert sizes_of((640, 960), (0.75, 1.2)) == [(480, 704), (768, 1152)]
    assert sizes_of((32, 32), (0.5,)) == [(32, 32)]
    with pytest.raises(UserError, match=r"predict\.scales: 1\.2 and 1\.25 of train.size both round to 320×320"):
        sizes_of((256, 256), (1.0, 1.2, 1.25))


def test_numbers_are_read_as_dvc_writes_them():
    """PyYAML, which knows YAML 1.1 only, would read a string."""
    content = (ROOT / "params.yaml").read_text(encoding="utf-8")
    text = content.replace("weight_decay: 0.0\n", "weight_decay: 1e-05\n")
    assert params.parse(text, "params.yaml").train.weight_decay == 0.00001


@pytest.mark.parametrize("data", [b"train: [", b"train: \xff\xfe", b"a: 1\na: 2\n", b"a: &a [*a]\n"])
def test_a_file_that_is_not_yaml_is_named(tmp_path, data):
    (tmp_path / "params.yaml").write_bytes(data)
    with pytest.raises(UserError, match=r"params\.yaml is not YAML"):
        params.load(tmp_path / "params.yaml")


def test_workers_are_as_many_as_there_are_cores(tmp_path):
    assert load(tmp_path, "runtime.workers", "auto").runtime.workers == len(os.sched_getaffinity(0))


def test_a_message_is_short_whatever_the_value(tmp_path):
    many = dict.fromkeys(map(str, range(1000)), 0)
    for value in ("x" * 10_000, ["y" * 1000] * 50, many):
        with pytest.raises(UserError) as error:
            load(tmp_path, "train.epochs", value)
        assert len(str(error.value)) < 1000
    with pytest.raises(UserError) as error:
        load(tmp_path, "train", many)
    assert len(str(error.value).splitlines()) == 20


def test_processes_on_one_machine_share_its_workers(tmp_path, monkeypatch):
    for processes, wanted, share in ((1, 8, 8), (4, 8, 2), (4, 2, 1), (4, 0, 0)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert load(tmp_path, "runtime.workers", wanted).runtime.workers == share
