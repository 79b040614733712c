"""A small competition in Kaggle's format, made of ellipses, and the real sample where it is at hand."""

import contextlib
import csv
import io
import multiprocessing
import os
import random
import runpy
import shutil
import signal
import subprocess
import sys
import threading
import time
import traceback
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from kaggle_server import Server
from PIL import Image

from carvana.base import params
from carvana.competition import HEIGHT, WIDTH
from carvana.data import cache
from carvana.devices import device

ROOT = Path(__file__).resolve().parent.parent
SAMPLE = ROOT.parent / "shared" / "carvana"
STAGES = {path.stem for path in (ROOT / "stages").glob("[a-z]*.py")}

# Tiny networks only lose by sharing out their work.
torch.set_num_threads(1)

# The first three look like numbers, as some of Kaggle's do.
CARS = ["011330127438", "331659860e11", "502733994e02", "0cdf5b5d0ce1", "a1b2c3d4e5f6", "fffe00001111"]
VIEWS = ["01", "02"]

DVC_LOCK = """schema: '2.0'
stages:
  train@0:
    cmd: python -m stages.train 0
    deps:
    - {path: data/cache, hash: md5, md5: 0123.dir, size: 3, nfiles: 2}
    params:
      params.yaml:
        train.weight_decay: 1e-05
        train.folds: [0]
    outs:
    - {path: models/fold-0.csv, hash: md5, md5: 5eb63bbbe01eeed093cb22bb8f5acdc3, size: 11}
"""


# Files that take long although they have few tests, which xdist would begin last.
LONG = ["test_pipeline.py", "test_export.py", "test_train_stage.py", "test_stages.py"]

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


def picture(seed):
    """A photo uint8 [1280, 1918, 3] of a coloured ellipse before a grey ramp, and its mask of {0, 1}."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    centre = random.uniform(0.4, 0.6, 2) * (HEIGHT, WIDTH)
    radii = random.uniform(0.15, 0.3, 2) * (HEIGHT, WIDTH)
    mask = (((rows - centre[0]) / radii[0]) ** 2 + ((columns - centre[1]) / radii[1]) ** 2 < 1).astype(np.uint8)
    photo = np.repeat((150 + 80 * rows / HEIGHT)[..., None], 3, axis=2)
    photo[mask == 1] = random.uniform(0, 120, 3)
    return photo.astype(np.uint8), mask


def jpeg(photo):
    return cv2.imencode(".jpg", photo[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 55])[1].tobytes()


def encoded(photo, kind, **options):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, kind, **options)
    return file.getvalue()


def gif(mask):
    """A mask as Kaggle's are: mode P, black and white in the palette, indices as given."""
    image = Image.frombytes("P", mask.shape[::-1], np.ascontiguousarray(mask, dtype=np.uint8).tobytes())
    image.putpalette([0, 0, 0, 255, 255, 255])
    buffer = io.BytesIO()
    image.save(buffer, "GIF", optimize=False)
    return buffer.getvalue()


