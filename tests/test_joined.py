"""Two caches read as one."""

import numpy as np
import pytest

from carvana.data import cache
from carvana.data.joined import Joined
from carvana.masks import rle

SIZE = (32, 64)


@pytest.fixture
def two(kaggle, tmp_path):
    """The cache of train.zip, and one of test.zip with made-up masks."""
    cache.write(kaggle / "train.zip", kaggle / "train_masks.zip", tmp_path / "real", SIZE, 1)
    names, runs = ["fffe00001111_02.jpg", "fffe00001111_01.jpg"], [np.array([[1, 9]], np.int32)] * 2
    cache.write_labelled(kaggle / "test.zip", names, runs, tmp_path / "pseudo", SIZE, 1)
    return cache.read(tmp_path / "real"), cache.read_labelled(tmp_path / "pseudo")


@pytest.mark.parametrize("rows", [[0, 3], [11, 10], [10, 2, 11, 9, 2], []])
def test_rows_of_the_second_follow_those_of_the_first(two, rows):
    both = Joined(*two)
    assert both.size == SIZE
    assert both.names == two[0].names + two[1].names
    for read in (cache.Cache.read_photos, cache.Cache.read_masks):
        every = np.concatenate([read(each, np.arange(len(each.names))) for each in two])
        found = getattr(both, read.__name__)(np.array(rows, int))
        assert found.dtype == np.uint8
        assert np.array_equal(found, every[rows])


def test_the_digest_is_of_both(two, kaggle, tmp_path):
    runs = [rle.to_runs(np.ones((1280, 1918), np.uint8))]
    cache.write_labelled(kaggle / "test.zip", ["fffe00001111_02.jpg"], runs, tmp_path / "other", SIZE, 1)
    other = Joined(two[0], cache.read_labelled(tmp_path / "other"))
    assert len({Joined(*two).digest(), other.digest(), two[0].digest(), two[1].digest()}) == 4
