"""Workers that decode, end, are killed, and find little shared memory."""

import multiprocessing
import shutil
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest
from conftest import ROOT

from carvana.data.archive import Archive
from carvana.data.photos import decode_photo
from carvana.errors import UserError
from carvana.prediction import loader

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
    assert all(batch.seconds > 0 and not batch.reasons for batch in batches)


def test_nothing_to_do_is_done_at_once(tmp_path):
    assert list(loader.load(tmp_path / "none.zip", [], SIZE, 3, 2, pin=False)) == []


def test_a_batch_is_split_without_losing_a_photo(kaggle):
    with Archive(kaggle / "train.zip") as archive:
        (batch,) = loader.load(archive.path, archive.photos, SIZE, 100, 0, pin=False)
    parts = list(batch.split(4))
    assert [len(part.photos) for part in parts] == [4, 4, 2]
    assert [name for part in parts for name in part.names] == batch.names
    assert sum(part.seconds for part in parts) == pytest.approx(batch.seconds)


def test_a_killed_worker_is_said_and_nothing_hangs(kaggle):
    with Archive(kaggle / "train.zip") as archive:
        names = archive.photos * 50
    batches = loader.load(kaggle / "train.zip", names, SIZE, 2, 2, pin=False)
    next(batches)
    for worker in multiprocessing.active_children():
        worker.kill()
    with pytest.raises(UserError, match=r"a process that reads photos was killed.*lower runtime\.workers"):
        list(batches)


def test_little_shared_memory_is_said_and_one_process_decodes(kaggle, monkeypatch, capsys):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(2**16, 0, 2**16))
    with Archive(kaggle / "train.zip") as archive:
        batches = list(loader.load(archive.path, archive.photos, SIZE, 4, 2, pin=False))
    assert [len(batch.names) for batch in batches] == [4, 4, 2]
    assert "too small for 2 workers" in capsys.readouterr().err


CODE = """
import multiprocessing, os, sys
from pathlib import Path
from carvana.data.archive import Archive
from carvana.prediction import loader

path = Path(sys.argv[1])
batches = loader.load(path, Archive(path).photos * 1000, (64, 96), 2, 2, pin=False)
next(batches)
print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), 9)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child of its parent's end")
def test_workers_end_with_the_process_that_started_them(kaggle):
    command = [sys.executable, "-c", CODE, kaggle / "train.zip"]
    done = subprocess.run(
        command, cwd=ROOT / "src", capture_output=True, text=True, check=False, env={"PYTHONPATH": str(ROOT / "src")}
    )
    workers = done.stdout.split()
    assert len(workers) == 2, done.stderr
    for pid in workers:
        subprocess.run(["timeout", "20", "tail", f"--pid={pid}", "-f", "/dev/null"], check=True)
