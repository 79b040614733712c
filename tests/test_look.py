import io
import re

import numpy as np
import pandas as pd
from competition_files import CARS, csv_text, gif, pack, repack
from PIL import Image
from projects import set_params, stage

from carvana.competition import HEIGHT, WIDTH
from carvana.data.archive import Archive
from carvana.results import look


def seen(car, make="Kia", views=range(1, 17)):
    rows = [(f"{car}_{view:02d}.jpg", car, view, "0", make, 0.2, "") for view in views]
    return pd.DataFrame(rows, columns=["image", "car", "view", "role", "make", "covered", "borders"])


def test_odd_cars_are_found_and_others_are_not():
    whole = seen("a")
    assert look.odd(whole) == []
    assert look.odd(whole[:14]) == [("a", "is missing the views 15, 16")]
    whole.loc[2, "borders"] = "left, top"
    whole.loc[4, "covered"] = 0.0
    assert look.odd(whole) == [("a", "touches the border in view 3 (left, top)"), ("a", "has an empty mask in view 5")]
    assert look.odd(seen("b", make="")) == [("b", "is of unknown make")]


def test_a_photo_shows_the_outline_of_its_mask():
    mask = np.zeros((128, 128), np.uint8)
    mask[32:96, 32:96] = 255
    shown = look.outlined(np.full((128, 128, 3), 90, np.uint8), mask)
    on_line = (shown == (255, 0, 255)).all(axis=2)
    assert on_line[30:34, 34:94].any(axis=0).all(), "its upper edge"
    assert not on_line[36:92, 36:92].any()
    assert (shown[~on_line] == 90).all()


def test_every_car_has_all_views_in_its_picture(kaggle, small_cache):
    seen = look.survey(small_cache, dict.fromkeys(CARS, "0"), {CARS[0]: "Kia"})
    assert list(seen["car"].unique()) == sorted(CARS[:5])
    assert set(seen["view"]) == {1, 2}
    assert seen["covered"].between(0.05, 0.4).all()
    with Archive(kaggle / "train.zip") as photos:
        cars = {car.car: car for car in look.draw(seen, small_cache, photos, 2)}
    assert sorted(cars) == sorted(CARS[:5])
    assert cars[CARS[0]].caption == f"Kia, fold 0; without the views {', '.join(map(str, range(3, 17)))}"
    assert cars[CARS[1]].caption.startswith("unknown make, fold 0")
    picture = cars[CARS[0]].picture
    image = np.asarray(Image.open(io.BytesIO(picture.webp))).astype(int)
    assert image.shape[:2] == (picture.height, picture.width) == (4 * (96 + 6) - 6, 4 * (144 + 6) - 6)
    assert np.ptp(image[:94, :142], axis=(0, 1)).min() > 50, "view 1"
    assert np.ptp(image[-60:-40, -80:-60], axis=(0, 1)).max() < 10, "view 16 is missing"


def test_the_page_of_a_small_competition(project, kaggle):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[:, 500:] = 1
    at_the_border = {f"train_masks/{CARS[0]}_01_mask.gif": gif(mask)}
    repack(kaggle / "train_masks.zip", lambda members: members.update(at_the_border))
    makes = [["id", "make"], *([car, "<script>"] for car in CARS[1:])]
    pack(kaggle / "metadata.csv.zip", {"metadata.csv": csv_text(makes)})
    set_params(project, data_source="local", data_local_dir=str(kaggle))
    for name in ("download", "resize", "split"):
        stage(project, name)
    # Five cars of two views each, one of unknown make, one at the border.
    assert "10 photos and 7 odd ones on data/look.html" in stage(project, "look")
    page = (project / "data/look.html").read_text(encoding="utf-8")
    said = ("touches the border in view 1 (right, top, bottom)", "is of unknown make", ": &lt;script&gt;, fold")
    rows = ("<td>all with masks</td><td>5</td><td>10</td>", "<td>to predict</td><td>1</td><td>2</td>")
    for text in (*said, *rows):
        assert text in page
    assert "<script" not in page
    assert (page.count("<img"), page.count("<svg")) == (5, 2)
    places = set(re.findall(r'<figure id="([^"]*)"', page))
    assert places == {f"car-{car}" for car in CARS[:5]}
    assert set(re.findall(r'<a href="#(car-[^"]*)"', page)) <= places, "odd ones lead to their pictures"
