"""Workers that decode, end, are killed, and find little shared memory."""

import os
import re
import shutil
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from projects import ROOT

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
    assert not list(loader.load(kaggle / "none.zip", [], SIZE, 3, workers, pin=False)), "nothing to do needs no zip"


def test_a_batch_is_split_without_losing_a_photo(kaggle):
    with Archive(kaggle / "train.zip") as archive:
        (batch,) = loader.load(archive.path, archive.photos, SIZE, 100, 0, pin=False)
    parts = list(batch.split(4))
    assert [len(part.photos) for part in parts] == [4, 4, 2]
    assert [name for part in parts for name in part.names] == batch.names


def test_little_shared_memory_is_said_and_as_many_workers_decode_as_fit(kaggle, monkeypatch, capsys):
    batch = 4 * 64 * 96 * 3
    for free, workers in ((2**16, 0), (4 * batch, 1), (5 * batch, 1), (2**30, 2)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: SimpleNamespace(free=free))
        with Archive(kaggle / "train.zip") as archive:
            batches = list(loader.load(archive.path, archive.photos, SIZE, 4, 2, pin=False))
        assert [len(batch.names) for batch in batches] == [4, 4, 2]
        said = capsys.readouterr().err
        assert said == "" if workers == 2 else f"room for the batches of {workers} of 2 workers" in said


# A stage that reads, and tells the processes of its workers.
READING = """
import multiprocessing, sys, time
from pathlib import Path
import numpy as np, torch
from carvana.base.stage import run
from carvana.data import cache, loader
from carvana.data.archive import Archive
from carvana.training import batches

def read_zip(path):
    yield from loader.load(path, Archive(path).photos * 1000, (64, 96), 2, 2, pin=False)

def read_cache(folder):
    batches.workers_for = lambda *_: 2
    with batches.reader_of(cache.read(folder), 1, 2, torch.device("cpu")) as read:
        yield from read([np.array([0])] * 10**7)

def work():
    for number, _ in enumerate({"zip": read_zip, "cache": read_cache}[sys.argv[1]](Path(sys.argv[2]))):
        if number == 2:  # both workers have read
            print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)

run(work, "test", writes=False)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
@pytest.mark.parametrize(
    ("source", "victims", "number", "message"),
    [
        ("zip", ["a worker"], signal.SIGKILL, r"error in test: a worker process was killed.*lower runtime"),
        ("zip", ["itself"], signal.SIGKILL, "$"),
        # As a terminal's Ctrl-C, to all.
        ("cache", ["a worker", "another", "itself"], signal.SIGINT, "test: stopped\n$"),
    ],
)
def test_nothing_hangs_when_processes_of_a_stage_end(_competition, small_cache, source, victims, number, message):
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    place = _competition[0] / "train.zip" if source == "zip" else small_cache.folder
    command = [sys.executable, "-c", READING, source, str(place)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, cwd=ROOT, env=environment, **pipes) as process:
        workers = [psutil.Process(int(pid)) for pid in process.stdout.readline().split()]
        assert len(workers) == 2
        for victim, each in zip(["a worker", "another", "itself"], [*workers, process], strict=True):
            if victim in victims:
                each.send_signal(number)
        _, errors = process.communicate(timeout=20)
    assert re.match(message, errors), errors
    assert not psutil.wait_procs(workers, 20)[1]
