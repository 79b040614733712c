import io

import numpy as np
import pytest
import simplejpeg
from conftest import picture
from PIL import Image

from carvana.competition import HEIGHT, WIDTH, mask_of
from carvana.data.archive import Archive
from carvana.data.photos import decode_mask
from carvana.masks import rle
from carvana.results import pictures, wrong_pixels


def close(pixels, colour, within=12):
    return np.abs(pixels.astype(int) - colour).max(axis=-1) <= within


def brightness(colour):
    return np.dot(colour, (0.2126, 0.7152, 0.0722))


def test_missed_and_added_pixels_have_colours_that_differ_in_lightness():
    photo = np.full((20, 30, 3), 100, np.uint8)
    true, predicted = np.zeros((2, 20, 30), np.uint8)
    true[:, 5:20] = 1
    predicted[:, 10:25] = 1
    shown = pictures.show_mistakes(photo, predicted, true)
    assert close(shown[:, 5:10], pictures.MISSED).all()
    assert close(shown[:, 20:25], pictures.ADDED).all()
    assert (np.ptp(shown[:, 10:20].reshape(-1, 3), axis=1) == 0).all(), "the rest is grey"
    grey = [0.45 * value + 75 for value in (0, 255)]
    assert brightness(pictures.MISSED) < grey[0] - 20
    assert brightness(pictures.ADDED) > grey[1] + 5


def test_a_thin_line_of_mistakes_is_still_seen_when_made_small():
    true = np.zeros((1280, 1918), np.uint8)
    true[:, 900:] = 1
    predicted = true.copy()
    predicted[:, 898:900] = 1
    photo = np.full((256, 384, 3), 128, np.uint8)
    shown = pictures.show_mistakes(photo, predicted, true)
    # Two of five columns are wrong.
    assert (shown[:, 179:181, 0] - shown[:, 179:181, 2].astype(int)).max(axis=1).min() > 80


@pytest.mark.parametrize("centre", [(640, 960), (3, 3), (1279, 1917)])
def test_the_worst_spot_holds_the_most_mistakes(centre):
    true, predicted = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    y, x = centre
    predicted[max(y - 30, 0) : y + 30, max(x - 30, 0) : x + 30] = 1
    predicted[300:310, 400:410] = 1
    found = wrong_pixels.find(rle.to_runs(predicted), rle.to_runs(true), true)
    left, top = pictures.worst_spot(found.places)
    assert left <= x < left + 384
    assert top <= y < top + 256
    assert 0 <= left <= WIDTH - 384
    assert 0 <= top <= HEIGHT - 256


def test_an_example_is_six_labelled_tiles_and_encodes():
    photo, mask = picture(1)
    guess = np.roll(mask, 9, axis=1)
    shown = pictures.example(photo, rle.to_runs(guess), rle.to_runs(mask), "test worst 01")
    assert shown.shape == (3 * 256 + 2 * 6 + 40, 2 * 384 + 6, 3)
    assert close(shown[40:296], pictures.MISSED, 60).any()
    assert close(shown[40:296], pictures.ADDED, 60).any()
    for data, kind in ((pictures.jpeg(shown), "JPEG"), (pictures.webp(shown), "WEBP")):
        image = Image.open(io.BytesIO(data))
        assert image.format == kind
        assert image.size == shown.shape[1::-1]
        assert np.abs(np.asarray(image).astype(int) - shown).mean() < 4


def test_two_hundred_real_predictions_are_less_than_10_mb_on_a_page(sample):
    sizes = []
    with Archive(sample / "train.zip") as photos, Archive(sample / "train_masks.zip") as masks:
        for name in photos.photos[::170]:
            mask = decode_mask(masks.read(mask_of(name)), name)
            guess = rle.to_runs(np.roll(mask, 5, axis=1))
            photo = simplejpeg.decode_jpeg(photos.read(name), "RGB")
            sizes.append(len(pictures.webp(pictures.example(photo, guess, rle.to_runs(mask), name))))
    assert 200 * np.mean(sizes) * 4 / 3 < 10_000_000, "base64 writes three bytes as four"


def test_an_error_map_has_a_tile_a_view():
    wrong = np.zeros((2, 160, 240), np.float32)
    wrong[0, 100, 60:90] = 0.5
    wrong[1, 140, 60:90] = 0.5
    shown = pictures.error_map({1: (wrong, np.zeros((160, 240), np.float32)), 9: (wrong * 0, wrong[0])})
    assert shown.shape == (160, 4 * 246 - 6, 3)
    assert close(shown[100, 60:90], pictures.MISSED).all()
    assert close(shown[140, 60:90], pictures.ADDED).all()
    assert (shown[120:, :60] == 255).all()


def test_a_mask_of_another_photo_is_seen_in_the_training_samples():
    photos = np.full((2, 64, 96, 3), 50, np.uint8)
    masks = np.zeros((2, 64, 96), np.uint8)
    masks[0, :, :48] = 255
    shown = pictures.training_samples(photos, masks, ["a", "b"])
    height, step = 256 * 64 // 96, 262
    assert shown.shape[:2] == (height, 4 * step - 6)
    assert close(shown[height // 2, step : step + 120], (50, 50, 50)).all()
    assert close(shown[height // 2, step + 136 : step + 256], (255, 0, 255)).all()
    assert close(shown[height // 2, 3 * step : 3 * step + 256], (255, 0, 255)).all()
