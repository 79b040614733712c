"""Which photos are found, which files they become, and which of these are made again."""

import os
from pathlib import Path

import pytest
from PIL import Image

from carvana.base.errors import UserError
from carvana.cutouts import cutout, jobs

OUT = Path("cut")


@pytest.fixture
def own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("own/deep").mkdir(parents=True)
    OUT.mkdir()
    for name in ("one.jpg", "deep/two.JPG", "notes.txt", ".hidden.jpg"):
        Path("own", name).write_bytes(name.encode())
    return Path("own")


def found(*paths, out=OUT):
    """The names of the photos, and what is skipped."""
    photos, skipped = jobs.find(paths, out)
    return [str(name) for name in photos.values()], skipped


def planned(*names, suffix=".png", masks=True):
    """The files that photos in own/ become."""
    for name in names:
        Path("own", name).touch()
    plan = jobs.plan({Path("own", name): Path(name) for name in names}, OUT, suffix, masks, "ab")
    return [path.relative_to(OUT).as_posix() for job in plan for path in job.outputs]


def test_photos_are_found_in_folders_or_alone_and_each_once(own):
    Path("empty").mkdir()
    assert found(own) == (["deep/two.JPG", "one.jpg"], ["own/notes.txt"])
    assert found(own / "deep", own, own / "one.jpg") == (["two.JPG", "one.jpg"], ["own/notes.txt"])
    assert found(own / "notes.txt") == (["notes.txt"], []), "a file is read whatever its name"
    with pytest.raises(UserError, match=r"empty: there is no photo \(JPEG, .*convert other kinds to JPEG"):
        found(Path("empty"))
    with pytest.raises(UserError, match="nowhere is neither a photo nor a folder"):
        found(own, Path("nowhere"))
    Path("own/deep/download.jfif").touch()
    assert found(own / "deep") == (["download.jfif", "two.JPG"], [])
    Path("photos.ZIP").touch()
    with pytest.raises(UserError, match=r"photos\.ZIP is a zip; unpack it and name the folder"):
        found(Path("photos.ZIP"))


def test_what_cannot_be_read_does_not_block(own):
    os.mkfifo(own / "pipe.jpg")
    (own / "broken.jpg").symlink_to("nothing")
    (own / "itself.jpg").symlink_to("itself.jpg")
    skipped = [f"own/{name}" for name in ("broken.jpg", "itself.jpg", "notes.txt", "pipe.jpg")]
    assert found(own) == (["deep/two.JPG", "one.jpg"], skipped)


def test_links_are_followed_and_folders_are_read_once(own, tmp_path):
    Path("disk/more").mkdir(parents=True)
    Path("disk/more/far.jpg").touch()
    (own / "linked.jpg").symlink_to(tmp_path / "disk/more/far.jpg")
    (own / "a-link").symlink_to(tmp_path / "disk")
    (own / "z-link").symlink_to("deep")
    (own / "deep/up").symlink_to(tmp_path / "own")
    assert found(own)[0] == ["a-link/more/far.jpg", "deep/two.JPG", "linked.jpg", "one.jpg"]


def test_the_output_folder_is_left_out_also_through_a_link(own):
    Path("link").symlink_to("own/deep")
    assert found(own, out=Path("link"))[0] == ["one.jpg"]
    with pytest.raises(UserError, match="link is the folder of the photos"):
        found(own / "deep", out=Path("link"))
    assert found(own / "deep", out=own)[0] == ["two.JPG"], "an output folder around the photos is none among them"


def test_names_keep_their_folders(own):
    assert planned("a.jpg", "b.v2.png", "deep/a.jpg", masks=False) == ["a.png", "b.v2.png", "deep/a.png"]
    assert planned("a.jpg", "b.v2.png", suffix=".webp") == ["a.webp", "a_mask.png", "b.v2.webp", "b.v2_mask.png"]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["a.jpg", "b.jpg", "a.png"], r"own/a\.jpg and own/a\.png would both become cut/a\.png; rename one"),
        (["deep/a.jpg", "deep/A.jpg"], r"own/deep/a\.jpg and own/deep/A\.jpg would both become cut/deep/A\.png"),
        (["é.jpg", "e\u0301.png"], "would both become"),
        (["car.jpg", "car_mask.jpg"], r"car\.jpg and own/car_mask\.jpg would both become cut/car_mask\.png"),
    ],
)
def test_two_photos_never_become_one_file(own, names, complaint):
    with pytest.raises(UserError, match=complaint):
        planned(*names)


def test_files_are_made_again_unless_they_were_made_of_this_photo_with_these_options(own):
    for day in "12":
        Path(f"day-{day}").mkdir()
        Path(f"day-{day}/IMG_1.jpg").write_text(day)
        # Files that are copied from a card keep their times.
        os.utime(f"day-{day}/IMG_1.jpg", (0, 0))

    def is_made_again(day=1, options="ab", outputs=2):
        plan = jobs.plan({Path(f"day-{day}/IMG_1.jpg"): Path("IMG_1.jpg")}, OUT, ".png", True, options)
        todo = jobs.missing(plan)
        for path in [path for job in todo for path in job.outputs][:outputs]:
            cutout.save(path, Image.new("RGBA", (6, 4)), plan[0].made_of)
        return bool(todo)

    assert is_made_again()
    assert not is_made_again()
    assert is_made_again(day=2, outputs=1), "as a kill leaves it, with the cut-out but without its mask"
    assert is_made_again(day=2)
    assert is_made_again(), "the pictures are of the other day"
    for path in OUT.glob("*.png"):
        path.unlink()
        assert is_made_again()
        assert not is_made_again()
    os.utime("day-1/IMG_1.jpg", (1, 1))
    assert is_made_again()
    assert is_made_again(options="cd")
    assert not is_made_again(options="cd")


@pytest.mark.parametrize("suffix", [".png", ".webp"])
def test_what_another_program_has_written_is_not_overwritten(own, suffix):
    plan = jobs.plan({own / "one.jpg": Path("one.jpg")}, OUT, suffix, False, "ab")
    path, picture, other = OUT / f"one{suffix}", Image.new("RGB", (6, 4)), Image.Exif()
    cutout.save(path, picture, "what it was made of")
    assert jobs.read_made_of(path) == "what it was made of"
    whole = path.read_bytes()
    other[jobs.SOFTWARE] = "another program"
    picture.save(own / "other.png", exif=other)
    picture.save(own / "plain.png")
    for content in (b"", whole[:20], (own / "other.png").read_bytes(), (own / "plain.png").read_bytes()):
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"{path} would be overwritten; choose another folder"):
            jobs.missing(plan)
    path.unlink()
    assert jobs.missing(plan) == plan


def test_a_photo_is_not_overwritten_through_a_link_even_if_it_is_a_cut_out(own):
    cutout.save(own / "car.png", Image.new("RGBA", (6, 4)), "ab")
    Path("link").symlink_to(own)
    (OUT / "car.png").symlink_to((own / "car.png").resolve())
    for out in (Path("link"), OUT):
        plan = jobs.plan({own / "car.png": Path("car.png")}, out, ".png", False, "ab")
        with pytest.raises(UserError, match=rf"{out}/car\.png would be overwritten"):
            jobs.missing(plan)
