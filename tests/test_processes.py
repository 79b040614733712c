"""A process ends with the one that started it, even if that ended first."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from projects import ROOT, first_process_killed, set_params

from carvana.base.errors import UserError
from carvana.data import cache

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")

PARENT = "import os, subprocess, sys\n"
PARENT += "child = subprocess.Popen([sys.executable, '-c', *sys.argv[1:], str(os.getpid())])\n"
PARENT += "print(child.pid, flush=True)\n"


def has_ended(pid):
    for _ in range(200):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        # A dead child waits for init to take it away.
        if Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "Z":
            return True
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    return False


def test_a_child_ends_with_its_parent():
    child = "import sys, time; sys.path.insert(0, sys.argv[1])\n"
    child += "from carvana.base import processes; processes.die_with_parent(); processes.end_if_orphaned()\n"
    child += "print('ready', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", PARENT + "child.wait()", child, ROOT / "src"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        lines = {process.stdout.readline().strip(), process.stdout.readline().strip()}
        pid = int((lines - {b"ready"}).pop())
        process.send_signal(signal.SIGKILL)
    assert has_ended(pid)


@pytest.fixture
def of_dvc(project, monkeypatch):
    """A project, and the environment of a stage that a DVC runs there."""
    set_params(project)
    monkeypatch.setenv("DVC_STAGE", "split")
    return project


def test_a_stage_that_starts_after_its_dvc_was_killed_ends_before_it_imports_torch(of_dvc):
    child = "import os, sys, time\nwhile os.getppid() == int(sys.argv[1]): time.sleep(0.01)\n"
    child += "import stages\nopen('began', 'w').close()\ntime.sleep(60)"
    done = subprocess.run([sys.executable, "-c", PARENT, child], cwd=of_dvc, stdout=subprocess.PIPE, check=True)
    assert has_ended(int(done.stdout))
    assert not (of_dvc / "began").exists()


def test_a_stage_of_a_living_dvc_starts(of_dvc):
    command = [sys.executable, "-c", "import stages; print('began')"]
    assert subprocess.run(command, cwd=of_dvc, capture_output=True, text=True, check=True).stdout == "began\n"


def test_a_killed_process_ends_the_cache_with_a_message(_competition, tmp_path):
    folder, _ = _competition
    complaint = pytest.raises(UserError, match=r"a worker process was killed.*runtime\.workers")
    with first_process_killed(), complaint:
        cache.write(folder / "train.zip", folder / "train_masks.zip", tmp_path / "cache", (64, 64), 2)
    assert not list(tmp_path.glob("cache*")), "nothing half-written is left"
