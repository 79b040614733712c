"""Which files the cut-outs become."""

from pathlib import Path, PurePosixPath

import pytest

from carvana.base.errors import UserError
from carvana.cutouts import outputs
from carvana.cutouts.sources import Photo

OUT = Path("cut")


def photos(*names):
    return [Photo(PurePosixPath(name), f"own/{name}", Path("own", name), (name,), None) for name in names]


def planned(*names, suffix=".png", masks=False):
    jobs = outputs.plan(photos(*names), OUT, suffix, masks)
    return [path.relative_to(OUT).as_posix() for job in jobs for path in job.outputs]


def test_names_keep_their_folders():
    assert planned("a.jpg", "b.v2.png", "deep/a.jpg") == ["a.png", "b.v2.png", "deep/a.png"]
    assert planned("a.jpg", "a_mask.jpg", suffix=".webp") == ["a.webp", "a_mask.webp"]
    assert planned("a.jpg", suffix=".webp", masks=True) == ["a.webp", "a_mask.png"]


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (["a.jpg", "b.jpg", "a.png"], r"own/a\.jpg and own/a\.png would both become cut/a\.png; rename one"),
        (["deep/a.jpg", "deep/A.jpg"], r"own/deep/a\.jpg and own/deep/A\.jpg would both become cut/deep/A\.png"),
        (["é.jpg", "e\u0301.png"], "would both become"),
        (["car.jpg", "car_mask.jpg"], r"car\.jpg and own/car_mask\.jpg would both become cut/car_mask\.png"),
        (
            ["x.jpg", "x.png/deep/a.jpg"],
            r"own/x\.jpg would become cut/x\.png, the folder of own/x\.png/deep/a\.jpg",
        ),
    ],
)
def test_two_photos_never_become_one_file(names, complaint):
    with pytest.raises(UserError, match=complaint):
        planned(*names, masks=True)


def test_an_output_is_made_again_unless_it_was_made_of_this_photo_with_these_options(tmp_path):
    (job,) = outputs.plan(photos("car.jpg"), tmp_path, ".png", True)
    other = outputs.Job(Photo(PurePosixPath("car.jpg"), "", Path(), ("other",), None), job.cutout, job.mask)

    def is_made_again(each, options=("ab",), finished=True):
        with outputs.recorded(tmp_path, {"files": list(options)}, [each]) as record:
            todo = record.to_make([each])
            for path in each.outputs:
                path.write_bytes(b"")
            if todo and finished:
                record.add(each)
            return bool(todo)

    assert is_made_again(job)
    assert not is_made_again(job)
    assert is_made_again(other)
    assert is_made_again(job, finished=False), "as a kill leaves it, with the picture but without its line"
    assert is_made_again(other), "the picture is of the first photo"
    for path in job.outputs:
        path.unlink()
        assert is_made_again(other)
    assert is_made_again(other, ("cd",))
    for damaged in (b"damaged", b"\xff", b"[" * 100_000, b"9" * 5000, b""):
        (tmp_path / ".cutout.jsonl").write_bytes(damaged)
        assert is_made_again(other)
        assert not is_made_again(other)
