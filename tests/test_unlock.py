"""What a killed DVC leaves behind is removed, unless a DVC runs."""

import json
import subprocess
import sys

import pytest

from carvana.base import paths
from carvana.base.errors import UserError
from carvana.commands import unlock

WHOLE = b"schema: '2.0'\nstages:\n  split:\n    cmd: x\n    outs:\n    - path: data/split.csv\n      md5: abcd\n"
NO_MD5 = WHOLE[: WHOLE.index(b"      md5")]


@pytest.fixture
def lock(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths.DVC_LOCK.parent.mkdir(parents=True)
    return paths.DVC_LOCK


@pytest.fixture
def running(lock):
    """A process that looks like a DVC of this project."""
    (lock.parent / "dvc").write_text("import time; print('running', flush=True); time.sleep(60)", encoding="ascii")
    with subprocess.Popen([sys.executable, lock.parent / "dvc", "repro"], stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        yield process
        process.kill()


def held_by(pid):
    return json.dumps({"write": {"data/cache": {"pid": pid, "cmd": "dvc repro"}}, "read": {}})


@pytest.mark.parametrize("content", ["", "{", "[]", held_by("x"), held_by(1)])
def test_a_damaged_lock_and_one_whose_number_another_program_has_are_removed(lock, capsys, content):
    lock.write_text(content, encoding="ascii")
    unlock.main()
    assert "removed .dvc/tmp/rwlock" in capsys.readouterr().out
    assert not lock.exists()
    unlock.main()
    assert capsys.readouterr().out == "", "there is nothing to do"


def test_while_a_dvc_runs_nothing_is_touched(lock, running):
    for path, content in ((lock, held_by(running.pid)), (lock, ""), (paths.LOCK, "")):
        path.write_text(content, encoding="ascii")
        with pytest.raises(UserError, match=rf"DVC is running here \(process {running.pid}\)"):
            unlock.main()
        assert path.read_text(encoding="ascii") == content
        path.unlink()


@pytest.mark.parametrize("kept", [0, 20, 60])
def test_a_dvc_lock_that_was_cut_short_is_moved_aside(lock, capsys, kept):
    paths.LOCK.write_bytes(WHOLE[:kept])
    unlock.main()
    assert "moved dvc.lock, which DVC cannot read, to .work/dvc.lock" in capsys.readouterr().out
    assert not paths.LOCK.exists()
    assert (paths.WORK / "dvc.lock").read_bytes() == WHOLE[:kept]


@pytest.mark.parametrize("content", [WHOLE, NO_MD5, WHOLE + b"datasets: {}\n"])
def test_a_dvc_lock_that_dvc_can_read_and_a_lock_that_names_nobody_stay(lock, capsys, content):
    """Without the MD5, DVC runs the stage again."""
    paths.LOCK.write_bytes(content)
    lock.write_text('{"write": {}, "read": {}}', encoding="ascii")
    unlock.main()
    assert capsys.readouterr().out == ""
    assert paths.LOCK.read_bytes() == content
    assert lock.exists()


def test_a_dvc_lock_with_conflict_marks_is_the_users(lock):
    paths.LOCK.write_text("<<<<<<< HEAD\nschema: '2.0'\n=======\n", encoding="ascii")
    with pytest.raises(UserError, match="conflict marks"):
        unlock.main()
    assert paths.LOCK.exists()
