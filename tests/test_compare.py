"""The page of two experiments: which photos gained and which lost, and how their masks look under both."""

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from competition_files import CARS, picture
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import stage

from carvana.base import paths
from carvana.base.errors import UserError
from carvana.commands import compare as command
from carvana.experiments import comparison, redrawn
from carvana.masks import rle

ADDED, MISSED = (255, 205, 0), (10, 35, 170)
PAGE = "data/comparison.html"


def test_the_same_photos_are_shown_under_both(_saved):
    said = stage(_saved.folder, "compare", "main", "small").splitlines()
    assert said[-3:] == [
        "test: Dice 0.9800 → 0.9775 on 2 photos; 1 gained, 1 lost",
        "validation: Dice 0.9700 → 0.9750 on 2 photos; 1 gained, 0 lost",
        "data/comparison.html shows them",
    ]
    page = (_saved.folder / PAGE).read_text(encoding="utf-8")
    assert "<title>Comparison of main and small</title>" in page
    assert re.findall(r"<h3>(.*?_01.jpg: .*?)</h3>", page) == [
        f"{CARS[3]}_01.jpg: 0.9600 → 0.9700 (+0.0100), validation car, Kia &amp; Sons",
        f"{CARS[1]}_01.jpg: 0.9700 → 0.9750 (+0.0050), test car, Kia &amp; Sons",
        f"{CARS[0]}_01.jpg: 0.9900 → 0.9800 (−0.0100), test car, Kia &amp; Sons",
    ]
    images = re.findall(r'<img [^>]*width="384" height="256"[^>]*src="data:image/webp;base64,', page)
    assert len(images) == page.count("<img") == 3 * 4
    assert "<td>train.size</td><td>256</td><td>64</td>" in page
    assert "<svg" in page
    assert not re.findall(r'(?:src|href)="(?!data:|#)', page), "it needs nothing from outside"


def test_other_splits_and_thresholds_are_those_of_each(_saved):
    """An experiment of another branch, with another number of epochs and flipped photos."""
    said = stage(_saved.folder, "compare", "a<base>", "older")
    assert "test: Dice 0.9600 → 0.9600 on 2 photos; 1 gained, 1 lost" in said
    page = (_saved.folder / PAGE).read_text(encoding="utf-8")
    assert "<td>predict.flip</td><td>false</td><td>true</td>" in page
    assert page.count("<img") == 4 * 4
    assert "<base>" not in page


def test_what_cannot_be_compared_is_said(copy, monkeypatch):
    monkeypatch.chdir(copy.folder)
    out = Path("data/nothing.html")
    with pytest.raises(UserError, match="workspace and small are the same"):
        command.main("workspace", "small", out)
    paths.SCORES.unlink()
    rows = f"image,car,view,make,role,dice\n{CARS[4]}_01.jpg,{CARS[4]},1,,test,0.5\n"
    paths.SCORES.write_text(rows, encoding="ascii")
    copy.dvc("commit", "-f", "-q")
    with pytest.raises(UserError, match="have scored no photo in common"):
        command.main("HEAD", "workspace", out)
    shutil.rmtree(".dvc/cache/files")
    with pytest.raises(UserError, match=r"metrics/scores\.csv of main is not in DVC's cache: pull it"):
        command.main("main", "small", out)
    assert not out.exists()


@settings(deadline=None)
@given(st.lists(st.floats(-0.5, 0.5), min_size=1, max_size=30), st.integers(0, 5))
def test_those_that_changed_most(gains, count):
    found = comparison.most(pd.DataFrame({"gain": sorted(gains, reverse=True)}), count)
    assert list(found["Gained most"]["gain"]) == sorted((gain for gain in gains if gain > 0), reverse=True)[:count]
    assert list(found["Lost most"]["gain"]) == sorted(gain for gain in gains if gain < 0)[:count]


def test_tiles_show_what_each_gets_wrong_and_the_place_where_they_differ():
    photo, mask = picture(1)
    missing, more = mask.copy(), mask.copy()
    missing[600:700, 900:1000] = 0
    more[40:120, 1500:1600] = 1
    tiles = redrawn.side_by_side(photo, rle.to_runs(missing), rle.to_runs(more), mask)
    assert [tile.shape for tile in tiles] == [(256, 384, 3)] * 4
    shown = [
        {colour for colour in (ADDED, MISSED) if (np.abs(tile.astype(int) - colour).sum(axis=2) < 30).any()}
        for tile in tiles
    ]
    assert shown[:2] == [{MISSED}, {ADDED}]
    assert shown[2:] == [{MISSED}, set()], "the larger difference"
