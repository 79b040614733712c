"""The photos that an evaluation shows, and the pictures that are made of them."""

import io
from dataclasses import replace

import numpy as np
import pytest
import simplejpeg
from competition_files import CARS, picture
from PIL import Image
from test_scoring import scored

from carvana.base.params import Augment
from carvana.competition import HEIGHT, WIDTH, car_of, mask_of, view_of
from carvana.data.archive import Archive
from carvana.data.photos import decode_mask
from carvana.masks import rle
from carvana.results import examples, pictures, wrong_pixels
from carvana.results.scoring import Findings


def close(pixels, colour, within=12):
    return np.abs(pixels.astype(int) - colour).max(axis=-1) <= within


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
    missed, added = np.dot([pictures.MISSED, pictures.ADDED], (0.2126, 0.7152, 0.0722))
    assert missed < grey[0] - 20
    assert added > grey[1] + 5


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
    places = wrong_pixels.places(rle.to_runs(predicted), rle.to_runs(true), true)
    rows, columns = pictures.worst_spot(places)
    assert (y in range(HEIGHT)[rows], x in range(WIDTH)[columns]) == (True, True)
    assert (len(range(HEIGHT)[rows]), len(range(WIDTH)[columns])) == (256, 384)


def test_an_example_is_six_tiles_that_become_pictures_or_a_sheet():
    photo, mask = picture(1)
    guess = np.roll(mask, 9, axis=1)
    tiles = pictures.example(photo, rle.to_runs(guess), rle.to_runs(mask))
    assert [tile.shape for tile in tiles.values()] == 6 * [(256, 384, 3)]
    mistakes = tiles["missed (dark blue) and added (yellow)"]
    assert close(mistakes, pictures.MISSED, 60).any()
    assert close(mistakes, pictures.ADDED, 60).any()
    sheet = simplejpeg.decode_jpeg(pictures.sheet(tiles, 2, "test car"))
    assert sheet.shape == (3 * 256 + 2 * 6 + 40, 2 * 384 + 6, 3)
    assert np.abs(sheet[-200:, -384:].astype(int) - tiles["the same, missed and added"][-200:]).mean() < 4
    for text, each in pictures.encode(tiles).items():
        image = Image.open(io.BytesIO(each.webp))
        assert (image.format, image.size, each.width, each.height) == ("WEBP", (384, 256), 384, 256)
        assert np.abs(np.asarray(image).astype(int) - tiles[text]).mean() < 4


@pytest.mark.parametrize(("width", "columns"), [(240, 4), (512, 2), (384, 2), (100, 3)])
def test_two_sheets_fit_beside_each_other_on_a_screen(width, columns):
    tiles = {str(number): np.zeros((160, width, 3), np.uint8) for number in range(7)}
    _, across, _, _ = simplejpeg.decode_jpeg_header(pictures.sheet(tiles, columns))
    assert across == min(columns * (width + 6) - 6, across) <= 900


def test_two_hundred_real_predictions_are_less_than_10_mb_on_a_page(sample):
    sizes = []
    with Archive(sample / "train.zip") as photos, Archive(sample / "train_masks.zip") as masks:
        for name in photos.photos[::170]:
            mask = decode_mask(masks.read(mask_of(name)), name)
            guess = rle.to_runs(np.roll(mask, 5, axis=1))
            photo = simplejpeg.decode_jpeg(photos.read(name), "RGB")
            tiles = pictures.example(photo, guess, rle.to_runs(mask))
            sizes.append(sum(len(each.webp) for each in pictures.encode(tiles).values()))
    assert 200 * np.mean(sizes) * 4 / 3 < 10_000_000, "base64 writes three bytes as four"


def test_an_error_map_has_a_tile_a_view():
    wrong = np.zeros((2, 160, 240), np.float32)
    wrong[0, 100, 60:90] = 0.5
    wrong[1, 140, 60:90] = 0.5
    shown = pictures.error_map({1: (wrong, np.zeros((160, 240), np.float32)), 9: (wrong * 0, wrong[0])})
    assert list(shown) == ["view 1", "view 9"]
    assert close(shown["view 1"][100, 60:90], pictures.MISSED).all()
    assert close(shown["view 1"][140, 60:90], pictures.ADDED).all()
    assert (shown["view 1"][120:, :60] == shown["view 9"][0, 0]).all(), "no car, and nothing wrong"
    assert (shown["view 9"][100, 60:90] < shown["view 9"][0, 0]).all(), "where cars are"


