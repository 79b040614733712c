"""What a killed DVC leaves behind is removed, unless a DVC runs."""

import json
import os
import subprocess
import sys

import pytest
from conftest import make_project, stage

WHOLE = b"schema: '2.0'\nstages:\n  split:\n    cmd: x\n    outs:\n    - path: data/split.csv\n      md5: abcd\n"


@pytest.fixture
def lock(tmp_path):
    folder = make_project(tmp_path / "project")
    path = folder / ".dvc/tmp/rwlock"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
def running(lock):
    """A process that looks like a DVC of this project."""
    (lock.parent / "dvc").write_text("import time; print('running', flush=True); time.sleep(60)", encoding="ascii")
    command = [sys.executable, lock.parent / "dvc", "repro"]
    with subprocess.Popen(command, cwd=lock.parent.parent.parent, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def held_by(pid):
    return json.dumps({"write": {"data/cache": {"pid": pid, "cmd": "dvc repro"}}, "read": {}})


def unlock(lock, status=0):
    return stage(lock.parent.parent.parent, "unlock", status=status)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"write": {"data/cache": {"pid": "x", "cmd": ""}}}', "the number of this process"]
)
def test_a_damaged_lock_and_one_whose_number_another_program_has_are_removed(lock, content):
    lock.write_text(content.replace("the number of this process", held_by(os.getpid())), encoding="ascii")
    assert "removed .dvc/tmp/rwlock" in unlock(lock)
    assert not lock.exists()
    assert unlock(lock) == "", "there is nothing to do"


def test_the_lock_of_a_dvc_that_runs_stays(lock, running):
    for content in (held_by(running.pid), ""):
        lock.write_text(content, encoding="ascii")
        assert f"DVC is running here (process {running.pid})" in unlock(lock, status=1)
        assert lock.exists()


@pytest.mark.parametrize("kept", [0, 20, 60])
def test_a_dvc_lock_that_was_cut_short_is_moved_aside(lock, running, kept):
    path = lock.parent.parent.parent / "dvc.lock"
    path.write_bytes(WHOLE)
    assert unlock(lock) == ""
    path.write_bytes(WHOLE[:kept])
    assert "DVC is running here" in unlock(lock, status=1)
    running.kill()
    running.wait()
    assert "moved dvc.lock, which DVC cannot read, to .work/dvc.lock" in unlock(lock)
    assert not path.exists()
    assert (path.parent / ".work/dvc.lock").read_bytes() == WHOLE[:kept]


def test_a_dvc_lock_that_dvc_can_read_stays(lock):
    """Cut before the MD5: DVC runs that stage again."""
    path = lock.parent.parent.parent / "dvc.lock"
    path.write_bytes(WHOLE[: WHOLE.index(b"      md5")])
    assert unlock(lock) == ""
    assert path.exists()


def test_a_dvc_lock_with_conflict_marks_is_the_users(lock):
    path = lock.parent.parent.parent / "dvc.lock"
    path.write_text("<<<<<<< HEAD\nschema: '2.0'\n=======\n", encoding="ascii")
    assert "conflict marks" in unlock(lock, status=1)
    assert path.exists()


def test_a_lock_that_names_nobody_is_left_alone(lock):
    lock.write_text('{"write": {}, "read": {}}', encoding="ascii")
    assert unlock(lock) == ""
    assert lock.exists()
