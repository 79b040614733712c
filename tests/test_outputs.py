from pathlib import Path, PurePosixPath

import pytest

from carvana.base.errors import UserError
from carvana.cutouts import outputs
from carvana.cutouts.photo_files import Photo

OUT = Path("cut")


def photos(*names, source="own"):
    return [Photo(PurePosixPath(name), source, f"{source}/{name}", None, None) for name in names]


def planned(found, suffix=".png", masks=False):
    jobs = outputs.plan(found, OUT, suffix, masks)
    made = [path.relative_to(OUT).as_posix() for job in jobs for path in job.outputs]
    assert len({path.casefold() for path in made}) == len(made)
    return made


def test_names_keep_their_folders():
    assert planned(photos("a.jpg", "b.v2.png", "deep/a.jpg")) == ["a.png", "b.v2.png", "deep/a.png"]
    assert planned(photos("a.jpg"), ".webp", masks=True) == ["a.webp", "a_mask.png"]


def test_names_that_are_the_same_become_longer():
    assert planned(photos("a.jpg", "A.png", "b.jpg")) == ["a.jpg.png", "A.png.png", "b.png"]
    assert planned(photos("car.jpg", "car_mask.jpg"), masks=True) == [
        "car.jpg.png",
        "car.jpg_mask.png",
        "car_mask.jpg.png",
        "car_mask.jpg_mask.png",
    ]
    assert planned(photos("car.jpg", "car_mask.jpg"), ".webp", masks=True)[0] == "car.webp"
    both = photos("a.jpg", "b.jpg", source="left") + photos("a.jpg", source="right")
    assert planned(both) == ["left/a.jpg.png", "b.png", "right/a.jpg.png"]
    assert planned(photos("x.jpg", "x.png/a.jpg")) == ["x.jpg.png", "x.png/a.png"], "a folder has a name, too"
    assert planned(photos("é.jpg", "e\u0301.png")) == ["é.jpg.png", "e\u0301.png.png"], "one name on macOS"


def test_names_that_stay_the_same_are_refused():
    with pytest.raises(UserError, match=r"own/a\.jpg, own/A\.JPG would become the same files; rename"):
        planned(photos("a.jpg", "A.JPG"))
    with pytest.raises(UserError, match=r"own/a\.jpg, own/a\.jpg would become the same files"):
        planned(photos("a.jpg") + photos("a.jpg"))


def job(tmp_path, name="car.png"):
    return outputs.Job(photos("car.jpg")[0], tmp_path / "cut" / name, None)


def test_an_output_is_never_a_source_whatever_leads_to_it(tmp_path):
    (tmp_path / "cut").mkdir()
    source = tmp_path / "photo.png"
    source.write_bytes(b"")
    outputs.refuse_to_overwrite([job(tmp_path)], [source])
    with pytest.raises(UserError, match=r"cut/car\.png would overwrite .*CAR\.png, which is read"):
        outputs.refuse_to_overwrite([job(tmp_path)], [tmp_path / "cut/CAR.png"])
    with pytest.raises(UserError, match="would overwrite"):
        outputs.refuse_to_overwrite([job(tmp_path)], [tmp_path / "other/../cut/car.png"])
    target = job(tmp_path).cutout
    for link in (target.symlink_to, target.hardlink_to):
        link(source)
        with pytest.raises(UserError, match=r"would overwrite .*photo\.png"):
            outputs.refuse_to_overwrite([job(tmp_path)], [source])
        target.unlink()


def test_what_was_not_made_here_is_not_overwritten(tmp_path):
    mine = job(tmp_path)
    since = outputs.begin(tmp_path / "cut", {"kind": "png"}, [mine])
    mine.cutout.write_bytes(b"")
    assert outputs.is_done(mine, since)
    assert outputs.begin(tmp_path / "cut", {"kind": "png"}, [mine]) == since
    for damaged in (b"damaged", b"\xff", b"[" * 100_000, b"9" * 5000, b""):
        (tmp_path / "cut/.cutout.json").write_bytes(damaged)
        assert outputs.begin(tmp_path / "cut", {"kind": "png"}, [mine]) > since
    (tmp_path / "cut/.cutout.json").unlink()
    with pytest.raises(UserError, match=r"car\.png would be overwritten; choose another folder"):
        outputs.begin(tmp_path / "cut", {"kind": "png"}, [mine])
    with pytest.raises(UserError, match=r"car\.png is a file; --out takes a folder"):
        outputs.begin(mine.cutout, {"kind": "png"}, [mine])
