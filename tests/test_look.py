import numpy as np
import pandas as pd
import pytest
from conftest import CARS, gif, make_project, repack, set_params, stage
from hypothesis import given
from hypothesis import strategies as st

from carvana.competition import HEIGHT, WIDTH
from carvana.data import cache
from carvana.errors import UserError
from carvana.masks import rle
from carvana.results import look
from stages import look as command


@given(st.lists(st.tuples(st.integers(0, HEIGHT - 1), st.integers(0, WIDTH - 1)), max_size=4), st.booleans())
def test_a_mask_touches_the_borders_where_its_outermost_pixels_are_car(places, corners):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for y, x in places:
        mask[y, x : x + 40] = 1
    if corners:
        mask[40, -1] = mask[41, 0] = 1
    edges = {"left": mask[:, 0], "right": mask[:, -1], "top": mask[0], "bottom": mask[-1]}
    assert set(look.borders(rle.to_runs(mask))) == {name for name, edge in edges.items() if edge.any()}


def seen(car, make="Kia", views=range(1, 17)):
    rows = [(f"{car}_{view:02d}.jpg", car, view, "0", make, 0.2, "") for view in views]
    return pd.DataFrame(rows, columns=["image", "car", "view", "role", "make", "covered", "borders"])


def test_a_survey_needs_no_makes(tmp_path, kaggle):
    cache.write(kaggle / "train.zip", kaggle / "train_masks.zip", tmp_path / "cache", (64, 96), 1)
    table = look.survey(cache.read(tmp_path / "cache"), dict.fromkeys(CARS, "test"), {})
    assert list(table["car"].unique()) == sorted(CARS[:5])
    assert set(table["view"]) == {1, 2}
    assert set(table["make"]) == {""}
    assert table["covered"].between(0.05, 0.4).all()


def odd(table):
    return list(look.odd(table).itertuples(index=False, name=None))


def test_odd_cars_are_found_and_others_are_not():
    whole = seen("a")
    assert odd(whole) == []
    assert odd(whole[:14]) == [("a", "is missing the views 15, 16")]
    whole.loc[2, "borders"] = "left, top"
    whole.loc[4, "covered"] = 0.0
    assert odd(whole) == [("a", "touches the border in view 3 (left, top)"), ("a", "has an empty mask in view 5")]
    assert odd(seen("b", make="")) == [("b", "is of unknown make")]


def test_a_strip_has_a_place_for_every_view():
    photos = np.full((2, 64, 64, 3), 90, np.uint8)
    masks = np.zeros((2, 64, 64), np.uint8)
    masks[:, 16:48, 16:48] = 255
    shown = look.strip(photos, masks, [2, 16])
    assert shown.shape == (2 * 64 + 6, 8 * 102 - 6, 3)
    assert (shown[:64, :96] == 255).all(), "view 1 is missing"
    for tile in (shown[:64, 102:198], shown[70:, 7 * 102 :]):
        assert (tile[32, 48] == 90).all()
        assert (tile == (255, 0, 255)).all(axis=2).sum() > 100


def test_the_page_of_a_small_competition(tmp_path, kaggle, monkeypatch):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[600:, 500:900] = 1
    repack(
        kaggle / "train_masks.zip", lambda members: members.update({f"train_masks/{CARS[0]}_01_mask.gif": gif(mask)})
    )
    repack(
        kaggle / "metadata.csv.zip",
        lambda members: members.update({"metadata.csv": members["metadata.csv"].replace(b"BMW", b"<script>")}),
    )
    project = make_project(tmp_path / "project")
    set_params(project, data_source="local", data_local_dir=str(kaggle))
    for name in ("download", "resize", "split"):
        stage(project, name)
    # Five cars of two views each, one of unknown make, one at the border.
    assert "10 photos and 7 odd ones on data/look.html" in stage(project, "look")
    page = (project / "data/look.html").read_text(encoding="utf-8")
    assert "touches the border in view 1 (bottom)" in page
    assert "is of unknown make" in page
    assert "<script" not in page
    assert ": &lt;script&gt;, fold" in page
    assert page.count("<img") == 5
    assert page.count("<svg") == 2
    assert "<tr><td>all</td><td>5</td><td>10</td>" in page
    rows = (project / "data/split.csv").read_text(encoding="ascii").splitlines()
    (project / "data/split.csv").write_text("\n".join(rows[:-1]), encoding="ascii")
    monkeypatch.chdir(project)
    with pytest.raises(UserError, match=r"data/split\.csv has no role for a1b2c3d4e5f6; `dvc repro -f split`"):
        command.main(project / "data/look.html")
    assert "<tr><td>to predict</td><td>1</td><td>2</td>" in page
