"""The fixtures: a small competition and projects of it, a server, and the real sample where it is at hand."""

import random
import shutil
import time

import pytest
import torch
from competition_files import pack, write_competition
from kaggle_server import Server
from projects import ROOT, copy_project, make_project, set_params, stage

from carvana.data import cache
from carvana.devices import device

SAMPLE = ROOT.parent / "shared" / "carvana"

# Tiny networks only lose by sharing out their work.
torch.set_num_threads(1)

# Files that take long although they have few tests, which xdist would begin last.
LONG = [
    "test_recipes.py",
    "test_readme.py",
    "test_pipeline.py",
    "test_export.py",
    "test_train_stage.py",
    "test_stages.py",
]

has_bfloat16 = device.has_bfloat16


def pytest_configure(config):
    config.option.loadscopereorder = False


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: LONG.index(item.path.name) if item.path.name in LONG else len(LONG))


@pytest.fixture(scope="session", autouse=True)
def _float32():
    """`auto` is no bfloat16, whatever this machine has, unless a test asks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(device, "has_bfloat16", lambda _: False)
        yield


@pytest.fixture(autouse=True)
def bfloat16(request, monkeypatch):
    """Whether `auto` is bfloat16; see `both_precisions`."""
    if has_it := getattr(request, "param", False):
        monkeypatch.setattr(device, "has_bfloat16", lambda _: has_it)


both_precisions = pytest.mark.parametrize("bfloat16", [False, True], ids=["float32", "bfloat16"], indirect=True)


@pytest.fixture(scope="session")
def sample():
    if not SAMPLE.is_dir():
        pytest.skip("the real sample is not on this machine")
    return SAMPLE


@pytest.fixture(scope="session")
def _competition(tmp_path_factory):
    folder = tmp_path_factory.mktemp("competition")
    return folder, write_competition(folder)


@pytest.fixture(scope="session")
def truth(_competition):
    return _competition[1]


@pytest.fixture(scope="session")
def small_cache(_competition, tmp_path_factory):
    """The cache of all photos of train.zip, at 64×64."""
    folder = tmp_path_factory.mktemp("cache") / "cache"
    cache.write(_competition[0] / "train.zip", _competition[0] / "train_masks.zip", folder, (64, 64), 1)
    return cache.read(folder)


@pytest.fixture
def kaggle(tmp_path, _competition):
    """A folder of the test's own with Kaggle's five zips."""
    folder = tmp_path / "kaggle"
    shutil.copytree(_competition[0], folder)
    return folder


@pytest.fixture(scope="session")
def train_zip(tmp_path_factory):
    """The bytes of a zip of 8 MB."""
    path = tmp_path_factory.mktemp("train") / "train.zip"
    pack(path, {"train/a.jpg": random.Random(0).randbytes(8 * 10**6), "train/b.jpg": b"b"})
    return path.read_bytes()


@pytest.fixture
def server(tmp_path, monkeypatch, train_zip):
    """A server with one zip, and the way to it for this process and for those that it starts."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    settings = {"KAGGLE_API_ENVIRONMENT": "TEST", "KAGGLE_API_TOKEN": "good", "NO_PROXY": "localhost"}
    for name, value in (settings | {"HOME": str(tmp_path), "KAGGLE_CONFIG_DIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    with Server() as server:
        server.files["train.zip"] = train_zip
        yield server


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that are waited, which pass at once."""
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


@pytest.fixture
def project(tmp_path):
    """A folder with the code and nothing else."""
    return make_project(tmp_path / "project")


@pytest.fixture(scope="session")
def _ready(_competition, tmp_path_factory):
    """A project with everything up to training; tests work in copies."""
    folder = make_project(tmp_path_factory.mktemp("ready") / "project")
    set_params(folder, data_source="local", data_local_dir=str(_competition[0]))
    for name in ("download", "resize", "split", "label"):
        stage(folder, name)
    return folder


@pytest.fixture
def projects(_ready, tmp_path):
    """Makes a copy of `_ready`, which may be that of the module, with the given parameters."""
    return lambda name, **changes: copy_project(_ready, tmp_path / name, **changes)


@pytest.fixture(scope="session")
def _trained(_ready, tmp_path_factory):
    folder = shutil.copytree(_ready, tmp_path_factory.mktemp("trained") / "project", symlinks=True)
    for command in ("train 0", "evaluate", "predict", "encode", "score"):
        stage(folder, *command.split())
    return folder


@pytest.fixture
def trained(_trained, tmp_path, kaggle):
    """A project of the test's own with everything up to a submission, whose source is the folder `kaggle`."""
    return copy_project(_trained, tmp_path / "project", data_source="local", data_local_dir=str(kaggle))
