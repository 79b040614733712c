import csv
import io
import re
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

import demo_studio
from carvana.masks import rle
from demo_studio import files, identities
from demo_studio.encoding import jpeg

SEED = 7
VIEWS = (4, 9)
PICTURES = ("train", "train_masks", "test")
TABLES = ("metadata.csv", "sample_submission.csv", "test_masks.csv")


@pytest.fixture(scope="module", autouse=True)
def few_views():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identities, "ALL_VIEWS", VIEWS)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files of two train cars and a test car, each from two sides."""
    target = tmp_path_factory.mktemp("demo") / "new"
    demo_studio.write(target, train_cars=2, test_cars=1, seed=SEED)
    return target


@pytest.fixture(scope="module")
def shots():
    """Photos and masks of the first car, from four sides."""
    return {view: demo_studio.render(SEED, 0, view) for view in (1, 4, 9, 14)}


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {info.filename: (info, archive.read(info)) for info in archive.infolist()}


def text(path):
    ((info, content),) = members(path).values()
    assert info.compress_type == zipfile.ZIP_DEFLATED
    return content.decode()


def test_writes_these_files_with_kaggles_names_of_members(folder):
    train, test = identities.entries(SEED, 2, 1)
    photos, masks, tests = (members(folder / f"{name}.zip") for name in PICTURES)
    names = [f"{car.id}_{view:02}" for car in train for view in VIEWS]
    assert list(photos) == [f"train/{name}.jpg" for name in names]
    assert list(masks) == [f"train_masks/{name}_mask.gif" for name in names]
    assert list(tests) == [f"test/{test[0].id}_{view:02}.jpg" for view in VIEWS]
    for info, _ in [*photos.values(), *masks.values(), *tests.values()]:
        assert info.compress_type == zipfile.ZIP_STORED
        assert info.date_time == (1980, 1, 1, 0, 0, 0)
    assert {path.name for path in folder.iterdir()} == {f"{name}.zip" for name in PICTURES + TABLES}


def test_photos_are_baseline_jpegs_of_quality_55_and_masks_black_and_white_gifs(folder):
    expected = io.BytesIO()
    Image.new("RGB", (16, 16)).save(expected, "JPEG", quality=55)
    for _, content in members(folder / "train.zip").values():
        photo = Image.open(io.BytesIO(content))
        assert (photo.format, photo.mode, photo.size) == ("JPEG", "RGB", (1918, 1280))
        assert photo.quantization == Image.open(expected).quantization
        assert [part[1:3] for part in photo.layer] == [(2, 2), (1, 1), (1, 1)]
        assert not photo.getexif()
        assert "progressive" not in photo.info
    for _, content in members(folder / "train_masks.zip").values():
        mask = Image.open(io.BytesIO(content))
        assert (mask.format, mask.mode, mask.size) == ("GIF", "P", (1918, 1280))
        assert (mask.info["version"], mask.n_frames) == (b"GIF89a", 1)
        assert mask.getpalette()[:6] == [0, 0, 0, 255, 255, 255]
        assert set(np.unique(np.asarray(mask))) == {0, 1}


def test_the_sample_submission_and_the_truth_list_the_test_photos(folder):
    names = [name.removeprefix("test/") for name in members(folder / "test.zip")]
    rows = text(folder / "sample_submission.csv.zip").split("\n")
    assert rows == ["img,rle_mask", *(f"{name},1 1" for name in names), ""]
    truth = list(csv.DictReader(io.StringIO(text(folder / "test_masks.csv.zip"))))
    assert [row["img"] for row in truth] == names
    for row, view in zip(truth, VIEWS, strict=True):
        _, mask = demo_studio.render(SEED, demo_studio.FIRST_TEST_CAR, view)
        assert (rle.to_mask(rle.from_text(row["rle_mask"], *mask.shape), *mask.shape) == mask).all()


def test_photos_and_masks_are_those_of_render(folder, shots):
    train, _ = identities.entries(SEED, 2, 1)
    car = next(car.id for car in train if car.number == 0)
    photos, masks = members(folder / "train.zip"), members(folder / "train_masks.zip")
    for view in VIEWS:
        photo, mask = shots[view]
        assert photos[f"train/{car}_{view:02}.jpg"][1] == jpeg(photo)
        saved = masks[f"train_masks/{car}_{view:02}_mask.gif"][1]
        assert (np.asarray(Image.open(io.BytesIO(saved))) == mask).all()


def test_same_seed_same_bytes_with_two_workers(folder, tmp_path, monkeypatch):
    counted = []
    monkeypatch.setattr(files.Bar, "update", lambda self, count: counted.append((count, self.total)))
    demo_studio.write(tmp_path, train_cars=2, test_cars=1, seed=SEED, workers=2)
    assert {total for _, total in counted} == {sum(count for count, _ in counted)}, "its bar ends full"
    for path in folder.iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes(), path.name


def test_another_seed_gives_other_cars(shots):
    photo, mask = shots[4]
    other_photo, other_mask = demo_studio.render(SEED + 1, 0, 4)
    assert (photo != other_photo).mean() > 0.5
    assert (mask != other_mask).any()


def test_an_interrupted_set_leaves_no_files(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(files, "take_photo", stop)
    with pytest.raises(KeyboardInterrupt):
        demo_studio.write(tmp_path, 1, 1, SEED)
    assert not [path for path in tmp_path.iterdir() if "train" in path.name or "test" in path.name]


def test_ids_views_and_metadata_of_the_default_set_and_a_smaller_set_has_the_same_cars(monkeypatch):
    monkeypatch.setattr(identities, "ALL_VIEWS", tuple(range(1, 17)))
    train, test = identities.entries(0, 20, 6)
    ids = [car.id for car in train + test]
    assert len(set(ids)) == 26
    assert sum(name.isdigit() for name in ids) >= 3
    assert sum(bool(re.fullmatch(r"\d+e\d+", name)) for name in ids) >= 3
    assert sorted(len(car.views) for car in train) == [8] + [16] * 19
    assert [car.id for car in train] == sorted(car.id for car in train)
    fewer_train, fewer_test = identities.entries(0, 2, 1)
    assert set(fewer_train) <= set(train)
    assert set(fewer_test) <= set(test)
    # Quoted as Kaggle's.
    header, *rows, end = identities.metadata_csv(train + test).split("\n")
    assert (header, end) == ('"id","year","make","model","trim1","trim2"', "")
    field = r'("[^"]+")?'
    assert all(re.fullmatch(rf'"[0-9a-f]{{12}}"(,{field}){{5}}', row) for row in rows)
    assert [row[1:13] for row in rows] == sorted(ids)
    assert 1 <= sum(row[14:].startswith(",,,") for row in rows) <= 3
    assert len({car.fields[1] for car in train if car.fields[1]}) >= 4


def test_the_studio_stands_still_behind_the_car(shots):
    wall = np.s_[:500]
    (first, first_mask), *others = shots.values()
    for photo, mask in others:
        free = cv2.dilate(mask | first_mask, np.ones((5, 5), np.uint8))[wall] == 0
        difference = photo[wall][free].astype(int) - first[wall][free]
        assert abs(difference.mean()) < 2.2
        assert difference.std() < 3


@pytest.mark.parametrize("view", [1, 4, 9, 14])
def test_masks_are_one_car_of_a_fair_size_and_fit_their_photos(shots, view):
    photo, mask = shots[view]
    assert 0.05 < mask.mean() < 0.45
    _, _, sizes, _ = cv2.connectedComponentsWithStats(mask)
    assert sizes[1:, cv2.CC_STAT_AREA].max() > 0.999 * mask.sum()
    grey = cv2.GaussianBlur(photo.mean(axis=2), (0, 0), 0.7)
    steepness = np.hypot(cv2.Sobel(grey, cv2.CV_64F, 1, 0), cv2.Sobel(grey, cv2.CV_64F, 0, 1))
    outline = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    rows, columns = np.nonzero(outline)

    def mean_steepness(down, right):
        return steepness[rows + down, columns + right].mean()

    shifts = [(down, right) for down in (-2, 0, 2) for right in (-2, 0, 2) if (down, right) != (0, 0)]
    assert mean_steepness(0, 0) > 1.1 * max(mean_steepness(*shift) for shift in shifts)
