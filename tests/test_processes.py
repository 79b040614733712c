"""A process ends with the one that started it, even if that ended first."""

import contextlib
import subprocess
import sys
import time

import psutil
import pytest
from projects import ROOT, first_process_killed, set_params

from carvana.base.errors import UserError
from carvana.data import cache

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")

PARENT = "import os, subprocess, sys\n"
PARENT += "child = subprocess.Popen([sys.executable, '-c', *sys.argv[1:], str(os.getpid())])\n"
PARENT += "print(child.pid, flush=True)\n"


def has_ended(pid):
    limit = time.monotonic() + 10
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        # A dead child waits for init to take it away.
        while process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > limit:
                process.kill()
                return False
            time.sleep(0.05)
    return True


def test_a_child_ends_with_its_parent():
    child = "import sys, time; sys.path.insert(0, sys.argv[1])\n"
    child += "from carvana.base import processes; processes.die_with_parent(); processes.end_if_orphaned()\n"
    child += "print('ready', flush=True); time.sleep(60)"
    command = [sys.executable, "-c", PARENT + "child.wait()", child, ROOT / "src"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        lines = {process.stdout.readline().strip(), process.stdout.readline().strip()}
        process.kill()
    assert has_ended(int((lines - {b"ready"}).pop()))


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


def test_a_killed_process_ends_the_cache_with_a_message(kaggle, tmp_path):
    complaint = pytest.raises(UserError, match=r"a worker process was killed.*runtime\.workers")
    with first_process_killed(), complaint:
        cache.write(kaggle / "train.zip", kaggle / "train_masks.zip", tmp_path / "cache", (64, 64), 2)
    assert not list(tmp_path.glob("cache*")), "nothing half-written is left"
