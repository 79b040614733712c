import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.base.errors import UserError
from carvana.masks import rle, shards

RUNS = [np.array([[1, 2], [5, 1]], np.int32), np.empty((0, 2), np.int32), np.array([[7, 3]], np.int32)]


@given(st.lists(st.integers(1, 16), max_size=250), st.integers(1, 120))
def test_shards_are_whole_cars_in_order_and_even(views, count):
    photos = [f"{car:012x}_{view:02d}.jpg" for car, of_car in enumerate(views) for view in range(1, of_car + 1)]
    planned = shards.plan(photos[::-1], count)
    assert [photo for shard in planned for photo in shard] == photos
    cars = [{photo[:12] for photo in shard} for shard in planned]
    assert sum(map(len, cars)) == len(set().union(*cars)) if cars else not photos
    assert len(planned) == min(count, len(views))
    assert not cars or max(map(len, cars)) - min(map(len, cars)) <= 1


def test_runs_come_back_as_they_were_written(tmp_path):
    path = shards.path_of(tmp_path, 7)
    shards.write(path, ["a.jpg", "b.jpg", "c.jpg"], RUNS)
    assert path.name == "007.parquet"
    assert shards.read_names(path) == ["a.jpg", "b.jpg", "c.jpg"]
    for (name, runs), expected, wanted in zip(shards.read(path), RUNS, ["a.jpg", "b.jpg", "c.jpg"], strict=True):
        assert name == wanted
        assert runs.dtype == np.int32
        assert runs.shape == expected.shape
        assert runs.tolist() == expected.tolist()


def test_anyone_can_look_into_a_shard(tmp_path):
    shards.write(tmp_path / "000.parquet", ["a.jpg", "b.jpg", "c.jpg"], RUNS)
    frame = pd.read_parquet(tmp_path / "000.parquet")
    assert list(frame.columns) == ["image", "starts", "lengths"]
    assert frame["starts"][0].tolist() == [1, 5]
    assert rle.to_text(np.stack([frame["starts"][0], frame["lengths"][0]], axis=1)) == b"1 2 5 1"


def test_the_same_runs_are_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        shards.write(tmp_path / name, ["a.jpg", "b.jpg", "c.jpg"], RUNS)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_damaged_shard_is_named(tmp_path):
    path = tmp_path / "000.parquet"
    shards.write(path, ["a.jpg", "b.jpg", "c.jpg"], RUNS)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"000\.parquet is not an intact file of runs"):
        list(shards.read(path))


def test_no_changed_bit_goes_unseen(tmp_path):
    path = tmp_path / "000.parquet"
    photos = ["a.jpg", "b.jpg", "c.jpg"]
    shards.write(path, photos, RUNS)
    whole = path.read_bytes()
    refused = 0
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        if shards.is_whole(path, photos):
            found = [(name, runs.tolist()) for name, runs in shards.read(path)]
            assert found == [(name, runs.tolist()) for name, runs in zip(photos, RUNS, strict=True)], place
        else:
            refused += 1
    assert refused > len(whole) / 2


def test_names_are_not_read_from_a_damaged_shard(tmp_path):
    path = tmp_path / "000.parquet"
    shards.write(path, ["a.jpg", "b.jpg", "c.jpg"], RUNS)
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 2]) + whole[place + 1 :])
        try:
            assert shards.read_names(path) == ["a.jpg", "b.jpg", "c.jpg"]
        except UserError as error:
            assert "000.parquet is not an intact file of runs" in str(error)


def test_a_shard_that_declares_too_much_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "000.parquet"
    shards.write(path, ["a.jpg", "b.jpg", "c.jpg"], RUNS)
    monkeypatch.setattr(shards, "_MOST_BYTES", 100)
    with pytest.raises(UserError, match=r"000\.parquet .*it would take \d+ bytes for 3 rows; the limit is 100"):
        list(shards.read(path))
