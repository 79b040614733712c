"""Cut-outs as a user makes them: files, folders and zips, what is skipped, and a stop."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import torch
from conftest import encoded, jpeg, make_project, pack, picture, read_network, set_params, stage
from PIL import Image

from carvana.networks import checkpoint, models


def bright_network():
    """The slides' network, which hands brightness through its first skip connection: bright pixels are car."""
    network = read_network(depth=2, width=2)
    model = models.build(network)
    weights = dict(model.named_parameters())
    with torch.no_grad():
        for name, weight in weights.items():
            if weight.ndim == 4 or name.endswith("head.bias"):
                weight.zero_()
        weights["network.encoder.0.0.weight"][0, :, 1, 1] = 1 / 3
        for name in ("encoder.0.3", "decoder.0.0", "decoder.0.3"):
            weights[f"network.{name}.weight"][0, 0, 1, 1] = 1
        weights["network.head.weight"][0, 0] = 20
        weights["network.head.bias"] -= 10
    return model, network


@pytest.fixture
def project(tmp_path):
    folder = make_project(tmp_path / "project")
    set_params(folder, runtime_engine="torch")
    checkpoint.save(folder / "models/fold-0.safetensors", *bright_network(), (64, 64))
    (folder / "own/deep").mkdir(parents=True)
    for name in ("own/one.jpg", "own/deep/two.JPG"):
        (folder / name).write_bytes(jpeg(picture(1)[0][:300, :500]))
    return folder


