import shutil
import zipfile

import numpy as np
import pytest
from competition_files import csv_text, encoded, jpeg, pack, repack
from projects import set_params, stage

from carvana.base.errors import UserError
from carvana.data import split
from carvana.data.archive import Archive
from carvana.data.photos import decode_mask
from carvana.kaggle import sources, submission

NAME = "a1b2c3d4e5f6_01"


def members(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def extract(path):
    with zipfile.ZipFile(path) as archive:
        archive.extractall(path.parent)
    path.unlink()


def test_zips_are_copied_and_extracted_folders_give_the_same_members(kaggle, tmp_path):
    zipped, extracted = tmp_path / "zipped", tmp_path / "extracted"
    sources.copy_local(kaggle, "standard", zipped)
    for path in list(kaggle.iterdir()):
        assert (zipped / path.name).read_bytes() == path.read_bytes()
        assert path.stat().st_nlink == 1, "a link would let DVC make the user's own file read-only"
        extract(path)
    sources.copy_local(kaggle, "standard", extracted)
    sources.check(extracted)
    for path in zipped.iterdir():
        assert members(path) == members(extracted / path.name)
    assert list(submission.read_rows(zipped / "test_masks.csv.zip")) == []


@pytest.mark.parametrize("extracted", [False, True])
def test_photos_are_of_the_quality_that_is_named(kaggle, tmp_path, extracted):
    better = {}
    for name in ("train", "test"):
        photos = members(kaggle / f"{name}.zip").items()
        better[name] = {member.replace("/", "_hq/"): data + b"hq" for member, data in photos}
        pack(kaggle / f"{name}_hq.zip", better[name])
        if extracted:
            extract(kaggle / f"{name}_hq.zip")
    sources.copy_local(kaggle, "hq", tmp_path / "hq")
    sources.check(tmp_path / "hq")
    sources.copy_local(kaggle, "standard", tmp_path / "standard")
    for name in ("train", "test"):
        assert set(members(tmp_path / "hq" / f"{name}.zip").values()) == set(better[name].values())
        assert (tmp_path / "standard" / f"{name}.zip").read_bytes() == (kaggle / f"{name}.zip").read_bytes()


@pytest.mark.parametrize(
    ("quality", "there", "missing"), [("hq", "train.zip", "train_hq"), ("standard", "train_hq.zip", "train")]
)
def test_photos_that_are_missing_are_named_and_not_replaced_by_others(kaggle, project, quality, there, missing):
    (kaggle / "train.zip").rename(kaggle / there)
    set_params(project, data_source="local", data_local_dir=str(kaggle), data_quality=quality)
    message = stage(project, "download", status=1)
    assert f"neither {missing}.zip nor {missing}, " in message
    assert f", which data.quality={quality} needs; data.source=kaggle downloads them" in message


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.local_dir: .*nowhere is not a folder"):
        sources.copy_local(tmp_path / "nowhere", "standard", tmp_path / "raw")


@pytest.mark.parametrize("extracted", [False, True])
def test_what_windows_and_macos_make_of_the_files_is_read(kaggle, tmp_path, extracted):
    """Names with capitals or backslashes, a folder in a folder, marks of byte order, and files of the system."""
    shutil.copytree(kaggle, tmp_path / "plain")
    for path in list(kaggle.iterdir()):
        given = {}
        for member, data in members(path).items():
            if path.name == "train_masks.zip":
                given[member.replace(".gif", ".png")] = encoded(255 * decode_mask(data, member), "PNG")
            else:
                given[member.replace(".jpg", ".JPG")] = b"\xef\xbb\xbf" + data if "csv" in member else data
        folder = member.rpartition("/")[0]
        junk = ("Thumbs.db", "desktop.ini", ".DS_Store", "._a.csv", "__MACOSX/._a.csv")
        given = {f"{folder}/{name}".lstrip("/"): b"junk" for name in junk} | given
        path.unlink()
        if extracted:
            for member, data in given.items():
                target = path.with_suffix("") / member
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        else:
            pack(path, {member.replace("/", "\\"): data for member, data in given.items()})
    sources.copy_local(kaggle, "standard", tmp_path / "raw")
    for name in ("train", "test", "train_masks"):
        with Archive(tmp_path / f"plain/{name}.zip") as plain, Archive(tmp_path / f"raw/{name}.zip") as copied:
            if name == "train_masks":
                first = plain.masks[0]
                assert copied.masks == plain.masks
                assert np.array_equal(*(decode_mask(each.read(first), first) for each in (plain, copied)))
            else:
                assert copied.digest() == plain.digest()
    for folder in (tmp_path / "plain", tmp_path / "raw"):
        assert split.read_makes(folder / "metadata.csv.zip")["fffe00001111"] == "Acura"
        assert len(list(submission.read_rows(folder / "sample_submission.csv.zip"))) == 2


def test_all_that_is_wrong_with_a_folder_is_said_at_once_and_nothing_is_copied(kaggle, project):
    for name in ("metadata.csv.zip", "sample_submission.csv.zip"):
        (kaggle / name).unlink()
    repack(kaggle / "train_masks.zip", lambda m: m.update({f"train_masks/{NAME}_mask.jpg": b""}))
    extract(kaggle / "test.zip")
    (kaggle / "test/fffe00001111_02.jpg").write_bytes(jpeg(np.zeros((640, 959, 3), np.uint8)))
    (kaggle / "train.zip").write_bytes(b"PK")
    set_params(project, data_source="local", data_local_dir=str(kaggle))
    message = stage(project, "download", status=1)
    for part in (
        f"{kaggle} has neither metadata.csv.zip nor metadata.csv, neither sample_submission.csv.zip nor sample_sub",
        f"{kaggle}/train.zip is not a complete zip",
        f"{kaggle}/train_masks.zip holds {NAME}_mask.jpg, not of the form <car>_<view>_mask.gif (or .png)",
        f"{kaggle}/test: fffe00001111_02.jpg is 959×640; every photo and mask must be 1918×1280",
    ):
        assert part in message
    assert "remove" not in message
    assert not list((project / "data").glob("raw/*"))


@pytest.mark.parametrize(
    ("spoiled", "change", "complaint"),
    [
        ("train_masks.zip", lambda m: m.pop(f"train_masks/{NAME}_mask.gif"), rf"no mask in .* for {NAME}\.jpg"),
        ("train.zip", lambda m: m.pop(f"train/{NAME}.jpg"), rf"no photo in .* for {NAME}_mask\.gif"),
        ("train.zip", lambda m: m.clear(), "no photo"),
        ("test.zip", lambda m: m.pop("test/fffe00001111_01.jpg"), r"missing in .*: fffe00001111_01\.jpg"),
        ("test.zip", lambda m: m.update({"test/fffe00001111_16.jpg": b""}), r"does not name: fffe00001111_16\.jpg"),
        (
            "sample_submission.csv.zip",
            lambda m: m.update({"sample_submission.csv": csv_text([["img", "rle_mask"], ["b_01.jpg", ""]])}),
            r"names images that are missing in .*test\.zip: b_01\.jpg",
        ),
    ],
)
def test_files_that_do_not_belong_together_are_named(kaggle, spoiled, change, complaint):
    repack(kaggle / spoiled, change)
    with pytest.raises(UserError, match=complaint):
        sources.check(kaggle)


def test_the_real_sample_passes(sample):
    sources.check(sample)
