import os
import zipfile
from pathlib import PurePosixPath

import pytest
from conftest import pack

from carvana.base.errors import UserError
from carvana.cutouts import photo_files


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    (folder / "deep").mkdir(parents=True)
    for name in ("one.jpg", "deep/two.JPG", "notes.txt", ".hidden.jpg"):
        (folder / name).write_bytes(name.encode())
    return folder


def names(found):
    return [str(photo.name) for photo in found.photos]


def refused(complaint, *paths, out):
    with pytest.raises(UserError, match=complaint), photo_files.opened(paths, out):
        pass


def test_photos_are_found_in_a_folder_a_zip_or_alone(own, tmp_path):
    out = tmp_path / "cut"
    pack(
        tmp_path / "a.zip", {"in/z.png": b"z", "./b.jpg": b"b", "in/b.gif": b"", "__MACOSX/b.jpg": b"", ".c/d.jpg": b""}
    )
    with photo_files.opened([own], out) as found:
        assert names(found) == ["deep/two.JPG", "one.jpg"]
        assert found.skipped == [str(own / "notes.txt")]
        with found.photos[0].open() as file:
            assert file.read() == b"deep/two.JPG"
    with photo_files.opened([own / "one.jpg", tmp_path / "a.zip"], out) as found:
        assert names(found) == ["one.jpg", "b.jpg", "in/z.png"]
        assert [photo.source for photo in found.photos] == ["own", "a.zip", "a.zip"]
        assert found.photos[1].open().read() == b"b"
        assert found.skipped == [f"{tmp_path / 'a.zip'}: in/b.gif"]
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    (tmp_path / "empty").mkdir()
    refused("empty: there is no photo", tmp_path / "empty", out=out)
    refused("nowhere is neither a photo nor", own, tmp_path / "nowhere", out=out)
    refused(r"bad\.zip is damaged or not a zip", tmp_path / "bad.zip", out=out)


def test_a_file_that_two_paths_lead_to_is_taken_once(own, tmp_path):
    with photo_files.opened([own / "deep", own, own / "one.jpg", own], tmp_path / "cut") as found:
        assert [photo.path for photo in found.photos] == [own / "deep/two.JPG", own / "one.jpg"]
        assert names(found) == ["two.JPG", "one.jpg"]


def test_what_cannot_be_read_does_not_block(own, tmp_path):
    os.mkfifo(own / "pipe.jpg")
    (own / "broken.jpg").symlink_to("nothing")
    with photo_files.opened([own], tmp_path / "cut") as found:
        assert names(found) == ["deep/two.JPG", "one.jpg"]
        assert sorted(found.skipped) == [str(own / name) for name in ("broken.jpg", "notes.txt", "pipe.jpg")]
        (own / "one.jpg").unlink()
        with pytest.raises(UserError, match=r"one\.jpg cannot be read \(No such file"):
            found.photos[1].open()


def test_the_output_folder_is_left_out_also_through_a_link(own, tmp_path):
    (tmp_path / "link").symlink_to(own / "deep")
    with photo_files.opened([own], tmp_path / "link") as found:
        assert names(found) == ["one.jpg"]
    refused("is the folder of the photos", own / "deep", out=tmp_path / "link")
    with photo_files.opened([own / "deep"], own) as found:
        assert names(found) == ["two.JPG"], "an output folder around the photos is none among them"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zips_that_cannot_be_cut_are_refused(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for _ in range(2):
            archive.writestr("in/car.jpg", b"")
    refused(r"a\.zip holds in/car\.jpg twice", path, out=tmp_path)
    for name in ("../a.jpg", "/a.jpg", "deep/../../a.jpg"):
        pack(path, {name: b""})
        refused(r"a\.jpg points outside of the folder", path, out=tmp_path)


def test_a_member_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    pack(tmp_path / "a.zip", {"a.jpg": b"12345"})
    monkeypatch.setattr(photo_files, "MAX_MEMBER_BYTES", 4)
    with photo_files.opened([tmp_path / "a.zip"], tmp_path) as found, pytest.raises(UserError, match="unpack the zip"):
        found.photos[0].open()
    assert found.photos[0].name == PurePosixPath("a.jpg")
