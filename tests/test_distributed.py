"""Processes of torchrun: how long they wait for each other, and what becomes of an error."""

import os
from datetime import timedelta

import pytest
import torch
from projects import ROOT
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
        starts = Path(os.environ["STARTS"])
        (starts / f"{os.environ['TORCHELASTIC_RESTART_COUNT']}-{distributed.rank()}").touch()
        if distributed.rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
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
