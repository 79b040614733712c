import cv2
import numpy as np
import pytest
import simplejpeg
from competition_files import encoded, gif, jpeg, picture
from hypothesis import example, given, settings
from hypothesis import strategies as st

from carvana.base.errors import UserError
from carvana.competition import HEIGHT, WIDTH, mask_of
from carvana.data import photos
from carvana.data.archive import Archive

CAR, MASK = picture(3)
PHOTO = jpeg(CAR)
HALF = len(PHOTO) // 2
HOLED = PHOTO[:HALF] + b"\xff" * 60 + PHOTO[HALF + 60 :]


def exact(data, size):
    """Full decoding and area averaging: the slow reference."""
    return cv2.resize(simplejpeg.decode_jpeg(data), size[::-1], interpolation=cv2.INTER_AREA)


def psnr(one, other):
    return 10 * np.log10(255**2 / np.mean((one.astype(float) - other) ** 2))


@pytest.mark.parametrize("size", [(64, 64), (128, 128), (256, 384), (512, 512), (1024, 1024), (1280, 1920)])
def test_reduced_decoding_is_near_the_full_one(size):
    small = photos.decode_photo(PHOTO, "a.jpg", size)
    assert (small.shape, small.dtype) == ((*size, 3), np.uint8)
    assert psnr(small, exact(PHOTO, size)) > 33


def test_photo_and_mask_lie_on_each_other():
    """The right edge of a dark bar is found at the same column of both, on average over many near the border.

    Decoded at 1/8, the photo has 240 columns where 239.75 are meant: unheeded, that shifts the last column of
    128 by 0.13.
    """
    shifts = {128: [], 256: [], 512: [], 1024: []}
    for column in range(1700, 1820, 4):
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[:, :column] = 1
        photo = jpeg(np.repeat(np.where(mask, 40, 200).astype(np.uint8)[..., None], 3, axis=2))
        for side, found in shifts.items():
            # From 3/4 of the width on, and only as deep as JPEG left the two greys.
            rows = photos.decode_photo(photo, "a.jpg", (side, side))[:, side * 3 // 4 :].mean(axis=(0, 2))
            in_photo = ((rows[-1] - rows) / (rows[-1] - rows[0])).sum()
            in_mask = (photos.soften(mask, (side, side))[:, side * 3 // 4 :].mean(axis=0) / 255).sum()
            found.append(in_photo - in_mask)
    for side, found in shifts.items():
        assert abs(np.mean(found)) < 0.05, side


@pytest.mark.parametrize("data", [b"", b"text", PHOTO[:HALF], PHOTO[:-2], HOLED], ids=len)
def test_a_damaged_photo_is_named(data):
    with pytest.raises(UserError, match=r"a\.jpg is not a complete JPEG"):
        photos.decode_photo(data, "a.jpg", (128, 128))


def test_a_photo_or_mask_of_another_size_is_named():
    with pytest.raises(UserError, match=r"a\.jpg is 640×480; every photo and mask must be 1918×1280"):
        photos.decode_photo(jpeg(CAR[:480, :640]), "a.jpg", (128, 128))
    with pytest.raises(UserError, match=r"a\.gif is 20×10"):
        photos.decode_mask(gif(MASK[:10, :20]), "a.gif")


@pytest.mark.parametrize("top", [1, 255])
@pytest.mark.parametrize("mask", [MASK, MASK * 0, MASK * 0 + 1], ids=["car", "empty", "full"])
def test_mask_values_0_1_and_0_255_are_the_same_mask(mask, top):
    assert np.array_equal(photos.decode_mask(gif(mask * np.uint8(top)), "a.gif"), mask)


@pytest.mark.parametrize("values", [(0, 2), (0, 1, 255), (0, 128), (0, 1, 2)])
def test_other_mask_values_are_named(values):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[: len(values), 0] = values
    with pytest.raises(UserError, match=rf"a\.gif has the values {', '.join(map(str, values))}"):
        photos.decode_mask(gif(mask), "a.gif")


@pytest.mark.parametrize("data", [b"", gif(MASK)[:2000], encoded(MASK, "EPS"), encoded(MASK, "TIFF")], ids=len)
def test_a_mask_that_is_damaged_or_of_another_kind_is_named(data):
    with pytest.raises(UserError, match=r"a\.gif is not a complete mask"):
        photos.decode_mask(data, "a.gif")


def shares(count, into):
    """How much each of `into` equal parts of a side has of each of `count` pixels, float32 [into, count]."""
    parts, pixels = np.arange(into + 1) * count / into, np.arange(count + 1)
    overlap = np.minimum(parts[1:, None], pixels[None, 1:]) - np.maximum(parts[:-1, None], pixels[None, :-1])
    return (np.maximum(overlap, 0) * into / count).astype(np.float32)


SIDES = st.integers(1, 64).map(lambda times: 32 * times)


@settings(max_examples=10, deadline=None)
@given(size=st.tuples(SIDES, SIDES), seed=st.integers(0, 2**32))
@example(size=(2048, 256), seed=0)
@example(size=(256, 2048), seed=0)
@example(size=(1280, 1920), seed=0)
@example(size=(2048, 2048), seed=0)
def test_soft_masks_are_means_over_areas_at_every_size(size, seed):
    mask = np.random.default_rng(seed).integers(0, 2, (HEIGHT, WIDTH), dtype=np.uint8)
    mean = 255 * shares(HEIGHT, size[0]) @ mask @ shares(WIDTH, size[1]).T
    soft = photos.soften(mask, size)
    assert soft.dtype == np.uint8
    assert np.abs(soft - mean).max() < 0.501, "rounded once"
    if size[0] <= HEIGHT and size[1] <= WIDTH:
        assert np.array_equal(soft, cv2.resize(mask * 255, size[::-1], interpolation=cv2.INTER_AREA))


@given(st.tuples(*[st.integers(1, 40)] * 4), st.integers(0, 2**32))
def test_colour_pictures_are_resized_by_area(sides, seed):
    picture = np.random.default_rng(seed).integers(0, 256, (*sides[:2], 3), dtype=np.uint8)
    down, across = shares(sides[0], sides[2]), shares(sides[1], sides[3])
    mean = np.einsum("ih,hwc,jw->ijc", down, picture, across)
    assert np.abs(photos.resize_by_area(picture, sides[2:]) - mean).max() < 0.501


def test_real_photos(sample):
    with Archive(sample / "train.zip") as archive, Archive(sample / "train_masks.zip") as masks:
        for name in archive.photos[::127]:
            data = archive.read(name)
            for side, least in ((128, 36), (256, 38), (512, 40), (1024, 44)):
                assert psnr(photos.decode_photo(data, name, (side, side)), exact(data, (side, side))) > least
            mask = photos.decode_mask(masks.read(mask_of(name)), name)
            assert 0.05 < mask.mean() < 0.4
