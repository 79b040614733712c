"""The predict stage, killed, in several processes, and on a zip that changes: as processes, in folders of their own."""

import importlib.util
import os
import shutil
import signal
import subprocess
import sys

import pytest
import torch
from competition_files import jpeg, pack, picture, repack
from projects import (
    machines,
    make_project,
    read_network,
    require_done,
    small_disk,
    stage,
    stage_alone,
    start,
    wait_until,
)

from carvana.data import split
from carvana.masks import shards
from carvana.networks import checkpoint, models

CARS = 60


@pytest.fixture(scope="module")
def _ready(tmp_path_factory):
    """A project with a model and a test.zip of so many cars with one photo each, so many shards."""
    folder = make_project(tmp_path_factory.mktemp("ready") / "project")
    torch.manual_seed(0)
    network = read_network(depth=2, width=2)
    checkpoint.save(folder / "models/fold-0.safetensors", models.build(network), network, (64, 64))
    split.write(folder / "data/split.csv", {"00000000ffff": "0"})
    photos = [jpeg(picture(seed)[0]) for seed in range(4)]
    pack(folder / "data/raw/test.zip", {f"test/{car:012x}_01.jpg": photos[car % 4] for car in range(CARS)})
    return folder


def made(folder):
    """The shards that are there, by name."""
    return {path.name: path.stat().st_mtime_ns for path in folder.glob(".work/predict/*/*.parquet")}


def predictions(folder):
    return {path.name: path.read_bytes() for path in (folder / "data/predictions").glob("*.parquet")}


@pytest.mark.slow
def test_killed_twice_it_ends_with_the_same_bytes_and_does_nothing_twice(projects):
    # All in processes of their own, because this one never computes in bfloat16.
    whole = projects("whole")
    stage_alone(whole, "predict")
    assert len(predictions(whole)) == CARS
    killed = projects("killed")
    for _ in range(2):
        before = made(killed)
        with start(killed, "predict") as process:
            wait_until(lambda before=before: len(made(killed)) > len(before), process, 0.01)
            process.send_signal(signal.SIGKILL)
        assert not (killed / "data/predictions").exists(), "killed too late to show anything"
    before = made(killed)
    stage_alone(killed, "predict")
    assert predictions(killed) == predictions(whole)
    assert before.items() <= made(killed).items()


@pytest.mark.slow
def test_two_processes_give_the_same_bytes(projects):
    one, two = projects("one"), projects("two", runtime_processes=2)
    stage_alone(one, "predict")
    stage_alone(two, "predict")
    assert predictions(one) == predictions(two)


def test_they_say_which_cars_the_model_was_trained_on(projects):
    folder = projects("project")
    stage(folder, "predict")
    assert split.read(folder / "data/predictions/split.csv") == {"00000000ffff": "0"}


@pytest.mark.slow
def test_two_machines_in_one_folder_give_the_same_bytes(projects):
    one, shared = projects("one"), projects("shared")
    stage_alone(one, "predict")
    start_on = machines("predict")
    require_done(start_on(0, shared), start_on(1, shared))
    assert predictions(one) == predictions(shared)


@pytest.mark.slow
def test_two_machines_with_disks_of_their_own_give_the_same_bytes_although_one_is_killed(projects):
    """Only the first has a model, and only the second is started again."""
    one, first, second = (projects(name) for name in ("one", "first", "second"))
    stage_alone(one, "predict")
    shutil.rmtree(second / "models")
    start_on = machines("predict")
    others, killed = start_on(0, first), start_on(1, second)
    wait_until(lambda: len(made(second)) > 2, killed, 0.01)
    killed.kill()
    killed.communicate()
    before = made(second)
    assert len(before) < CARS // 2, "killed too late to show anything"
    require_done(others, start_on(1, second))
    assert predictions(one) == predictions(first)
    assert not (second / "data/predictions").exists()
    assert before.items() <= made(second).items()


def test_a_prediction_without_some_photos_is_not_published(projects, monkeypatch):
    """Whatever the reason: here, a shard was not written."""
    folder = projects("project")
    stage(folder, "predict")
    before = predictions(folder)
    write = shards.write
    monkeypatch.setattr(shards, "write", lambda path, *rest: path.name == "007.parquet" or write(path, *rest))
    shutil.rmtree(folder / ".work/predict")
    assert "lacks 007.parquet of 60 shards" in stage(folder, "predict", status=1)
    assert predictions(folder) == before
    monkeypatch.undo()
    stage(folder, "predict")
    assert predictions(folder) == before


def test_a_zip_that_changed_is_begun_anew(projects):
    folder = projects("project")
    stage(folder, "predict")
    before = made(folder)
    added = {"test/00000000ffff_01.jpg": jpeg(picture(9)[0])}
    repack(folder / "data/raw/test.zip", lambda members: members.update(added))
    stage(folder, "predict")
    assert len(predictions(folder)) == CARS + 1
    assert not set(before.values()) & set(made(folder).values())


def test_a_damaged_photo_is_named_and_all_others_are_kept_until_it_is_replaced(projects):
    folder = projects("project")
    name, path = "00000000001f_01.jpg", folder / "data/raw/test.zip"
    whole = path.read_bytes()
    place = whole.index(name.encode()) + 500
    path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])  # the directory stays the same
    assert f"1 photos cannot be read: {name}" in stage(folder, "predict", status=1)
    before = made(folder)
    assert len(before) == CARS - 1
    assert not (folder / "data/predictions").exists()
    path.write_bytes(whole)
    stage(folder, "predict")
    assert len(predictions(folder)) == CARS
    assert before.items() <= made(folder).items(), "kept as they were"


def test_a_full_disk_is_a_plain_message_and_what_was_done_stays(projects):
    folder = projects("project")
    with small_disk(folder / ".work", "80k") as enlarge:
        assert "the disk is full" in stage(folder, "predict", status=1)
        before = made(folder)
        assert 0 < len(before) < CARS
        assert not (folder / "data/predictions").exists()
        enlarge("10m")
        stage(folder, "predict")
        assert len(predictions(folder)) == CARS
        assert before.items() <= made(folder).items()


# Notes and refuses whatever reaches out, in forked processes too, and runs the stage.
WATCHED = """
import runpy, sys
from pathlib import Path

def refuse(event, given):
    if event in ("os.fork", "os.posix_spawn", "os.system", "subprocess.Popen") or event.startswith("socket."):
        with Path("reached-out").open("a") as file:
            print(event, given, file=file)
        raise PermissionError(event)

sys.addaudithook(refuse)
runpy.run_module("stages.predict", run_name="__main__")
"""


@pytest.mark.skipif(not importlib.util.find_spec("openvino"), reason="openvino is not installed")
def test_openvino_reports_nothing_to_anyone(projects, tmp_path):
    """Imported as it is, it sends events to an analytics service, except in CI and for who has opted out."""
    project = projects("project", runtime_engine="openvino", runtime_workers=0)
    (tmp_path / "home").mkdir()
    kept = {key: value for key, value in os.environ.items() if key not in ("CI", "TF_BUILD", "JENKINS_URL")}
    environment = kept | {"HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", WATCHED], cwd=project, env=environment, check=False)
    assert done.returncode == 0
    assert not (project / "reached-out").exists(), (project / "reached-out").read_text(encoding="utf-8")
    assert not list((tmp_path / "home").iterdir()), "no file of consent or identity either"
    assert len(predictions(project)) == CARS
