import io
import json
import os
from pathlib import PurePosixPath

import numpy as np
import pytest
from conftest import jpeg, make_project, pack, picture, read_network, set_params, stage
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from carvana import checkpoint, cutout, models
from carvana.errors import UserError

SIZE = (64, 96)


def bright(photos):
    """A network that calls bright pixels car."""
    return (photos.mean(axis=3).astype(np.float32) - 128) / 8


def encoded(photo, kind, **options):
    file = io.BytesIO()
    Image.fromarray(photo).save(file, kind, **options)
    return file.getvalue()


@given(
    st.integers(20, 400),
    st.integers(20, 400),
    st.tuples(*[st.floats(0.05, 0.4)] * 2),
    st.tuples(*[st.floats(0.6, 0.95)] * 2),
)
@settings(max_examples=60, deadline=None)
def test_the_mask_lies_where_the_car_is_whatever_the_photos_shape(height, width, first, last):
    photo = np.zeros((height, width, 3), np.uint8)
    (top, left), (bottom, right) = ((round(y * height), round(x * width)) for y, x in (first, last))
    photo[top:bottom, left:right] = 255
    seen = []

    def compute(photos):
        seen.append(photos.shape)
        return bright(photos)

    alpha = cutout.alpha_of(photo, SIZE, compute)
    assert alpha.shape == (height, width)
    assert seen == [(1, *SIZE, 3)]
    rows, columns = np.nonzero(alpha >= 128)
    # A pixel of the network covers so many of the photo's.
    pixel = max(height, width * 2 / 3) / SIZE[0] + 1
    assert abs(rows.min() - top) <= pixel
    assert abs(rows.max() + 1 - bottom) <= pixel
    assert abs(columns.min() - left) <= pixel
    assert abs(columns.max() + 1 - right) <= pixel


def test_nothing_of_the_studio_stays_behind_where_the_network_is_all_but_sure():
    photo = np.zeros((128, 192, 3), np.uint8)
    photo[:, 96:] = 255
    alpha = cutout.alpha_of(photo, SIZE, lambda photos: np.where(photos[..., 0] > 128, 4.5, -4.5).astype(np.float32))
    assert (alpha[:, :94] == 0).all()
    assert (alpha[:, 98:] == 255).all()
    edge = alpha[64, 94:98].astype(int)
    assert (np.diff(edge) > 0).all(), "soft"
    assert abs(edge + edge[::-1] - 255).max() <= 1, "and even"


def test_a_kaggle_photo_fills_the_network():
    photo = picture(0)[0]
    seen = []
    cutout.alpha_of(photo, (128, 128), lambda photos: (seen.append(photos[0]), bright(photos))[1])
    assert seen[0].shape == (128, 128, 3)
    assert abs(seen[0].astype(float).mean() - photo.mean()) < 1


def test_exif_turns_and_every_usual_kind_is_read():
    photo = np.zeros((20, 30, 3), np.uint8)
    photo[:5] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn clockwise, of the camera
    turned = cutout.read_photo(encoded(photo, "JPEG", exif=exif), "a.jpg")
    assert turned.shape == (30, 20, 3)
    assert turned[:, -5:].mean() > 240
    for kind in ("PNG", "WEBP", "BMP", "TIFF"):
        assert cutout.read_photo(encoded(photo, kind), "a").shape == photo.shape
    assert cutout.read_photo(encoded(photo[..., 0], "PNG"), "grey").shape == photo.shape
    with pytest.raises(UserError, match="a is not a whole photo"):
        cutout.read_photo(encoded(photo, "PNG")[:-30], "a")


def test_a_cut_out_is_the_photo_where_the_car_is_and_the_background_elsewhere():
    photo = np.full((4, 6, 3), 200, np.uint8)
    alpha = np.zeros((4, 6), np.uint8)
    alpha[:, :2], alpha[:, 2] = 255, 128
    cut = cutout.compose(photo, alpha, None)
    assert (cut[..., :3] == photo).all()
    assert (cut[..., 3] == alpha).all()
    on_blue = cutout.compose(photo, alpha, cutout.read_background("#000064"))
    assert (on_blue[:, 0] == 200).all()
    assert (on_blue[:, 5] == (0, 0, 100)).all()
    assert (on_blue[:, 2] == (100, 100, 150)).all()