def cut(folder, *arguments, status=0):
    """Runs the command; its output and its errors."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "carvana", "cutout", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout, done.stderr


def first_line(printed):
    """The first line of the summary, without what it says of the time."""
    return re.sub(r" made in \d+ s \([\d.]+ photos/s\)", " made", printed).splitlines()[0]


def made(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in {".png", ".webp"}}


def test_a_folder_is_cut_the_bad_is_named_and_what_is_there_stays(project):
    (project / "own/bad.png").write_bytes(b"nothing")
    command = ("own", "--out", "cut", "--masks")
    printed, errors = cut(project, *command, status=1)
    assert first_line(printed) == "2 cut-outs in cut: 2 made"
    assert "1 photo could not be cut out, all others are done: own/bad.png is damaged" in errors
    files = made(project / "cut")
    assert set(files) == {"one.png", "one_mask.png", "deep/two.png", "deep/two_mask.png"}
    with Image.open(files["one.png"]) as image, Image.open(files["one_mask.png"]) as mask:
        assert (image.mode, image.size) == ("RGBA", (500, 300))
        assert np.array_equal(np.asarray(image)[..., 3], np.asarray(mask))
    two = files["deep/two.png"]
    before = two.stat().st_mtime_ns
    (project / "own/bad.png").unlink()
    files["one.png"].unlink()
    assert first_line(cut(project, *command)[0]) == "2 cut-outs in cut: 1 made, 1 was there already"
    assert two.stat().st_mtime_ns == before
    assert files["one.png"].exists()
    cut(project, *command, "--background", "white")
    assert two.stat().st_mtime_ns > before
    with Image.open(two) as image:
        assert image.mode == "RGB"
    # As a kill leaves it, between the new options and this photo.
    os.utime(two, ns=(before, before))
    cut(project, *command, "--background", "white")
    assert two.stat().st_mtime_ns > before
    assert json.loads((project / "cut/.cutout.json").read_text(encoding="utf-8"))["background"] == "white"


def test_photos_without_a_car_and_files_that_are_skipped_are_named_at_the_end(project):
    Image.new("RGB", (60, 40)).save(project / "own/dark.png")
    for name in ("IMG_1.HEIC", "deep/b.avif", ".hidden"):
        (project / "own" / name).write_bytes(b"other")
    printed, errors = cut(project, "own", "--out", "cut")
    assert printed.splitlines()[1:] == ["no car found in 1 photo:", "  own/dark.png"]
    assert "2 files skipped" in errors
    assert "own/IMG_1.HEIC, own/deep/b.avif; convert other pictures to JPEG first" in errors
    with Image.open(project / "cut/dark.png") as image:
        assert np.asarray(image)[..., 3].max() == 0


def test_cut_outs_and_masks_are_cropped_and_made_again_with_another_margin(project):
    photo = np.zeros((120, 200, 3), np.uint8)
    photo[30:90, 50:150] = 250
    (project / "car.png").write_bytes(encoded(photo, "PNG"))
    Image.new("RGB", (60, 40)).save(project / "dark.png")
    command = ("car.png", "dark.png", "--out", "cut", "--masks")
    for options, margin, status in ((["--crop"], 5, ""), (["--crop"], 5, "there already"), (["--crop", "0"], 0, "")):
        printed, _ = cut(project, *command, *options, "--format", "webp")
        assert status in printed
        with Image.open(project / "cut/car.webp") as image, Image.open(project / "cut/car_mask.png") as mask:
            assert image.size == mask.size
            # A pixel of the network is 3 pixels wide and 2 high.
            assert abs(np.array(image.size) - (100 + 2 * margin, 60 + 2 * margin)).max() <= 3
        with Image.open(project / "cut/dark.webp") as image:
            assert image.size == (60, 40)
    for margin in ("-1", "101", "nan", "car.png"):
        assert f"{margin} is no margin from 0 to 100" in cut(project, *command, f"--crop={margin}", status=2)[1]


def test_a_photo_of_another_kind_is_named_with_what_to_do(project):
    (project / "iphone.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    errors = cut(project, "iphone.HEIC", "--out", "cut", status=1)[1]
    assert "iphone.HEIC is damaged, or it is not JPEG, PNG, WebP, BMP or TIFF; convert other kinds to JPEG" in errors
    assert "object at" not in errors


def test_files_folders_and_zips_are_cut_in_one_run(project):
    photo = (project / "own/one.jpg").read_bytes()
    pack(project / "own.zip", {"in/one.jpg": photo, "one.jpg": photo, "__MACOSX/in/one.jpg": b"no"})
    (project / "car.jpg").write_bytes(photo)
    printed, _ = cut(project, "car.jpg", "own", "own.zip", "own/one.jpg", "--out", "cut", "--format", "webp")
    assert first_line(printed) == "5 cut-outs in cut: 5 made"
    assert set(made(project / "cut")) == {
        "car.webp",
        "deep/two.webp",
        "in/one.webp",
        "own/one.jpg.webp",
        "own.zip/one.jpg.webp",
    }


def test_a_bad_member_does_not_end_the_run(project):
    photo = (project / "own/one.jpg").read_bytes()
    path = project / "own.zip"
    pack(path, {"a.jpg": photo, "crc.jpg": photo, "method.jpg": photo, "secret.jpg": photo, "z.jpg": photo})
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info.header_offset for info in archive.infolist()}
    data[infos["crc.jpg"] + 200] ^= 255
    for name, offset, value in (("method.jpg", 10, 99), ("secret.jpg", 8, 1)):
        data[data.rindex(name.encode()) - 46 + offset] = value
    path.write_bytes(data)
    printed, errors = cut(project, "own.zip", "--out", "cut", status=1)
    assert first_line(printed) == "2 cut-outs in cut: 2 made"
    assert set(made(project / "cut")) == {"a.png", "z.png"}
    assert "3 photos could not be cut out" in errors
    for name, complaint in (("crc", "is damaged"), ("method", "cannot be unpacked"), ("secret", "is encrypted")):
        assert f"own.zip: {name}.jpg {complaint}" in errors


@pytest.mark.slow
def test_a_photo_is_never_overwritten(project):
    photo = encoded(np.full((40, 60, 3), 200, np.uint8), "PNG")
    (project / "photos").mkdir()
    (project / "photos/car.png").write_bytes(photo)
    (project / "link").symlink_to("photos")
    (project / "other").mkdir()
    (project / "other/car.png").symlink_to(project / "photos/car.png")
    (project / "beach.jpg").write_bytes((project / "own/one.jpg").read_bytes())
    for arguments, complaint in (
        (["photos", "--out", "photos"], "photos is the folder of the photos; choose another"),
        (["photos/car.png", "--out", "link"], "link/car.png would overwrite photos/car.png"),
        (["photos", "--out", "other"], "other/car.png would overwrite photos/car.png"),
        (["beach.jpg", "--out", "photos", "--background", "photos/beach.png"], "photos/beach.png would overwrite"),
        (["photos/car.jpg", "--out", "photos"], "photos/car.png would be overwritten"),
    ):
        (project / "photos/car.jpg").write_bytes((project / "own/one.jpg").read_bytes())
        (project / "photos/beach.png").write_bytes(photo)
        if "car.jpg" not in arguments[0]:
            (project / "photos/car.jpg").unlink()
        if "beach.jpg" not in arguments[0]:
            (project / "photos/beach.png").unlink()
        assert complaint in cut(project, *arguments, status=1)[1]
        assert (project / "photos/car.png").read_bytes() == photo
        assert not (project / "photos/.cutout.json").exists()


def test_an_output_folder_among_the_photos_is_not_read(project):
    for _ in range(2):
        printed, errors = cut(project, "own", "--out", "own/cut")
        assert printed.startswith("2 cut-outs in own/cut")
        assert "skipped" not in errors
    assert set(made(project / "own")) == {"cut/one.png", "cut/deep/two.png"}


def test_a_transparent_photo_stays_so_and_a_large_one_is_refused(project):
    photo = np.full((40, 60, 4), 220, np.uint8)
    photo[..., 3] = 255
    photo[:, :30, 3] = 0
    (project / "own/logo.png").write_bytes(encoded(photo, "PNG"))
    (project / "own/huge.png").write_bytes(huge_png())
    assert "own/huge.png has more than 120 megapixels" in cut(project, "own", "--out", "cut", status=1)[1]
    with Image.open(project / "cut/logo.png") as image:
        alpha = np.asarray(image)[..., 3]
    assert (alpha[:, :30] == 0).all()
    assert (alpha[:, 30:] == 255).all()
    errors = cut(project, "own/one.jpg", "--out", "new", "--background", "own/huge.png", status=1)[1]
    assert "own/huge.png has more than 120 megapixels" in errors


def test_ctrl_c_ends_at_once_and_leaves_no_half_a_cut_out(project):
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((8000, 6000)).save(project / "own/large.bmp")
    command = [sys.executable, "-m", "carvana", "cutout", "own/large.bmp", "--out", "cut", "--format", "webp"]
    process = subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE)
    limit = time.monotonic() + 60
    while not (project / "cut/.cutout.json").exists():
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)
    time.sleep(1)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert time.monotonic() - started < 2
    assert not made(project / "cut")


def test_the_features_stage_refuses_a_large_photo_too(project):
    (project / "huge.png").write_bytes(huge_png())
    assert "huge.png has more than 120 megapixels" in stage(project, "features", "huge.png", "--out", "maps", status=1)


def huge_png():
    """13000×10000 of one bit: a file of 16 KB."""
    file = io.BytesIO()
    Image.new("1", (13000, 10000)).save(file, "PNG", compress_level=9)
    assert len(file.getvalue()) < 1 << 20
    return file.getvalue()
