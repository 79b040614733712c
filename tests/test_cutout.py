"""A car cut out of the pixels of a photo; tests/test_cutout_stage.py has the command."""

import os
import subprocess
import sys

import numpy as np
import pytest
from competition_files import picture
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from PIL import Image
from projects import ROOT

from carvana.base.errors import UserError
from carvana.cutouts import cutout
from carvana.cutouts.jobs import Job
from carvana.cutouts.predictor import Predictor
from carvana.data.photos import resize_by_area

SIZE = (64, 96)


def bright(photos):
    """A network that calls bright pixels car."""
    return (photos.mean(axis=3).astype(np.float32) - 128) / 8


def alpha_of(photo, size, compute):
    return Predictor(compute, size).mask(photo)


def opaque(photo):
    return np.dstack([photo, np.full(photo.shape[:2], 255, np.uint8)])


@given(*[st.integers(20, 400)] * 2, *[st.tuples(*[st.floats(*ends)] * 2) for ends in ((0.05, 0.4), (0.6, 0.95))])
@settings(max_examples=60, deadline=None)
def test_the_mask_lies_where_the_car_is_whatever_the_photos_shape(height, width, first, last):
    photo = np.zeros((height, width, 3), np.uint8)
    (top, left), (bottom, right) = ((round(y * height), round(x * width)) for y, x in (first, last))
    photo[top:bottom, left:right] = 255
    seen = []
    alpha = alpha_of(photo, SIZE, lambda photos: (seen.append(photos.shape), bright(photos))[1])
    assert alpha.shape == (height, width)
    assert seen == [(1, *SIZE, 3)]
    # A pixel of the network covers so many of the photo's. Of a narrower car than two it may see none.
    pixel = max(height, width * 2 / 3) / SIZE[0] + 1
    assume(min(bottom - top, right - left) >= 2 * (pixel - 1))
    rows, columns = np.nonzero(alpha >= 128)
    found = (rows.min(), rows.max() + 1, columns.min(), columns.max() + 1)
    assert abs(np.array(found) - (top, bottom, left, right)).max() <= pixel


def test_alpha_is_0_or_255_where_the_network_is_all_but_sure_and_soft_and_even_where_the_photo_has_no_edge():
    photo = np.zeros((128, 192, 3), np.uint8)
    photo[:, 96:] = 255
    alpha = alpha_of(photo, SIZE, lambda photos: np.where(photos[..., 0] > 128, 4.5, -4.5).astype(np.float32))
    assert np.array_equal(alpha, photo[..., 0])
    logits = np.repeat(np.where(np.arange(96) < 48, -1, 1)[None, None], 64, axis=1).astype(np.float32)
    edge = alpha_of(np.full_like(photo, 99), SIZE, lambda photos: logits)[64, 94:98].astype(int)
    assert 0 <= edge[0] < edge[1] < edge[2] < edge[3] <= 255
    assert abs(edge + edge[::-1] - 255).max() <= 1


def test_a_kaggle_photo_fills_the_network():
    photo = picture(0)[0]
    seen = []
    alpha_of(photo, (128, 128), lambda photos: (seen.append(photos[0]), bright(photos))[1])
    assert np.array_equal(seen[0], resize_by_area(photo, (128, 128)))


def test_a_cut_out_is_the_photo_where_the_car_is_and_the_background_elsewhere():
    photo = np.full((4, 6, 3), 200, np.uint8)
    alpha = np.zeros((4, 6), np.uint8)
    alpha[:, :2], alpha[:, 2] = 255, 128
    cut = np.asarray(cutout.compose(opaque(photo), alpha, None))
    assert (cut[..., :3] == photo).all()
    assert (cut[..., 3] == alpha).all()
    on_blue = np.asarray(cutout.compose(opaque(photo), alpha, cutout.read_background("#000064")))
    assert (on_blue[:, 0] == 200).all()
    assert (on_blue[:, 5] == (0, 0, 100)).all()
    assert (on_blue[:, 2] == (100, 100, 150)).all()


