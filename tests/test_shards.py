import hashlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from carvana.base.errors import UserError
from carvana.masks import rle, shards

PHOTOS = ["a.jpg", "b.jpg", "c.jpg"]
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


@pytest.fixture
def path(tmp_path):
    """A shard of three photos, the second of which has no runs."""
    path = shards.path_of(tmp_path, 7)
    shards.write(path, PHOTOS, RUNS)
    return path


def content(path):
    return [(name, runs.dtype, runs.shape, runs.tolist()) for name, runs in shards.read(path)]


CONTENT = [(name, np.int32, runs.shape, runs.tolist()) for name, runs in zip(PHOTOS, RUNS, strict=True)]


def test_runs_come_back_as_they_were_written(path, tmp_path):
    assert path.name == "007.parquet"
    assert shards.read_names(path) == PHOTOS
    assert content(path) == CONTENT
    shards.write(tmp_path / "other", PHOTOS, RUNS)
    assert (tmp_path / "other").read_bytes() == path.read_bytes(), "the same runs are the same bytes"


def test_anyone_can_look_into_a_shard(path):
    frame = pd.read_parquet(path)
    assert list(frame.columns) == ["image", "starts", "lengths"]
    assert frame["starts"][0].tolist() == [1, 5]
    assert rle.to_text(np.stack([frame["starts"][0], frame["lengths"][0]], axis=1)) == b"1 2 5 1"


def test_a_damaged_shard_is_not_whole_and_named(path):
    whole = path.read_bytes()
    assert shards.is_whole(path, PHOTOS)
    assert not shards.is_whole(path, PHOTOS[:2])
    for place in range(50, len(whole) // 4):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert not shards.is_whole(path, PHOTOS) or content(path) == CONTENT, place
    path.write_bytes(whole[:-20])
    assert not shards.is_whole(path, PHOTOS)
    for read in (content, shards.read_names):
        with pytest.raises(UserError, match=r"007\.parquet is not an intact file of runs"):
            read(path)


@pytest.mark.parametrize(
    "change",
    [
        {"image": ["a.jpg", None]},
        {"starts": [None, [3, 4]]},
        {"starts": [[1], [3, None]]},
        {"lengths": [[1], None]},
        {"lengths": [[1], [1]]},
        {"lengths": [[1, 1], [1]]},
    ],
)
def test_what_the_library_does_not_write_is_refused_also_with_a_right_checksum(path, change):
    columns = {"image": ["a.jpg", "b.jpg"], "starts": [[1], [3, 4]], "lengths": [[1], [1, 1]]} | change
    table = pa.Table.from_pydict(columns, shards._SCHEMA)
    digest = hashlib.sha256("\n".join(map(str, columns["image"])).encode())
    for name in ("starts", "lengths"):
        column = table[name].combine_chunks()
        for part in (column.value_lengths(), column.flatten()):
            digest.update(part.to_numpy(zero_copy_only=False))
    pq.write_table(table.replace_schema_metadata({"sha256": digest.hexdigest()}), path)
    for read in (content, shards.read_names):
        with pytest.raises(UserError, match=r"007\.parquet is not an intact file of runs"):
            read(path)


def test_a_shard_that_declares_too_much_is_not_read(path, monkeypatch):
    monkeypatch.setattr(shards, "_MOST_BYTES", 100)
    with pytest.raises(UserError, match=r"007\.parquet .*it would take \d+ bytes for 3 rows; the limit is 100"):
        content(path)
