"""Cut-outs as a user makes them: files and folders, what is skipped, what is made again, and a stop."""

import os
import re
import signal
import time

import numpy as np
import pytest
import torch
from competition_files import encoded, jpeg, picture
from PIL import Image
from projects import ROOT, make_project, read_network, set_params, stage, start, wait_until

from carvana.base.files import only_writer
from carvana.commands import cutout as command
from carvana.cutouts import cutout
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
    """A clone with a model, and two photos of 300×500 in own/."""
    folder = make_project(tmp_path / "project")
    set_params(folder)
    checkpoint.save(folder / "models/fold-0.safetensors", *bright_network(), (64, 64))
    (folder / "own/deep").mkdir(parents=True)
    for name in ("own/one.jpg", "own/deep/two.JPG"):
        (folder / name).write_bytes(jpeg(picture(1)[0][:300, :500]))
    return folder


def cut(folder, *arguments, status=0):
    return stage(folder, "cutout", *arguments, status=status)


def counted(printed):
    """How many cut-outs the summary says were made, and how many were there."""
    found = (re.search(rf"(\d+) {words}", printed) for words in ("made", "were there already"))
    return tuple(int(number[1]) if number else 0 for number in found)


def made(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.suffix in {".png", ".webp"}}


def pixels_of(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_files_and_folders_are_cut_the_bad_is_named_and_what_is_there_stays(project):
    (project / "own/bad.png").write_bytes(b"nothing")
    for name in ("IMG_1.HEIC", "deep/b.avif", ".hidden"):
        (project / "own" / name).write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    (project / "car.jpg").write_bytes((project / "own/one.jpg").read_bytes())
    command = ("car.jpg", "own", "--out", "cut", "--masks")
    errors = cut(project, *command, status=1)
    assert "all photos are cut out but these:\n  own/bad.png is damaged" in errors
    assert "skipped: own/IMG_1.HEIC, own/deep/b.avif; only JPEG, PNG, WebP, BMP or TIFF are supported; conv" in errors
    assert "the models of this clone were trained on the demo's rendered cars" in errors
    files = made(project / "cut")
    assert set(files) == {f"{name}{end}.png" for name in ("car", "one", "deep/two") for end in ("", "_mask")}
    mask = pixels_of(files["one_mask.png"])
    assert mask.shape == (300, 500)
    assert np.array_equal(pixels_of(files["one.png"])[..., 3], mask)
    before = files["deep/two.png"].stat().st_mtime_ns
    Image.new("RGB", (60, 40)).save(project / "own/bad.png")
    printed = cut(project, *command)
    assert counted(printed) == (1, 3)
    assert printed.splitlines()[1:] == ["no car found in:", "  own/bad.png"]
    assert pixels_of(project / "cut/bad.png")[..., 3].max() == 0
    assert counted(cut(project, *command)) == (0, 4)
    assert files["deep/two.png"].stat().st_mtime_ns == before


def test_a_cut_out_is_made_again_if_its_photo_the_models_or_an_option_have_changed(project):
    command = ["own", "--out", "cut"]
    Image.new("RGB", (60, 40), "blue").save(project / "beach.png")

    def made_now(*options):
        command.extend(options)
        return counted(cut(project, *command))[0]

    for options in ([], ["--background", "beach.png"], ["--crop"], ["--crop", "0"], ["--masks"]):
        assert made_now(*options) == 2
    Image.new("RGB", (60, 40), "green").save(project / "beach.png")
    assert made_now() == 2
    set_params(project, predict_flip=True)
    assert made_now() == 2
    network, settings = bright_network()
    next(network.parameters()).data += 1e-6
    checkpoint.save(project / "models/fold-0.safetensors", network, settings, (64, 64))
    assert made_now() == 2
    assert made_now() == 0


def test_cut_outs_and_masks_are_cropped(project):
    photo = np.zeros((120, 200, 3), np.uint8)
    photo[30:90, 50:150] = 250
    (project / "car.png").write_bytes(encoded(photo, "PNG"))
    Image.new("RGB", (60, 40)).save(project / "dark.png")
    command = ("car.png", "dark.png", "--out", "cut", "--masks", "--format", "webp")
    for options, margin in (["--crop"], 5), (["--crop", "0"], 0):
        cut(project, *command, *options)
        shape = pixels_of(project / "cut/car_mask.png").shape
        assert pixels_of(project / "cut/car.webp").shape == (*shape, 4)
        # A pixel of the network is 3 pixels wide and 2 high.
        assert abs(np.array(shape) - (60 + 2 * margin, 100 + 2 * margin)).max() <= 3
        assert pixels_of(project / "cut/dark.webp").shape == (40, 60, 4)
    for margin in ("-1", "101", "nan"):
        assert "is no margin from 0 to 100 percent" in cut(project, *command, f"--crop={margin}", status=1)


def test_large_photos_wait_for_each_other(project, monkeypatch):
    """Of three threads, one works on a photo of 2000 pixels, and the others on photos of 1000."""
    (project / "sizes").mkdir()
    for number in range(12):
        Image.new("RGB", (50, 40 if number % 2 else 20), "white").save(project / f"sizes/{number}.png")
    at_once, seen, cut_one = [], [], cutout.cut

    def cut_slowly(photo, size, compute):
        at_once.append(photo[..., 0].size)
        seen.append((at_once.count(2000), len(at_once)))
        time.sleep(0.02)
        at_once.remove(photo[..., 0].size)
        return cut_one(photo, size, compute)

    monkeypatch.setattr(cutout, "cut", cut_slowly)
    monkeypatch.setattr(command, "LARGE", 1000)
    set_params(project, runtime_workers=3)
    assert counted(cut(project, "sizes", "--out", "cut")) == (12, 0)
    assert max(large for large, _ in seen) == 1, "never two of these"
    assert any(large and together > 1 for large, together in seen), "others beside it"


def test_cut_outs_go_neither_to_a_file_nor_to_a_folder_to_which_another_process_writes(project):
    assert "own/one.jpg is a file; --out takes a folder" in cut(project, "own", "--out", "own/one.jpg", status=1)
    with only_writer(project / "cut", ".cutout"):
        assert "is still writing; wait for it" in cut(project, "own", "--out", "cut", status=1)
    assert counted(cut(project, "own", "--out", "cut")) == (2, 0)


def test_any_folder_gets_cut_outs_and_nothing_else_whatever_its_files_are_called(project, tmp_path):
    """Names need not be text in any encoding, and a clone is not needed."""
    folder, name = tmp_path / "holiday", os.fsdecode(b"caf\xe9.png")
    folder.mkdir()
    Image.new("RGB", (60, 40)).save(folder / name)
    arguments = (".", "--out", "cut", "--model", str(project / "models/fold-0.safetensors"))
    environment = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": f"{ROOT}/src"}
    with start(folder, "cutout", *arguments, **environment) as process:
        shown, errors = process.communicate()
    assert process.returncode == 0, errors
    assert "no car found in:\n  caf\\udce9.png\n" in shown
    assert {path.name for path in folder.iterdir()} == {name, "cut"}
    assert set(made(folder / "cut")) == {name}


def test_ctrl_c_ends_at_once_and_leaves_no_half_a_cut_out(project):
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((8000, 6000)).save(project / "own/large.bmp")
    with start(project, "cutout", "own/large.bmp", "--out", "cut", "--format", "webp") as process:
        wait_until((project / "cut/.cutout.pid").exists, process)
        time.sleep(1)
        stopped = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert time.monotonic() - stopped < 2
    assert not made(project / "cut")
