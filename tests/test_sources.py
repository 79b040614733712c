import zipfile

import pytest
from competition_files import csv_text, pack, repack
from projects import set_params, stage

from carvana.base.errors import UserError
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
        better[name] = {member.replace("/", "_hq/"): b"hq" + data for member, data in photos}
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
    complaint = f"neither {missing}.zip nor {missing}, which data.quality={quality} needs; data.source=kaggle downloads"
    assert complaint in stage(project, "download", status=1)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=r"data\.local_dir: .*nowhere is not a folder"):
        sources.copy_local(tmp_path / "nowhere", "standard", tmp_path / "raw")


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