def test_a_mask_of_another_photo_is_seen_in_the_training_samples():
    photos = np.full((2, 64, 96, 3), 50, np.uint8)
    masks = np.zeros((2, 64, 96), np.uint8)
    masks[0, :, :48] = 255
    shown = pictures.training_samples(photos, masks, ["a", "b"])
    middle = 256 * 64 // 96 // 2
    assert [tile.shape for tile in shown.values()] == 2 * [(256 * 64 // 96, 512, 3)]
    assert close(shown["a"][middle, : 256 + 120], (50, 50, 50)).all()
    assert close(shown["a"][middle, 256 + 136 :], (255, 0, 255)).all()
    assert close(shown["b"][middle, 256:], (255, 0, 255)).all()


def test_a_training_batch_is_of_the_cars_asked_for_and_every_photo_has_its_own_mask(small_cache):
    unchanged = Augment(**dict.fromkeys(Augment.model_fields, 0.0))
    shown, masks, names = examples.training_batch(small_cache, set(CARS[:3]), unchanged, 0)
    assert len(set(names)) == 6
    assert {car_of(name) for name in names} == set(CARS[:3])
    rows = np.array([small_cache.names.index(name) for name in names])
    np.testing.assert_array_equal(shown, small_cache.read_photos(rows))
    np.testing.assert_array_equal(masks, small_cache.read_masks(rows))
    mirrored = examples.training_batch(small_cache, set(CARS[:3]), unchanged.model_copy(update={"flip": 1.0}), 0)
    np.testing.assert_array_equal(mirrored[0], shown[:, :, ::-1])
    np.testing.assert_array_equal(mirrored[1], masks[:, :, ::-1])


def findings_of(seeds):
    """Findings of a validation photo for each seed, which decides how well it is predicted, and a test photo."""
    validation = [scored(seed, "validation", f"{place:02d}")[2] for place, seed in enumerate(seeds, start=1)]
    return Findings([*validation, scored(3, "test")[2]], {})


def test_the_worst_come_first_then_the_best_and_no_photo_twice():
    findings = findings_of(range(3))
    dice = sorted(score.dice for score in findings.by_role["validation"])
    chosen = examples.extremes(findings, 1, 4)
    shown = {heading: [score.dice for score in scores] for heading, scores in chosen.items() if scores}
    assert shown == {
        "The worst photos of validation cars": dice[:1],
        "The best photos of validation cars": dice[:0:-1],
        "The worst photos of test cars": [findings.by_role["test"][0].dice],
    }
    assert not any(examples.extremes(findings, 0, 0).values())


def test_two_experiments_show_the_same_photos():
    one, other = (examples.same(findings_of(seeds)) for seeds in (range(7), reversed(range(7))))
    assert [score.image for score in one] == [score.image for score in other]
    assert [score.role for score in one] == 4 * ["validation"] + ["test"]
    assert {score.dice for score in one} != {score.dice for score in other}


def test_shares_are_means_over_the_photos_of_a_view(small_cache):
    """In the findings of a model that finds no car."""
    true = dict(small_cache.each_truth())
    scores = [replace(scored()[2], image=name, view=view_of(name)) for name in true]
    shares = examples.shares(Findings(scores, {name: (runs[:0], runs) for name, runs in true.items()}), small_cache)
    assert list(shares) == [1, 2]
    for view, (wrong, covered) in shares.items():
        pixels = np.mean([runs[:, 1].sum() for name, runs in true.items() if view_of(name) == view])
        assert wrong[0].sum() * 64 == pytest.approx(pixels, rel=1e-4)
        assert not wrong[1].any()
        assert covered.shape == wrong.shape[1:] == (160, 240)
        assert covered.mean() == pytest.approx(pixels / (1280 * 1918), abs=0.01)
