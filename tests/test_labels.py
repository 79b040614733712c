"""Pseudo-labels: read from folders of shards, made into a cache by a stage, and trained on."""

import shutil

import numpy as np
import pytest
from competition_files import jpeg, pack, picture
from projects import copy_project, stage

from carvana.base.errors import UserError
from carvana.data import cache, labels, photos, split
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


def test_fewer_are_spread_over_all_of_them_and_keep_their_runs(tmp_path):
    names = [f"fffe0000{car:04}_{view:02}.jpg" for car in range(3) for view in range(1, 17)]
    pack(tmp_path / "test.zip", {f"test/{name}": b"" for name in names})
    folder = write(tmp_path / "big", (names, [np.array([[number + 1, 2]], np.int32) for number in range(48)]))
    found = labels.read(folder, tmp_path / "test.zip")
    assert found.at_most(48) == found == found.at_most(100)
    few = found.at_most(10)
    places = [names.index(name) for name in few.names]
    assert (places[0], places[-1], len(places)) == (0, 47, 10)
    assert set(np.diff(places)) <= {5, 6}
    assert [int(runs[0, 0]) - 1 for runs in few.each_runs()] == places


@pytest.mark.parametrize(
    ("parts", "complaint"),
    [
        ([], r"big has no shards of run lists .*`dvc get \. data/predictions --rev EXPERIMENT -o .*big`"),
        ([(NAMES, [NO_CAR] * 2)], r"big shows no car on any of its 2 photos; take"),
        (
            [(NAMES, RUNS), (NAMES[1:], RUNS[1:])],
            r"big has two labels for fffe00001111_02\.jpg; keep the shards of one",
        ),
        (
            [(["0cdf5b5d0ce1_01.jpg"], RUNS[:1])],
            r"photos that are not in .*test\.zip: 0cdf5b5d0ce1_01\.jpg; set train\.pseudo_photos",
        ),
        ([([NAMES[0], "fffe00001111_03.jpg"], [RUNS[0], NO_CAR])], r"not in .*test\.zip: fffe00001111_03\.jpg"),
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


@pytest.fixture
def project(_ready, tmp_path):
    """Makes a project with everything up to labels, these runs in teachers/big, and the given parameters."""

    def make(runs=RUNS, **changes):
        folder = copy_project(_ready, tmp_path / "project", **({"train_pseudo_labels": "big"} | changes))
        write(folder / "teachers/big", (NAMES, runs))
        shutil.copyfile(folder / "data/split.csv", folder / "teachers/big/split.csv")
        return folder

    return make


def write_cache(folder, name, size=(64, 64)):
    """A cache of one photo with a pseudo-label."""
    pack(folder.parent / "own.zip", {name: jpeg(picture(0)[0])})
    cache.write_labelled(folder.parent / "own.zip", [name], RUNS[:1], folder, size, 1)


def test_a_student_sees_its_share_of_the_teachers_photos(project):
    folder = project(train_epochs=2)
    assert stage(folder, "label") == ""
    assert cache.read(folder / "data/pseudo", labelled=True).names == NAMES
    said = stage(folder, "train", "0")
    assert ": 4 photos, 4 pseudo-labelled ones in each epoch (of 2), and 4 to validate\n" in said
    assert "2 epochs of 2 steps, 4 photos a step\n" in said


def test_a_photo_on_which_the_teacher_saw_no_car_is_left_out_and_said(project):
    folder = project(runs=[NO_CAR, RUNS[1]])
    assert stage(folder, "label") == f"1 photos on which teachers/big shows no car are left out: {NAMES[0]}\n"
    found = cache.read(folder / "data/pseudo", labelled=True)
    assert found.names == NAMES[1:]
    assert np.array_equal(found.read_masks(np.arange(1))[0], photos.soften(picture(1)[1], (64, 64)))


def test_photos_of_test_and_validation_cars_and_labels_of_another_size_are_refused(project):
    folder = project()
    car_of_role = {role: car for car, role in split.read(folder / "data/split.csv").items()}
    write_cache(folder / "data/pseudo", f"{car_of_role['1']}_01.jpg")
    assert " in each epoch (of 1), " in stage(folder, "train", "0")
    for role, kind in (("test", "a test car"), ("0", "a validation car")):
        name = f"{car_of_role[role]}_01.jpg"
        write_cache(folder / "data/pseudo", name)
        complaint = f"data/pseudo has {name}, a photo of {kind} of fold 0, which must stay unseen"
        assert complaint in stage(folder, "train", "0", status=1)
    write_cache(folder / "data/pseudo", NAMES[0], (64, 96))
    complaint = "data/pseudo was made for another train.size; `dvc repro label`"
    assert complaint in stage(folder, "train", "0", status=1)


def test_a_teacher_that_has_seen_a_test_car_is_refused_and_one_that_does_not_say_is_warned_of(project):
    folder = project()
    path = folder / "teachers/big/split.csv"
    roles = split.read(path)
    (car,) = (car for car, role in roles.items() if role == "test")
    split.write(path, roles | {car: "1"})
    assert f"teachers/big was trained on 1 of the test cars ({car}), whose scores" in stage(folder, "label", status=1)
    split.write(path, {"fffe00002222": "0"})
    assert stage(folder, "label") == "", "of other cars it has seen none of these"
    path.unlink()
    assert stage(folder, "label").startswith("warning: teachers/big has no split.csv: if its teacher was trained on")


def test_a_damaged_photo_is_named_and_the_earlier_labels_stay(project):
    folder = project(train_pseudo_photos="own.zip")
    pack(folder / "own.zip", {NAMES[0]: jpeg(picture(0)[0]), NAMES[1]: jpeg(picture(0)[0])[:9000]})
    before = (folder / "data/pseudo/index.csv").read_bytes()
    message = stage(folder, "label", status=1)
    assert message.startswith(f"error in label: {NAMES[1]} is not a complete JPEG")
    assert "Traceback" not in message
    assert (folder / "data/pseudo/index.csv").read_bytes() == before


def test_a_teacher_that_is_not_there_is_said_before_anything_is_run(project):
    folder = project(train_pseudo_labels="bigger")
    message = stage(folder, "params", status=1)
    assert "train.pseudo_labels is bigger, but teachers/bigger is missing" in message
    assert "`dvc get . data/predictions --rev EXPERIMENT -o teachers/bigger`" in message
