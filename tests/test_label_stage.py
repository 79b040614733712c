"""Pseudo-labels as stages read them: a student trained on a teacher's predictions, and what is refused."""

import numpy as np
import pytest
from competition_files import jpeg, pack, picture, repack
from projects import ROOT, copy_project, set_params, stage

from carvana.base.errors import UserError
from carvana.data import cache
from carvana.masks import rle, shards

NAMES = ["fffe00001111_01.jpg", "fffe00001111_02.jpg"]
RUNS = [rle.to_runs(picture(seed)[1]) for seed in range(2)]


@pytest.fixture
def project(_ready, tmp_path):
    """Makes a project with everything up to labels, these runs in teachers/big, and the given parameters."""

    def make(names=NAMES, runs=RUNS, **changes):
        folder = copy_project(_ready, tmp_path / "project", **({"train_pseudo_labels": "big"} | changes))
        shards.write(folder / "teachers/big/000.parquet", names, runs)
        return folder

    return make


@pytest.fixture
def read_examples(monkeypatch):
    """What the training of fold 0 reads in a project."""
    monkeypatch.syspath_prepend(ROOT)
    from stages import train  # noqa: PLC0415 - it is a package of the repository, not of the environment

    def read(folder):
        monkeypatch.chdir(folder)
        return train.read_examples(0, (64, 64))

    return read


def write_cache(folder, name, size=(64, 64)):
    """A cache of one photo with a pseudo-label."""
    pack(folder.parent / "own.zip", {name: jpeg(picture(0)[0])})
    cache.write_labelled(folder.parent / "own.zip", [name], RUNS[:1], folder, size, 1)


def roles(folder):
    rows = (folder / "data/split.csv").read_text(encoding="ascii").splitlines()[1:]
    return dict(row.split(",") for row in rows)


def test_by_default_there_are_none(project):
    folder = project(train_pseudo_labels="none")
    assert stage(folder, "label") == ""
    assert cache.read(folder / "data/pseudo", labelled=True).names == []


def test_a_student_sees_its_share_of_the_teachers_photos(project):
    folder = project(train_epochs=2)
    assert stage(folder, "label") == ""
    assert cache.read(folder / "data/pseudo", labelled=True).names == NAMES
    said = stage(folder, "train", "0")
    assert ": 4 photos, 4 pseudo-labelled ones in each epoch (of 2), and 4 to validate\n" in said
    assert "2 epochs of 2 steps, 4 photos a step\n" in said


def test_a_photo_on_which_the_teacher_saw_no_car_is_left_out_and_said(project):
    folder = project(runs=[RUNS[0], np.empty((0, 2), np.int32)])
    assert stage(folder, "label") == (f"1 photos on which teachers/big shows no car are left out: {NAMES[1]}\n")
    assert cache.read(folder / "data/pseudo", labelled=True).names == NAMES[:1]


@pytest.mark.parametrize(("role", "kind"), [("test", "a test car"), ("0", "a validation car"), ("1", "")])
def test_photos_of_test_and_validation_cars_are_refused(project, read_examples, role, kind):
    folder = project()
    car = next(car for car, its in roles(folder).items() if its == role)
    write_cache(folder / "data/pseudo", f"{car}_01.jpg")
    if not kind:
        assert len(read_examples(folder).pseudo) == 1
        return
    with pytest.raises(
        UserError, match=rf"data/pseudo has {car}_01\.jpg, a photo of {kind} of fold 0, which must stay"
    ):
        read_examples(folder)


def test_labels_of_another_size_are_refused(project, read_examples):
    folder = project()
    write_cache(folder / "data/pseudo", NAMES[0], (64, 96))
    with pytest.raises(UserError, match=r"data/pseudo was made for another train\.size; `dvc repro label`"):
        read_examples(folder)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (jpeg(picture(0)[0])[:9000], f"{NAMES[1]} is not a complete JPEG"),
        (jpeg(picture(0)[0][:640]), f"{NAMES[1]} is 1918×640; every photo and mask must be 1918×1280"),
    ],
)
def test_a_damaged_photo_or_one_of_another_size_is_named(project, data, complaint):
    folder = project()
    (folder / "own.zip").write_bytes((folder / "data/raw/test.zip").read_bytes())
    repack(folder / "own.zip", lambda members: members.update({f"test/{NAMES[1]}": data}))
    set_params(folder, train_pseudo_labels="big", train_pseudo_photos="own.zip")
    before = (folder / "data/pseudo/index.csv").read_bytes()
    message = stage(folder, "label", status=1)
    assert message.startswith("error in label: ")
    assert complaint in message
    assert "Traceback" not in message
    assert (folder / "data/pseudo/index.csv").read_bytes() == before


def test_a_teacher_that_is_not_there_is_said_before_anything_is_run(project):
    folder = project(train_pseudo_labels="bigger")
    message = stage(folder, "params", status=1)
    assert "train.pseudo_labels is bigger, but teachers/bigger is missing" in message
    assert "`dvc get . data/predictions --rev EXPERIMENT -o teachers/bigger`" in message
