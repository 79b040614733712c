"""Cut-outs as a user makes them: files, folders and zips, what is skipped, what is made again, and a stop."""

import argparse
import contextlib
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
import zipfile

import numpy as np
import pytest
import torch
from conftest import ROOT, encoded, jpeg, make_project, pack, picture, read_network, set_params
from PIL import Image

from carvana.base.errors import UserError
from carvana.commands import cutout as command
from carvana.cutouts import cutout, outputs
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


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "fold-0.safetensors"
    checkpoint.save(path, *bright_network(), (64, 64))
    return path


@pytest.fixture
def project(tmp_path, model):
    """A clone with a model, and two photos of 300×500 in own/."""
    folder = make_project(tmp_path / "project")
    set_params(folder, runtime_engine="torch")
    (folder / "models").mkdir()
    (folder / "models/fold-0.safetensors").write_bytes(model.read_bytes())
    (folder / "own/deep").mkdir(parents=True)
    for name in ("own/one.jpg", "own/deep/two.JPG"):
        (folder / name).write_bytes(jpeg(picture(1)[0][:300, :500]))
    return folder


def cut(folder, *arguments, status=0):
    """Runs the command in a folder; what it prints, and its errors."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    printed, errors, ended = io.StringIO(), io.StringIO(), 0
    with contextlib.chdir(folder), contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
        try:
            command.main(**vars(parser.parse_args(arguments)))
        except UserError as error:
            errors.write(str(error))
            ended = 1
        except SystemExit as error:
            ended = error.code
    assert ended == status, errors.getvalue()
    return printed.getvalue(), errors.getvalue()


def first_line(printed):
    """The first line of the summary, without what it says of the time."""
    return re.sub(r" made in \d+ s \([\d.]+ photos/s\)", " made", printed).splitlines()[0]


def made(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in {".png", ".webp"}}


def size_of(path):
    with Image.open(path) as image:
        return image.size


def alpha_of(path):
    with Image.open(path) as image:
        return np.asarray(image)[..., 3]


def test_a_folder_is_cut_the_bad_is_named_and_what_is_there_stays(project):
    (project / "own/bad.png").write_bytes(b"nothing")
    command = ("own", "--out", "cut", "--masks")
    printed, errors = cut(project, *command, status=1)
    assert first_line(printed) == "2 cut-outs in cut: 2 made"
    assert "1 photo could not be cut out, all others are done: own/bad.png is damaged" in errors
    files = made(project / "cut")
    assert set(files) == {"one.png", "one_mask.png", "deep/two.png", "deep/two_mask.png"}
    with Image.open(files["one_mask.png"]) as mask:
        assert mask.size == (500, 300)
        assert np.array_equal(alpha_of(files["one.png"]), np.asarray(mask))
    before = files["deep/two.png"].stat().st_mtime_ns
    (project / "own/bad.png").unlink()
    files["one_mask.png"].unlink()
    assert first_line(cut(project, *command)[0]) == "2 cut-outs in cut: 1 made, 1 was there already"
    assert first_line(cut(project, *command)[0]) == "2 cut-outs in cut: 2 were there already"
    assert files["deep/two.png"].stat().st_mtime_ns == before
    assert files["one_mask.png"].exists()


def test_a_cut_out_is_made_again_if_its_photo_the_models_or_an_option_have_changed(project):
    command = ["own", "--out", "cut"]
    Image.new("RGB", (60, 40), "blue").save(project / "beach.png")

    def made_now(*options):
        command.extend(options)
        found = re.search(r"(\d+) made", cut(project, *command)[0])
        return int(found[1]) if found else 0

    for options in ([], ["--background", "beach.png"], ["--crop"], ["--masks"]):
        assert made_now(*options) == 2
    Image.new("RGB", (60, 40), "green").save(project / "beach.png")
    assert made_now() == 2
    set_params(project, runtime_engine="torch", predict_flip=True)
    assert made_now() == 2
    network, settings = bright_network()
    next(network.parameters()).data += 1e-6
    checkpoint.save(project / "models/fold-0.safetensors", network, settings, (64, 64))
    assert made_now() == 2
    os.utime(project / "own/one.jpg", (0, 0))
    assert made_now() == 1, "it is another file, although it is older than the cut-out"
    assert made_now() == 0


def test_two_photos_of_one_name_are_both_cut_out_one_after_the_other(project):
    """Cameras begin at IMG_0001.jpg again and again."""
    for day, size in (("monday", (200, 100)), ("tuesday", (100, 200))):
        (project / day).mkdir()
        Image.new("RGB", size, "white").save(project / day / "IMG_0001.jpg")
        # Files that are copied from a card keep their times.
        os.utime(project / day / "IMG_0001.jpg", (0, 0))
        assert "1 made" in cut(project, day, "--out", "cut")[0]
        assert size_of(project / "cut/IMG_0001.png") == size
    errors = cut(project, "monday", "tuesday", "--out", "new", status=1)[1]
    assert "monday/IMG_0001.jpg and tuesday/IMG_0001.jpg would both become new/IMG_0001.png; rename" in errors
    assert not (project / "new").exists()


def test_photos_without_a_car_and_files_that_are_skipped_are_named_at_the_end(project):
    Image.new("RGB", (60, 40)).save(project / "own/dark.png")
    for name in ("IMG_1.HEIC", "deep/b.avif", ".hidden"):
        (project / "own" / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    printed, errors = cut(project, "own", "--out", "cut")
    assert printed.splitlines()[1:] == ["no car found in 1 photo:", "  own/dark.png"]
    assert (
        "2 files skipped, because only JPEG, PNG, WebP, BMP or TIFF are supported: own/IMG_1.HEIC, own/deep" in errors
    )
    assert "own/deep/b.avif; convert other pictures to JPEG first" in errors
    assert alpha_of(project / "cut/dark.png").max() == 0
    errors = cut(project, "own/IMG_1.HEIC", "--out", "cut", status=1)[1]
    assert "IMG_1.HEIC is damaged, or it is not JPEG, PNG, WebP, BMP or TIFF; convert other kinds to JPEG" in errors
    assert "object at" not in errors


def test_cut_outs_and_masks_are_cropped_and_made_again_with_another_margin(project):
    photo = np.zeros((120, 200, 3), np.uint8)
    photo[30:90, 50:150] = 250
    (project / "car.png").write_bytes(encoded(photo, "PNG"))
    Image.new("RGB", (60, 40)).save(project / "dark.png")
    command = ("car.png", "dark.png", "--out", "cut", "--masks")
    for options, margin, status in ((["--crop"], 5, ""), (["--crop"], 5, "there already"), (["--crop", "0"], 0, "")):
        printed, _ = cut(project, *command, *options, "--format", "webp")
        assert status in printed
        sizes = {size_of(project / "cut/car.webp"), size_of(project / "cut/car_mask.png")}
        assert len(sizes) == 1
        # A pixel of the network is 3 pixels wide and 2 high.
        assert abs(np.array(sizes.pop()) - (100 + 2 * margin, 60 + 2 * margin)).max() <= 3
        assert size_of(project / "cut/dark.webp") == (60, 40)
    for margin in ("-1", "101", "nan", "car.png"):
        assert f"{margin} is no margin from 0 to 100" in cut(project, *command, f"--crop={margin}", status=2)[1]


def test_files_folders_and_zips_are_cut_in_one_run(project):
    photo = (project / "own/one.jpg").read_bytes()
    pack(project / "own.zip", {"in/one.jpg": photo, "three.jpg": photo, "__MACOSX/in/one.jpg": b"no"})
    (project / "car.jpg").write_bytes(photo)
    printed, _ = cut(project, "car.jpg", "own", "own.zip", "own/one.jpg", "--out", "cut", "--format", "webp")
    assert first_line(printed) == "5 cut-outs in cut: 5 made"
    assert set(made(project / "cut")) == {"car.webp", "one.webp", "deep/two.webp", "in/one.webp", "three.webp"}


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
    for complaint in (
        "crc.jpg cannot be unpacked (Bad CRC-32",
        "method.jpg cannot be unpacked (That compression method is not supported)",
        "secret.jpg is encrypted; unpack the zip",
    ):
        assert f"own.zip: {complaint}" in errors


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["photos", "--out", "photos"], "photos is the folder of the photos; choose another"),
        (["photos/car.png", "--out", "link"], "link/car.png would overwrite photos/car.png"),
        (["photos", "--out", "other"], "other/car.png would overwrite photos/car.png"),
        (["beach.jpg", "--out", "photos", "--background", "photos/beach.png"], "photos/beach.png would overwrite"),
        (["car.jpg", "--out", "photos"], "photos/car.png would be overwritten"),
        (["own", "--out", "beach.jpg"], "beach.jpg is a file; --out takes a folder"),
    ],
)
def test_what_was_there_is_never_overwritten(project, arguments, complaint):
    photo = encoded(np.full((40, 60, 3), 200, np.uint8), "PNG")
    for name in ("photos", "other"):
        (project / name).mkdir()
    for name in ("photos/car.png", "photos/beach.png"):
        (project / name).write_bytes(photo)
    (project / "link").symlink_to("photos")
    (project / "other/car.png").symlink_to(project / "photos/car.png")
    for name in ("beach.jpg", "car.jpg"):
        (project / name).write_bytes((project / "own/one.jpg").read_bytes())
    before = {path: path.read_bytes() for path in project.glob("[!ms]*/**/*") if path.is_file()}
    assert complaint in cut(project, *arguments, status=1)[1]
    assert before == {path: path.read_bytes() for path in project.glob("[!ms]*/**/*") if path.is_file()}


def test_an_output_folder_among_the_photos_is_not_read(project):
    for _ in range(2):
        printed, errors = cut(project, "own", "--out", "own/cut")
        assert printed.startswith("2 cut-outs in own/cut")
        assert "skipped" not in errors
    assert set(made(project / "own")) == {"cut/one.png", "cut/deep/two.png"}


@pytest.mark.filterwarnings("ignore:Image size")
def test_a_transparent_photo_stays_so_and_a_large_one_is_refused(project):
    photo = np.full((40, 60, 4), 220, np.uint8)
    photo[..., 3] = 255
    photo[:, :30, 3] = 0
    (project / "own/logo.png").write_bytes(encoded(photo, "PNG"))
    file = io.BytesIO()
    Image.new("1", (13000, 10000)).save(file, "PNG", compress_level=9)
    (project / "own/huge.png").write_bytes(file.getvalue())
    assert "own/huge.png has more than 120 megapixels" in cut(project, "own", "--out", "cut", status=1)[1]
    alpha = alpha_of(project / "cut/logo.png")
    assert (alpha[:, :30] == 0).all()
    assert (alpha[:, 30:] == 255).all()
    errors = cut(project, "own/one.jpg", "--out", "new", "--background", "own/huge.png", status=1)[1]
    assert "own/huge.png has more than 120 megapixels" in errors


def test_large_photos_wait_for_each_other(project, monkeypatch):
    """Three threads share the memory of 3 · 1000 pixels: at most a photo of 2000 is worked on beside one of 1000."""
    for number in range(12):
        Image.new("RGB", (50, 40 if number % 2 else 20), "white").save(project / f"own/deep/{number}.png")
    (project / "own/deep/two.JPG").unlink()
    at_once, seen, lock, cut_one = [], [], threading.Lock(), cutout.cut

    def cut_slowly(photo, size, compute):
        with lock:
            at_once.append(photo[..., 0].size)
            seen.append(sum(at_once))
        time.sleep(0.02)
        with lock:
            at_once.remove(photo[..., 0].size)
        return cut_one(photo, size, compute)

    monkeypatch.setattr(cutout, "cut", cut_slowly)
    monkeypatch.setattr(command, "PIXELS_A_THREAD", 1000)
    set_params(project, runtime_engine="torch", runtime_workers=3)
    assert "12 made" in cut(project, "own/deep", "--out", "cut")[0]
    assert max(seen) == 3000, "as much as there is room for, and never more"


def test_another_process_may_not_write_to_the_same_folder(project):
    with outputs.recorded(project / "cut", {}, []):
        assert "another process writes to cut; wait for it" in cut(project, "own", "--out", "cut", status=1)[1]
    assert "2 made" in cut(project, "own", "--out", "cut")[0]


@pytest.mark.parametrize("locale", ["C.UTF-8", "C"])
def test_any_folder_gets_cut_outs_and_nothing_else_whatever_its_files_are_called(tmp_path, model, locale):
    """Names need not be text in any encoding, and a clone is not needed."""
    name = os.fsdecode(b"caf\xe9.png")
    Image.new("RGB", (60, 40)).save(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-m", "carvana", "cutout", ".", "--out", "cut", "--model", str(model)],
        cwd=tmp_path,
        env=os.environ | {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": f"{ROOT}/src"},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert b"no car found in 1 photo:\n  caf\\udce9.png\n" in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {name, "cut"}
    assert set(made(tmp_path / "cut")) == {name}


def test_ctrl_c_ends_at_once_and_leaves_no_half_a_cut_out(project):
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((8000, 6000)).save(project / "own/large.bmp")
    command = [sys.executable, "-m", "carvana", "cutout", "own/large.bmp", "--out", "cut", "--format", "webp"]
    process = subprocess.Popen(command, cwd=project, stderr=subprocess.PIPE)
    limit = time.monotonic() + 60
    while not (project / "cut/.cutout.jsonl").exists():
        assert process.poll() is None
        assert time.monotonic() < limit
        time.sleep(0.01)
    time.sleep(1)
    started = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    assert time.monotonic() - started < 2
    assert not made(project / "cut")
