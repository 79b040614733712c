"""Processes of torchrun: how long they wait for each other, and what becomes of an error."""

import os
import subprocess
import sys
from datetime import timedelta

import psutil
import pytest
import torch
from projects import ROOT, wait_until
from torch.distributed import distributed_c10d

from carvana.base import torchrun
from carvana.base.errors import UserError
from carvana.devices import distributed

CPU = torch.device("cpu")

# Two processes, of which the second fails as the first word says, while the first waits for it.
FAILING = """
import os, signal, sys, time
from pathlib import Path
from carvana.base.errors import UserError
from carvana.devices import distributed
from carvana.base.stage import run
import torch

def work():
    with distributed.joined(torch.device("cpu")):
        starts, rank = Path(os.environ["STARTS"]), distributed.rank()
        earlier = len(list(starts.glob(f"*-{rank}")))
        (starts / f"{earlier}-{rank}").touch()
        if rank == 1 and not earlier:
            if sys.argv[1] == "signal":
                os.kill(os.getpid(), signal.SIGKILL)
            raise UserError("lower the learning rate")
        distributed.gathered([0])

run(work, "test", writes=False)
"""


@pytest.mark.parametrize(("in_step", "days"), [(True, 0), (False, 7)])
def test_processes_at_their_own_pace_wait_for_each_other_for_days(monkeypatch, in_step, days):
    only = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    for name, value in (only | {"TORCHELASTIC_RUN_ID": "none"}).items():
        monkeypatch.setenv(name, value)
    with distributed.joined(CPU, in_step=in_step):
        options = distributed_c10d._get_default_group()._get_backend(CPU).options
        assert options._timeout // timedelta(days=1) == days


@pytest.mark.parametrize("failure", ["error", "signal"])
def test_only_what_the_user_cannot_fix_is_started_again(tmp_path, monkeypatch, capfd, failure):
    (tmp_path / "failing.py").write_text(FAILING, encoding="utf-8")
    (tmp_path / "starts").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "src"))))
    monkeypatch.setenv("STARTS", str(tmp_path / "starts"))
    monkeypatch.chdir(ROOT)
    starts = {"0-0", "0-1"}
    if failure == "error":
        with pytest.raises(UserError, match="lower the learning rate"):
            torchrun.launch(2, "failing", failure)
        assert not capfd.readouterr().err.strip()
    else:
        torchrun.launch(2, "failing", failure)
        starts |= {"1-0", "1-1"}
    assert {path.name for path in (tmp_path / "starts").iterdir()} == starts


def test_a_machine_that_cannot_take_part_is_told_at_once(monkeypatch):
    for name, value in {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "unknown.invalid"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match=r"PET_MASTER_ADDR: unknown\.invalid is no address"):
        torchrun.launch(1, "stages.train", "0")
    monkeypatch.setenv("DVC_STAGE", "train@0")
    with pytest.raises(UserError, match=r"only the first machine runs DVC; here, run `python -m stages\.train 0`"):
        torchrun.launch(1, "stages.train", "0")


# Two processes that meet; then the first waits for the second, and does not notice SIGTERM.
WAITING = """
import os, time
from pathlib import Path
from carvana.base.stage import run
from carvana.devices import distributed
import torch

def work():
    with distributed.joined(torch.device("cpu")):
        (Path(os.environ["STARTS"]) / str(os.getpid())).touch()
        time.sleep(distributed.rank() * 1000)
        distributed.gathered([0])

run(work, "test", writes=False)
"""


@pytest.mark.slow
def test_processes_of_a_machine_without_a_known_name_meet_and_none_stays_behind(tmp_path):
    (tmp_path / "waiting.py").write_text(WAITING, encoding="utf-8")
    (tmp_path / "starts").mkdir()
    places = {
        "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, ROOT, ROOT / "src"))),
        "STARTS": str(tmp_path / "starts"),
    }
    launch = "run(lambda: torchrun.launch(2, 'waiting'), 'test', writes=False)"
    script = f"from carvana.base import torchrun; from carvana.base.stage import run; {launch}"
    command = [sys.executable, "-c", script]
    unnamed = ["unshare", "--uts", "sh", "-c", 'hostname unknown.invalid && exec "$@"', "sh"]
    if subprocess.run([*unnamed, "true"], check=False, capture_output=True).returncode == 0:
        command = unnamed + command
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | places, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(list((tmp_path / "starts").iterdir())) == 2, process)
        started = [psutil.Process(int(path.name)) for path in (tmp_path / "starts").iterdir()]
        process.terminate()
        assert process.wait(60)
    assert not psutil.wait_procs(started, timeout=30)[1]
