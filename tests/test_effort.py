"""What a prediction has cost, over several runs and several processes."""

from dataclasses import replace

import pytest
import torch
from conftest import read_params

from carvana.prediction import effort
from carvana.prediction.effort import Effort
from carvana.prediction.inference import Clock
from carvana.prediction.settings import Settings

# Ten photos in 3 s, of which the first took 2 s; then six photos in 2.5 s, of which the first took 1.5 s.
FIRST = Effort(10, 3.0, 9, 1.0, decode=1.0, network=2.5, runs=0.5, peak_memory_mb=300)
SECOND = Effort(6, 2.5, 5, 1.0, decode=1.0, network=2.5, runs=0.5, peak_memory_mb=200)


def test_runs_add_up_and_starting_is_no_part_of_the_rate():
    both = FIRST.plus(SECOND)
    assert (both.photos, both.seconds, both.peak_memory_mb) == (16, 5.5, 300)
    assert both.photos_per_second == 14 / 2
    assert both.shares == {"decode": 0.25, "network": 0.625, "runs": 0.125}
    assert FIRST.plus(Effort()) == FIRST


def test_a_single_photo_has_the_rate_of_its_whole_time_and_no_photo_has_none():
    assert Effort(photos=1, seconds=4.0).photos_per_second == 0.25
    assert Effort().photos_per_second == 0


def test_a_watch_counts_from_the_first_photo(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(effort, "perf_counter", lambda: now[0])
    watch = effort.Watch()
    for seconds in (2.0, 0.5, 0.5):
        now[0] += seconds
        watch.add_photo()
    spent = watch.read(Clock(decode=1.0, compute=2.0, runs=3.0))
    assert (spent.photos, spent.seconds, spent.steady_photos, spent.steady_seconds) == (3, 3.0, 2, 1.0)
    assert (spent.decode, spent.network, spent.runs) == (1.0, 2.0, 3.0)


@pytest.mark.parametrize("content", ["", "[1]", '{"photo": 1}'])
def test_a_damaged_effort_is_none(tmp_path, content):
    assert effort.read(tmp_path / "missing.json") == Effort()
    effort.write(tmp_path / "effort-0.json", FIRST)
    assert effort.read(tmp_path / "effort-0.json") == FIRST
    (tmp_path / "effort-0.json").write_text(content, encoding="ascii")
    assert effort.read(tmp_path / "effort-0.json") == Effort()


def test_processes_share_the_photos_and_work_at_the_same_time(tmp_path):
    how = replace(Settings.of(read_params(runtime_workers=3)), on=torch.device("cpu"), engine="torch")
    for rank, each in enumerate((FIRST, SECOND)):
        effort.write(effort.path_of(tmp_path, rank), each)
    speed, more = effort.summarise(tmp_path, how, processes=2)
    assert (speed.seconds, speed.photos, speed.photos_per_second) == (3.0, 16, 9 + 5)
    assert (speed.engine, speed.device, speed.precision) == ("torch", "cpu", "float32")
    assert (speed.processes, speed.threads) == (2, 3)
    assert speed.processor
    assert more == {"shares_of_threads": {"decode": 0.25, "network": 0.625, "runs": 0.125}, "peak_memory_mb": 300}