def pack(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def csv_text(rows, **options):
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", **options).writerows(rows)
    return buffer.getvalue()


def write_competition(folder, train_cars=CARS[:5], test_cars=CARS[5:]):
    """Kaggle's five zips of ellipses. Gives the masks by photo name, of train and test."""
    photos, masks, truth = {}, {}, {}
    for car in [*train_cars, *test_cars]:
        for view in VIEWS:
            photo, mask = picture(int(car, 16) * 16 + int(view))
            photos[f"{car}_{view}.jpg"] = jpeg(photo)
            masks[f"{car}_{view}_mask.gif"] = gif(mask)
            truth[f"{car}_{view}.jpg"] = mask
    train = {name for name in photos if name[:12] in train_cars}
    pack(folder / "train.zip", {f"train/{name}": photos[name] for name in sorted(train)})
    pack(folder / "train_masks.zip", {f"train_masks/{n}": d for n, d in masks.items() if n[:12] in train_cars})
    pack(folder / "test.zip", {f"test/{name}": data for name, data in photos.items() if name not in train})
    makes = ["Acura", "", "BMW", "Acura", "BMW", "Acura"]
    rows = [["id", "year", "make", "model", "trim1", "trim2"]]
    rows += [[car, "2014", make, "X", "", ""] for car, make in zip([*train_cars, *test_cars], makes, strict=False)]
    pack(folder / "metadata.csv.zip", {"metadata.csv": csv_text(rows, quoting=csv.QUOTE_ALL)})
    rows = [["img", "rle_mask"], *([name, "1 1"] for name in sorted(photos) if name not in train)]
    pack(folder / "sample_submission.csv.zip", {"sample_submission.csv": csv_text(rows)})
    return truth


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


def repack(path, change):
    """Writes a zip again after `change` has edited its members {name: bytes}."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    pack(path, members)


def read_params(**changes):
    """The committed parameters with some keys changed, e.g. train_size=64 for train.size."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, value in changes.items():
        section, _, name = key.partition("_")
        content[section][name] = value
    return params.Params.model_validate(content)


def read_network(**changes):
    """The committed network, small, with some keys changed."""
    small = {"depth": 3, "width": 4, "patch": 1}
    return read_params(**{f"train_{key}": value for key, value in (small | changes).items()}).train.network


def make_project(folder):
    """A folder with the code and nothing else."""
    folder.mkdir()
    for name in ("stages", "src", "dvc.yaml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def set_params(folder, **changes):
    """Writes the committed parameters, tiny, with some keys changed."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tiny = {"train_size": 64, "train_patch": 1, "train_depth": 2, "train_width": 2, "train_epochs": 1, "split_folds": 2}
    # `auto` differs by machine; tests/test_pipeline.py has it.
    tiny |= {"train_precision": "float32", "runtime_engine": "torch"}
    for key, value in (tiny | changes).items():
        section, _, name = key.partition("_")
        content[section][name] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def copy_project(project, folder, **changes):
    """A copy of a project in `folder`, with the given parameters."""
    shutil.copytree(project, folder, symlinks=True)
    set_params(folder, **changes)
    return folder


@contextlib.contextmanager
def small_disk(folder, size):
    """A disk of `size` at `folder`, and what enlarges it. Skips the test where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if os.geteuid() or sys.platform != "linux" or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting a small disk needs root on Linux")
    try:
        yield lambda larger: subprocess.run(["mount", "-o", f"remount,size={larger}", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def program(*arguments):
    """The module to run for a stage or a command, and its arguments; `score` with arguments is a command."""
    is_stage = (arguments[0] in STAGES and arguments[0] != "score") or arguments == ("score",)
    return (f"stages.{arguments[0]}", *arguments[1:]) if is_stage else ("carvana", *arguments)


def start(folder, *arguments, **environment):
    """Starts a stage or a command in a process of its own."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("DVC", "PET_"))}
    command = [sys.executable, "-m", *program(*arguments)]
    environment = plain | {"OMP_NUM_THREADS": "1"} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def stage_alone(folder, *arguments):
    """Does what `stage` does in a process of its own, which also shows what its children print."""
    with start(folder, *arguments) as process:
        shown, errors = process.communicate()
    assert process.returncode == 0, errors
    return shown


def wait_until(done, process, step=0.05):
    """Until `done()` is true of what a process does."""
    limit = time.monotonic() + 60
    while not done():
        assert process.poll() is None, (process.stderr or process.stdout).read()
        assert time.monotonic() < limit
        time.sleep(step)


def stage(folder, *arguments, status=0):
    """Runs a stage or a command in a folder; its output, or its errors where it is to fail.

    In this process, because another one would first import torch for seconds, but through the same door.
    """
    module, *words = program(*arguments)
    shown, errors, ended = io.StringIO(), io.StringIO(), 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(sys, "argv", [module, *words])
        for key in [key for key in os.environ if key.startswith("DVC")]:
            patch.delenv(key)
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(errors):
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                ended = end.code or 0
            except Exception:
                traceback.print_exc()
                ended = 1
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert ended == status, errors.getvalue()
    return errors.getvalue() if status else shown.getvalue()


@contextlib.contextmanager
def first_process_killed():
    """Kills the first process that multiprocessing starts in the block."""
    before = set(multiprocessing.active_children())

    def kill():
        while not (begun := set(multiprocessing.active_children()) - before):
            time.sleep(0.01)
        begun.pop().kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    yield
    killer.join()


def wait_for_an_epoch(folder, process, after=0.0):
    """Until a training has written its state later than at the time `after`."""
    states = ".work/train-0/*/epoch.pt"
    wait_until(lambda: any(path.stat().st_mtime > after for path in folder.glob(states)), process)


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


@pytest.fixture(scope="session")
def _trained(_competition, _ready, tmp_path_factory):
    source = {"data_source": "local", "data_local_dir": str(_competition[0])}
    folder = copy_project(_ready, tmp_path_factory.mktemp("trained") / "project", **source)
    for command in ("train 0", "evaluate", "predict", "encode", "score"):
        stage(folder, *command.split())
    return folder


@pytest.fixture
def trained(_trained, tmp_path, kaggle):
    """A project of the test's own with everything up to a submission, whose source is the folder `kaggle`."""
    return copy_project(_trained, tmp_path / "project", data_source="local", data_local_dir=str(kaggle))


@pytest.fixture(scope="session")
def _saved(_competition, tmp_path_factory):
    """A project with experiments that nobody has run, of all tests: they must not change it."""
    from saved_experiments import make_experiments  # noqa: PLC0415 - DVC takes a second, and few tests need it

    return make_experiments(tmp_path_factory.mktemp("saved") / "project", _competition[0])


@pytest.fixture
def copy(_saved, tmp_path):
    """The same for a test that changes something."""
    return type(_saved).copy(_saved, tmp_path / "project")
