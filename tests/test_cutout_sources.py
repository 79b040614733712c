"""Which photos are found in files, folders and zips."""

import os

import pytest
from conftest import pack

from carvana.base.errors import UserError
from carvana.cutouts import sources


@pytest.fixture
def own(tmp_path):
    folder = tmp_path / "own"
    (folder / "deep").mkdir(parents=True)
    for name in ("one.jpg", "deep/two.JPG", "notes.txt", ".hidden.jpg"):
        (folder / name).write_bytes(name.encode())
    return folder


def found(*paths, out):
    """The names of the photos, and what is skipped."""
    with sources.opened(paths, out) as (photos, skipped):
        return [str(photo.name) for photo in photos], skipped


def refused(complaint, *paths, out):
    with pytest.raises(UserError, match=complaint), sources.opened(paths, out):
        pass


def test_photos_are_found_in_a_folder_a_zip_or_alone(own, tmp_path):
    out = tmp_path / "cut"
    members = {"in/z.png": b"z", "./b.jfif": b"b", "in/b.gif": b"", "__MACOSX/b.jpg": b"", ".c/d.jpg": b"", "in/": b""}
    pack(tmp_path / "a.zip", members)
    assert found(own, out=out) == (["deep/two.JPG", "one.jpg"], [str(own / "notes.txt")])
    assert found(own / "notes.txt", out=out) == (["notes.txt"], []), "a file is read whatever its name"
    with sources.opened([own / "one.jpg", tmp_path / "a.zip"], out) as (photos, skipped):
        assert [str(photo.name) for photo in photos] == ["one.jpg", "b.jfif", "in/z.png"]
        assert [photo.open().read() for photo in photos] == [b"one.jpg", b"b", b"z"]
        assert skipped == [f"{tmp_path / 'a.zip'}: in/b.gif"]
    (tmp_path / "bad.zip").write_bytes(b"no zip")
    (tmp_path / "empty").mkdir()
    refused("empty: there is no photo", tmp_path / "empty", out=out)
    refused("nowhere is neither a photo nor", own, tmp_path / "nowhere", out=out)
    refused(r"bad\.zip is damaged or not a zip", tmp_path / "bad.zip", out=out)


def test_a_photo_s_version_changes_with_its_content_and_its_place(own, tmp_path):
    pack(tmp_path / "a.zip", {"one.jpg": b"1"})

    def version(path):
        with sources.opened([path], tmp_path / "cut") as (photos, _):
            return photos[0].version

    versions = [version(own / "one.jpg"), version(own / "deep"), version(tmp_path / "a.zip")]
    os.utime(own / "one.jpg", (0, 0))
    pack(tmp_path / "a.zip", {"one.jpg": b"2"})
    versions += [version(own / "one.jpg"), version(tmp_path / "a.zip")]
    assert len(set(versions)) == 5
    assert version(own / "one.jpg") == versions[3]


def test_a_file_that_two_paths_lead_to_is_taken_once(own, tmp_path):
    with sources.opened([own / "deep", own, own / "one.jpg", own], tmp_path / "cut") as (photos, skipped):
        assert [photo.path for photo in photos] == [own / "deep/two.JPG", own / "one.jpg"]
        assert [str(photo.name) for photo in photos] == ["two.JPG", "one.jpg"]
        assert skipped == [str(own / "notes.txt")]


def test_what_cannot_be_read_does_not_block(own, tmp_path):
    os.mkfifo(own / "pipe.jpg")
    (own / "broken.jpg").symlink_to("nothing")
    (own / "itself.jpg").symlink_to("itself.jpg")
    with sources.opened([own], tmp_path / "cut") as (photos, skipped):
        assert [str(photo.name) for photo in photos] == ["deep/two.JPG", "one.jpg"]
        assert skipped == [str(own / name) for name in ("broken.jpg", "itself.jpg", "notes.txt", "pipe.jpg")]
        (own / "one.jpg").unlink()
        with pytest.raises(UserError, match=r"one\.jpg cannot be read \(No such file"):
            photos[1].open()


def test_links_are_followed_and_never_twice(own, tmp_path):
    (tmp_path / "disk/more").mkdir(parents=True)
    (tmp_path / "disk/more/far.jpg").write_bytes(b"far")
    (own / "linked.jpg").symlink_to(tmp_path / "disk/more/far.jpg")
    (own / "a-link").symlink_to(tmp_path / "disk")
    (own / "again").symlink_to("deep")
    (own / "deep/up").symlink_to(own)
    (tmp_path / "disk/back").symlink_to(tmp_path / "disk")
    names = ["a-link/more/far.jpg", "deep/two.JPG", "linked.jpg", "one.jpg"]
    assert found(own, out=tmp_path / "cut")[0] == names


def test_the_output_folder_is_left_out_also_through_a_link(own, tmp_path):
    (tmp_path / "link").symlink_to(own / "deep")
    assert found(own, out=tmp_path / "link")[0] == ["one.jpg"]
    refused("is the folder of the photos", own / "deep", out=tmp_path / "link")
    assert found(own / "deep", out=own)[0] == ["two.JPG"], "an output folder around the photos is none among them"


def test_a_zip_from_windows_has_sub_folders(tmp_path):
    path = tmp_path / "a.zip"
    pack(path, {"day\\one.jpg": b"1", "day\\deep\\two.jpg": b"2", "day\\": b"", "__MACOSX\\one.jpg": b""})
    with sources.opened([path], tmp_path / "cut") as (photos, skipped):
        assert {str(photo.name): photo.open().read() for photo in photos} == {
            "day/one.jpg": b"1",
            "day/deep/two.jpg": b"2",
        }
        assert not skipped


@pytest.mark.parametrize("name", ["../a.jpg", "/a.jpg", "deep/../../a.jpg", "..\\a.jpg"])
def test_a_zip_that_points_outside_is_refused(tmp_path, name):
    pack(tmp_path / "a.zip", {name: b""})
    refused(r"a\.jpg points outside of the folder", tmp_path / "a.zip", out=tmp_path)


def test_a_member_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    pack(tmp_path / "a.zip", {"a.jpg": b"12345"})
    monkeypatch.setattr(sources, "MAX_MEMBER_BYTES", 4)
    complaint = r"a\.jpg would take 5 bytes, .* unpack the zip"
    with sources.opened([tmp_path / "a.zip"], tmp_path) as (photos, _), pytest.raises(UserError, match=complaint):
        photos[0].open()
