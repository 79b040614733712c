"""Workers that decode, end, are killed, and find little shared memory."""

import os
import re
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from conftest import ROOT

from carvana.data import loader
from carvana.data.archive import Archive
from carvana.data.photos import decode_photo

SIZE = (64, 96)


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_batches_hold_what_decoding_gives_in_the_order_asked_for(kaggle, workers):
    path = kaggle / "train.zip"
    with Archive(path) as archive:
        names = archive.photos[::-1]
        batches = list(loader.load(path, names, SIZE, 3, workers, pin=False))
        assert [batch.names for batch in batches] == [names[start : start + 3] for start in range(0, len(names), 3)]
        for name, photo in ((n, p) for batch in batches for n, p in zip(batch.names, batch.photos, strict=True)):
            assert np.array_equal(photo.numpy(), decode_photo(archive.read(name), name, SIZE))
    assert not any(batch.reasons for batch in batches)


def test_nothing_to_do_is_done_at_once(tmp_path):
    assert list(loader.load(tmp_path / "none.zip", [], SIZE, 3, 2, pin=False)) == []


def test_a_batch_is_split_without_losing_a_photo(kaggle):
    with Archive(kaggle / "train.zip") as archive:
        (batch,) = loader.load(archive.path, archive.photos, SIZE, 100, 0, pin=False)
    parts = list(batch.split(4))
    assert [len(part.photos) for part in parts] == [4, 4, 2]
    assert [name for part in parts for name in part.names] == batch.names


def test_little_shared_memory_is_said_and_as_many_workers_decode_as_fit(kaggle, monkeypatch, capsys):
    usage = namedtuple("usage", "free")
    batch = 4 * 64 * 96 * 3
    for free, workers in ((2**16, 0), (4 * batch, 1), (5 * batch, 1), (2**30, 2)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: usage(free))
        with Archive(kaggle / "train.zip") as archive:
            batches = list(loader.load(archive.path, archive.photos, SIZE, 4, 2, pin=False))
        assert [len(batch.names) for batch in batches] == [4, 4, 2]
        said = capsys.readouterr().err
        assert said == "" if workers == 2 else f"room for the batches of {workers} of 2 workers" in said


READING = """
import multiprocessing, os, sys
from pathlib import Path
from carvana.data.archive import Archive
from carvana.data import loader
from carvana.base.stage import run

def work():
    path = Path(sys.argv[1])
    batches = loader.load(path, Archive(path).photos * 1000, (64, 96), 2, 2, pin=False)
    next(batches)
    workers = multiprocessing.active_children()
    print(*(worker.pid for worker in workers), flush=True)
    if sys.argv[2] == "itself":
        os.kill(os.getpid(), 9)
    workers[0].kill()
    for _ in batches:
        pass

run(work, "test", writes=False)
"""


def read_and_kill(path, whom):
    """Reads photos in a process of its own, which kills itself or one of its two workers."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    command = [sys.executable, "-c", READING, path, whom]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=environment, timeout=60)


def test_a_killed_worker_is_said_and_nothing_hangs(kaggle):
    # As a process of its own: torch raises in the main thread at any time, which here would be that of the tests.
    done = read_and_kill(kaggle / "train.zip", "a worker")
    assert done.returncode == 1
    assert re.match(r"error in test: a worker process was killed.*lower runtime\.workers\n", done.stderr)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_workers_end_with_the_process_that_started_them(kaggle):
    done = read_and_kill(kaggle / "train.zip", "itself")
    workers = done.stdout.split()
    assert len(workers) == 2, done.stderr
    for pid in workers:
        subprocess.run(["timeout", "20", "tail", f"--pid={pid}", "-f", "/dev/null"], check=True)
