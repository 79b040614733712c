from dataclasses import replace

import pytest
import torch
from competition_files import repack
from projects import read_network, read_params

from carvana.base.speed import Stopwatch
from carvana.data.archive import Archive
from carvana.masks import shards
from carvana.networks import models
from carvana.networks.checkpoint import Trained
from carvana.prediction import inference, sharded


@pytest.fixture
def ensemble():
    torch.manual_seed(0)
    network = read_network(depth=2, width=2)
    return inference.Ensemble([Trained(models.build(network).eval(), (64, 64), network)])


def run(ensemble, kaggle, tmp_path, skip=False, watch=None):
    how = replace(inference.Settings.of(read_params()), on=torch.device("cpu"), engine="torch")
    folder = tmp_path / "work"
    folder.mkdir(exist_ok=True)
    with Archive(kaggle / "train.zip") as archive:
        return folder, sharded.sweep(ensemble, archive, folder, how, skip, watch or Stopwatch())


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.glob("*.parquet"))}


def test_shards_that_are_there_are_kept_and_damaged_or_other_ones_are_made_again(ensemble, kaggle, tmp_path):
    folder, damaged = run(ensemble, kaggle, tmp_path)
    assert damaged == []
    first = content(folder)
    assert list(first) == [f"{number:03d}.parquet" for number in range(5)]
    kept = folder / "000.parquet"
    before = kept.stat().st_mtime_ns
    (folder / "001.parquet").unlink()
    half = first["002.parquet"]
    (folder / "002.parquet").write_bytes(half[: len(half) // 2])
    flipped = bytearray(first["003.parquet"])
    flipped[12] ^= 1
    (folder / "003.parquet").write_bytes(flipped)
    (folder / "004.parquet").write_bytes(first["000.parquet"])
    watch = Stopwatch()
    run(ensemble, kaggle, tmp_path, watch=watch)
    assert content(folder) == first
    assert kept.stat().st_mtime_ns == before
    assert watch.photos == 8, "four shards of two photos were made again"


def test_a_damaged_photo_costs_its_shard_or_gets_an_empty_mask(ensemble, kaggle, tmp_path):
    name = "502733994e02_02.jpg"
    repack(kaggle / "train.zip", lambda members: members.update({f"train/{name}": members[f"train/{name}"][:5000]}))
    folder, damaged = run(ensemble, kaggle, tmp_path)
    assert [each.photo for each in damaged] == [name]
    assert len(content(folder)) == 4
    folder, damaged = run(ensemble, kaggle, tmp_path, skip=True)
    assert [each.photo for each in damaged] == [name]
    found = {photo: runs for path in folder.glob("**/*.parquet") for photo, runs in shards.read(path)}
    assert len(found[name]) == 0
    assert len(found) == 10