def test_a_background_fills_and_keeps_its_middle(tmp_path):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 250
    cutout.save(tmp_path / "wide.png", wide)
    behind = cutout.read_background(str(tmp_path / "wide.png"))
    filled = cutout.compose(np.zeros((20, 20, 3), np.uint8), np.zeros((20, 20), np.uint8), behind)
    assert (filled[:, 2:-2] > 240).all()
    assert cutout.read_background("none") is None
    with pytest.raises(UserError, match=r"neither none nor a colour .* nor a picture"):
        cutout.read_background("nothing.png")


def test_names_keep_their_folders_and_never_meet(tmp_path):
    names = [PurePosixPath(name) for name in ("a.jpg", "a.png", "deep/a.jpg")]
    found = cutout.targets(names, tmp_path, ".png")
    assert [path.relative_to(tmp_path).as_posix() for path in found.values()] == [
        "a.jpg.png",
        "a.png.png",
        "deep/a.png",
    ]
    for name in ("../a.jpg", "/a.jpg", "deep/../../a.jpg"):
        with pytest.raises(UserError, match="leads out of the folder"):
            cutout.targets([PurePosixPath(name)], tmp_path, ".png")


@pytest.fixture
def project(tmp_path):
    folder = make_project(tmp_path / "project")
    set_params(folder, runtime_engine="torch")
    network = read_network(depth=2, width=2)
    checkpoint.save(folder / "models/fold-0.safetensors", models.build(network), network, (64, 64))
    (folder / "own/deep").mkdir(parents=True)
    for name in ("own/one.jpg", "own/deep/two.JPG"):
        (folder / name).write_bytes(jpeg(picture(1)[0][:300, :500]))
    (folder / "own/bad.png").write_bytes(b"nothing")
    (folder / "own/notes.txt").write_text("no photo", encoding="ascii")
    return folder


def test_a_folder_is_cut_the_bad_is_named_and_what_is_there_stays(project):
    command = ("cutout", "own", "--out", "cut", "--masks")
    assert "1 photos cannot be read, all others are done: bad.png is not a whole photo" in stage(
        project, *command, status=1
    )
    made = {path.relative_to(project / "cut").as_posix(): path for path in project.glob("cut/**/*.png")}
    assert set(made) == {"one.png", "one_mask.png", "deep/two.png", "deep/two_mask.png"}
    with Image.open(made["one.png"]) as image, Image.open(made["one_mask.png"]) as mask:
        assert (image.mode, image.size) == ("RGBA", (500, 300))
        assert np.array_equal(np.asarray(image)[..., 3], np.asarray(mask))
    before = {name: path.stat().st_mtime_ns for name, path in made.items()}
    (project / "own/bad.png").unlink()
    made["one.png"].unlink()
    stage(project, *command)
    assert made["deep/two.png"].stat().st_mtime_ns == before["deep/two.png"]
    assert made["one.png"].exists()
    stage(project, *command, "--background", "white")
    assert made["deep/two.png"].stat().st_mtime_ns > before["deep/two.png"]
    with Image.open(made["deep/two.png"]) as image:
        assert image.mode == "RGB"
    # As a kill leaves it, between the new options and this photo.
    os.utime(made["deep/two.png"], ns=(before["deep/two.png"], before["deep/two.png"]))
    stage(project, *command, "--background", "white")
    assert made["deep/two.png"].stat().st_mtime_ns > before["deep/two.png"]
    assert json.loads((project / "cut/.cutout.json").read_text(encoding="utf-8"))["background"] == "white"


def test_a_zip_is_cut_too(project):
    pack(project / "own.zip", {"in/one.jpg": (project / "own/one.jpg").read_bytes(), "__MACOSX/in/one.jpg": b"no"})
    stage(project, "cutout", "own.zip", "--out", "cut", "--format", "webp")
    assert [path.name for path in project.glob("cut/in/*.webp")] == ["one.webp"]


def test_photos_are_found_in_a_folder_a_zip_or_alone(project):
    with cutout.opened(project / "own") as photos:
        assert photos.names == [PurePosixPath(name) for name in ("bad.png", "deep/two.JPG", "one.jpg")]
        assert photos.read(photos.names[0]) == b"nothing"
    with cutout.opened(project / "own/one.jpg") as photos:
        assert photos.names == [PurePosixPath("one.jpg")]
        assert photos.read(photos.names[0]) == (project / "own/one.jpg").read_bytes()
    (project / "bad.zip").write_bytes(b"no zip")
    for name, complaint in (
        ("src", "holds no photo"),
        ("nowhere", "neither a photo nor"),
        ("bad.zip", "not a whole zip"),
    ):
        with pytest.raises(UserError, match=complaint), cutout.opened(project / name):
            pass
