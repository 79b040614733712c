"""Pieces of the cache, read by this process or by others."""

import shutil
import subprocess
import time
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
import torch
from projects import ROOT

from carvana.base.errors import UserError
from carvana.data import loader
from carvana.training import batches

CPU, GPU = torch.device("cpu"), torch.device("cuda")
PIECES = [np.array([3, 1]), np.array([0]), np.array([2, 2, 1])]


@pytest.mark.parametrize(("workers", "on"), [(0, "cpu"), (2, "cpu"), (0, "mps")])
def test_pieces_come_in_order_from_the_same_workers_and_keep_the_random_state(small_cache, monkeypatch, workers, on):
    """MPS may be unable to augment, so that the CPU does."""
    monkeypatch.setattr(batches, "workers_for", lambda *_: workers)
    state = torch.get_rng_state()
    before, seen = set(psutil.Process().children()), []
    with batches.reader_of(small_cache, 3, 2, torch.device(on)) as read:
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


def test_pieces_from_a_devices_memory_are_the_same(small_cache, monkeypatch):
    monkeypatch.setattr(batches, "_COPIED", 5)
    for rows, (photos, masks) in zip(PIECES, batches.from_memory(small_cache, CPU)(PIECES), strict=True):
        assert np.array_equal(photos.numpy(), small_cache.read_photos(rows))
        assert np.array_equal(masks.numpy(), small_cache.read_masks(rows))


def test_half_a_size_is_the_mean_of_each_four_pixels(small_cache):
    pair = small_cache.read_photos(PIECES[0]), small_cache.read_masks(PIECES[0])
    for whole, half in zip(pair, batches.half_size(*map(torch.from_numpy, pair)), strict=True):
        fours = whole.reshape(len(whole), 32, 2, 32, 2, -1).mean(axis=(2, 4)).reshape(half.shape)
        assert half.dtype == torch.uint8
        assert half.is_contiguous()
        assert np.array_equal(half.numpy(), np.round(fours))


def test_photos_go_into_a_gpus_memory_if_three_times_as_much_stays_free(small_cache, monkeypatch):
    needed = len(small_cache.names) * 64 * 64 * 4
    for free, fits in ((4 * needed, True), (4 * needed - 4, False)):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _, free=free: (free, 2 * free))
        assert batches.fits_into_memory(small_cache, GPU) is fits
    assert not batches.fits_into_memory(small_cache, CPU)


def test_a_killed_worker_is_said_at_once(small_cache, monkeypatch):
    monkeypatch.setattr(batches, "workers_for", lambda *_: 2)
    started = time.monotonic()
    before = set(psutil.Process().children())
    complaint = pytest.raises(UserError, match=r"worker process was killed.*runtime\.workers")
    with complaint, batches.reader_of(small_cache, 3, 2, CPU) as read:
        loaded = read(PIECES * 1000)
        next(loaded)
        (set(psutil.Process().children()) - before).pop().kill()
        for _ in loaded:
            pass
    assert time.monotonic() - started < 10
    subprocess.run(["true"], check=True)


def test_workers_are_for_gpus_and_have_room_in_shared_memory(monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=64 * 2**20))
    monkeypatch.setattr(loader, "_SHARED_MEMORY", ROOT)
    for on, wanted, megabytes, processes, workers in (
        (CPU, 8, 1, 1, 0),
        (GPU, 8, 1, 1, 8),
        (GPU, 8, 8, 1, 6),
        (GPU, 8, 8, 2, 2),
        (GPU, 0, 1, 1, 0),
        (GPU, 8, 16, 1, 2),
        (GPU, 8, 64, 1, 0),
    ):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
        assert batches.workers_for(on, wanted, megabytes * 2**20) == workers
