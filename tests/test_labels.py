"""Pseudo-labels, read from folders of shards, good and bad."""

import numpy as np
import pytest
from competition_files import picture

from carvana.base.errors import UserError
from carvana.data import labels
from carvana.masks import rle, shards

NAMES = ["fffe00001111_01.jpg", "fffe00001111_02.jpg"]
RUNS = [rle.to_runs(picture(seed)[1]) for seed in range(2)]
NO_CAR = np.empty((0, 2), np.int32)


def write(folder, *parts):
    """Shards of some photos and their runs."""
    for number, (names, runs) in enumerate(parts):
        shards.write(shards.path_of(folder, number), names, runs)
    return folder


def test_photos_and_runs_come_in_the_shards_order(kaggle, tmp_path):
    folder = write(tmp_path / "big", (NAMES[1:], RUNS[1:]), (NAMES[:1], RUNS[:1]))
    (folder / "README.md").write_text("beside them", encoding="utf-8")
    found = labels.read(folder, kaggle / "test.zip")
    assert (found.names, found.empty) == (NAMES[::-1], [])
    assert all(np.array_equal(one, other) for one, other in zip(found.each_runs(), RUNS[::-1], strict=True))


def test_a_label_without_a_car_is_left_out(kaggle, tmp_path):
    found = labels.read(write(tmp_path / "big", (NAMES, [NO_CAR, RUNS[1]])), kaggle / "test.zip")
    assert (found.names, found.empty) == (NAMES[1:], NAMES[:1])
    (runs,) = found.each_runs()
    assert np.array_equal(runs, RUNS[1])


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([], r"big has no shards of run lists .*`dvc get \. data/predictions --rev EXPERIMENT -o .*big`"),
        ([(NAMES, [NO_CAR] * 2)], r"big shows no car on any of its 2 photos; take"),
        (
            [(NAMES, RUNS), (NAMES[1:], RUNS[1:])],
            r"big has two labels for fffe00001111_02\.jpg; keep the shards of one",
        ),
        ([(NAMES[:1] * 2, RUNS)], r"big has two labels for fffe00001111_01\.jpg"),
        (
            [(["0cdf5b5d0ce1_01.jpg", *NAMES], [RUNS[0], *RUNS])],
            r"photos that are not in .*test\.zip: 0cdf5b5d0ce1_01\.jpg; set train\.pseudo_photos",
        ),
        ([(["fffe00001111_03.jpg"], [NO_CAR])], r"not in .*test\.zip: fffe00001111_03\.jpg"),
        ([(NAMES[:1], [np.array([[5, 3], [6, 1]], np.int32)])], r"000\.parquet has runs of fffe.*_01\.jpg .*overlaps"),
        ([(NAMES[:1], [np.array([[1280 * 1918, 2]], np.int32)])], r"that are no mask .*leaves the picture"),
    ],
)
def test_bad_labels_are_named(kaggle, tmp_path, parts, complaint):
    with pytest.raises(UserError, match=complaint):
        labels.read(write(tmp_path / "big", *parts), kaggle / "test.zip")


def test_a_damaged_shard_is_named(kaggle, tmp_path):
    folder = write(tmp_path / "big", (NAMES[:1], RUNS[:1]), (NAMES[1:], RUNS[1:]))
    data = bytearray((folder / "001.parquet").read_bytes())
    data[len(data) // 4] ^= 1
    (folder / "001.parquet").write_bytes(data)
    with pytest.raises(UserError, match=r"001\.parquet is not an intact file of runs .*; `dvc get` it again"):
        labels.read(folder, kaggle / "test.zip")
