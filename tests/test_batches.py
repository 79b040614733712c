"""Pieces of the cache, read by this process or by others."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import namedtuple

import numpy as np
import psutil
import pytest
import torch
from conftest import ROOT

from carvana.base.errors import UserError
from carvana.data import loader
from carvana.training import batches

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PIECES = [np.array([3, 1]), np.array([0]), np.array([2, 2, 1])]

READING = """
import os, sys
from pathlib import Path
import numpy as np, torch
from carvana.data import cache
from carvana.training.batches import batches
from carvana.base.stage import run

def work():
    with batches(cache.read(Path(sys.argv[1])), torch.device("cpu"), 2) as read:
        for _ in read([np.array([0])] * 10**7):
            print("read", flush=True)

run(work, "test", writes=False)
"""


@pytest.mark.parametrize("workers", [0, 2])
def test_pieces_come_as_asked_for_from_the_same_workers_and_leave_random_numbers_alone(small_cache, workers):
    state = torch.get_rng_state()
    before, seen = set(psutil.Process().children()), []
    with batches.batches(small_cache, CPU, workers) as read:
        for wanted in (PIECES, PIECES[:1], []):
            found = list(read(wanted))
            seen.append(set(psutil.Process().children()) - before)
            assert len(found) == len(wanted)
            for rows, (photos, masks) in zip(wanted, found, strict=True):
                assert np.array_equal(photos.numpy(), small_cache.read_photos(rows))
                assert np.array_equal(masks.numpy(), small_cache.read_masks(rows))
    assert [len(each) for each in seen] == [workers] * 3
    assert len(set.union(*seen)) == workers
    assert torch.equal(torch.get_rng_state(), state)


def test_a_killed_worker_is_said_at_once(small_cache):
    started = time.monotonic()
    before = set(psutil.Process().children())
    complaint = pytest.raises(UserError, match=r"worker process was killed.*runtime\.workers")
    with complaint, batches.batches(small_cache, CPU, 2) as read:
        loaded = read(PIECES * 1000)
        next(loaded)
        (set(psutil.Process().children()) - before).pop().kill()
        for _ in loaded:
            pass
    assert time.monotonic() - started < 10
    subprocess.run(["true"], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_with_a_stage_that_is_stopped(small_cache, number):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-c", READING, str(small_cache.folder)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        for _ in range(3):  # of both workers
            process.stdout.readline()
        children = psutil.Process(process.pid).children(recursive=True)
        assert len(children) == 2
        started = time.monotonic()
        # As a terminal's Ctrl-C, to all.
        for each in [*children, process] if number == signal.SIGINT else [process]:
            each.send_signal(number)
        process.stdout.close()
        process.wait(10)
        message = process.stderr.read().decode()
        assert not psutil.wait_procs(children, 10)[1]
    assert time.monotonic() - started < 3
    assert message == ("" if number == signal.SIGKILL else "test: stopped\n")


def test_workers_are_for_gpus_and_have_room_in_shared_memory(monkeypatch):
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(64 * 2**20))
    monkeypatch.setattr(loader, "_SHARED_MEMORY", ROOT)
    assert batches.workers_for(CPU, 8, 2**20, 1) == 0
    assert batches.workers_for(GPU, 8, 2**20, 1) == 8
    assert batches.workers_for(GPU, 8, 2**20, 4) == 2
    assert batches.workers_for(GPU, 2, 2**20, 4) == 1
    assert batches.workers_for(GPU, 0, 2**20, 1) == 0
    assert batches.workers_for(GPU, 8, 16 * 2**20, 1) == 2
    assert batches.workers_for(GPU, 8, 64 * 2**20, 1) == 0