@pytest.mark.parametrize(("height", "size"), [(160, SIZE), (160, (1280, 1920)), (320, (1280, 1920))])
def test_the_outline_has_the_car_s_colour_alone_and_a_speck_is_removed(height, size):
    """Also if the network sees more pixels than the photo has."""
    rows, columns = np.mgrid[:height, : height * 3 // 2]
    distance = np.hypot(rows - height / 2, columns - height * 3 / 4)
    share = np.clip(height / 3 + 0.5 - distance, 0, 1)[..., None]
    share[4:12, 4:12] = 1
    photo = opaque(np.rint(share * (200, 30, 30) + (1 - share) * (230, 230, 230)).astype(np.uint8))
    alpha = cutout.cut(photo, size, lambda photos: (130 - photos[..., 1].astype(np.float32)) / 10)
    assert not alpha[:16, :16].any()
    assert alpha[distance < height / 3 - 4].min() == 255
    assert abs(photo[alpha > 0][:, :3].astype(int) - (200, 30, 30)).max() <= 12


def test_what_is_transparent_stays_so_and_its_hidden_colour_never_shows():
    photo = np.full((64, 96, 4), (250, 250, 250, 255), np.uint8)
    photo[:, 48:72] = (250, 250, 250, 128)
    photo[:, 72:] = (255, 0, 255, 0)
    seen = []
    car = np.full((1, *SIZE), 20, np.float32)
    alpha = cutout.cut(photo.copy(), SIZE, lambda photos: (seen.append(photos[0]), car)[1])
    assert (alpha == photo[..., 3]).all()
    assert (seen[0][:, 73:] == 255).all(), "the network sees it on white"
    assert abs(seen[0][:, 50:70].astype(int) - 252).max() <= 1
    on_black = np.asarray(cutout.compose(photo.copy(), alpha, Image.new("RGB", (1, 1))))
    assert (on_black[:, 72:] == 0).all()
    assert abs(on_black[:, 48:72].astype(int) - 125).max() <= 1


@given(st.integers(0, 39), st.integers(0, 59), st.integers(1, 40), st.integers(1, 60), st.floats(0, 100))
@settings(max_examples=100, deadline=None)
def test_a_crop_holds_the_car_and_the_margin_where_the_photo_has_it(top, left, height, width, margin):
    bottom, right = min(top + height, 40), min(left + width, 60)
    alpha = np.zeros((40, 60), np.uint8)
    alpha[top:bottom, left:right] = 1
    photo = np.random.default_rng(0).integers(0, 256, (40, 60, 4), dtype=np.uint8)
    border = round(margin / 100 * max(bottom - top, right - left))
    expected = photo[max(top - border, 0) : bottom + border, max(left - border, 0) : right + border]
    cropped, its_alpha = cutout.crop(photo, alpha, margin)
    assert np.array_equal(cropped, expected)
    assert its_alpha.sum() == alpha.sum()


def test_a_background_fills_and_keeps_its_middle(tmp_path):
    wide = np.zeros((10, 40, 3), np.uint8)
    wide[:, 15:25] = 250
    cutout.save(tmp_path / "wide.png", Image.fromarray(wide), "")
    behind = cutout.read_background(str(tmp_path / "wide.png"))
    for _ in range(2):
        empty = np.zeros((20, 20), np.uint8)
        filled = np.asarray(cutout.compose(opaque(np.zeros((20, 20, 3), np.uint8)), empty, behind))
        assert (filled[:, 2:-2] > 240).all()
        # The background stays for the next photo.
        assert np.array_equal(np.asarray(behind), wide)
    with pytest.raises(UserError, match=r"neither none nor a colour .* nor a picture"):
        cutout.read_background("nothing.png")


@pytest.mark.parametrize(("side", "has_car"), [(6, False), (7, True)])
def test_a_speck_is_no_car(tmp_path, side, has_car):
    """The photo has 40,000 pixels, and 0.1 % of them are 40."""
    photo = np.zeros((200, 200, 3), np.uint8)
    photo[80 : 80 + side, 90 : 90 + side] = 255
    Image.fromarray(photo).save(tmp_path / "photo.png")
    path = tmp_path / "cut.png"
    assert cutout.cut_file(Job(tmp_path / "photo.png", [path], ""), (300, 300), bright, None, margin=0) == has_car
    with Image.open(path) as cut:
        assert cut.size == ((side, side) if has_car else (200, 200))


MEASURE = r"""
import re
from pathlib import Path
import numpy as np
from carvana.cutouts import cutout
from carvana.cutouts.jobs import Job

def memory(key):
    return int(re.search(rf"{key}:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024

def work(path, background):
    behind = cutout.read_background(background)
    compute = lambda photos: photos[..., 0].astype(np.float32) - 128
    cutout.cut_file(Job(Path(path), [Path("cut.png"), Path("mask.png")], ""), (64, 64), compute, behind, None)

work("small.png", "none")
before = memory("VmRSS")
for background in ("none", "white"):
    work("large.png", background)
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_photo_takes_at_most_12_bytes_a_pixel(tmp_path):
    Image.new("RGB", (64, 64)).save(tmp_path / "small.png")
    Image.new("RGB", (6000, 4000), "gray").save(tmp_path / "large.png")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    measured = subprocess.check_output([sys.executable, "-c", MEASURE], cwd=tmp_path, env=environment)
    assert int(measured) < 12 * 6000 * 4000


def test_no_webp_is_larger_than_the_format_allows(tmp_path):
    with pytest.raises(UserError, match="wider or higher than WebP allows"):
        cutout.save(tmp_path / "a.webp", Image.new("RGB", (16384, 1)), "")
    cutout.save(tmp_path / "a.webp", Image.new("RGB", (16383, 1)), "")
