from itertools import groupby

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from carvana.data.archive import Archive
from carvana.data.photos import decode_mask
from carvana.masks import rle

MASKS = arrays(np.uint8, array_shapes(min_dims=2, max_dims=2, max_side=12), elements=st.integers(0, 1))


def encode(mask):
    return rle.to_text(rle.to_runs(mask)).decode()


def decode(text, height, width):
    return rle.to_mask(rle.from_text(text, height, width), height, width)


def plain_encode(mask):
    """Kaggle's definition, run by run."""
    numbers, start = [], 1
    for value, pixels in groupby(mask.flat):
        length = len(list(pixels))
        numbers += [start, length] if value else []
        start += length
    return " ".join(map(str, numbers))


def plain_decode(text, height, width):
    pixels = [0] * (height * width)
    numbers = [int(word) for word in text.split()]
    for start, length in zip(numbers[::2], numbers[1::2], strict=True):
        for number in range(start, start + length):
            pixels[number - 1] = 1
    return [pixels[row * width : (row + 1) * width] for row in range(height)]


@settings(deadline=None)
@given(MASKS)
@example(np.ones((1, 1), np.uint8))
@example(np.ones((1, 9), np.uint8))
@example(np.ones((9, 1), np.uint8))
def test_encode_and_decode_are_the_plain_definitions_and_undo_each_other(mask):
    text = encode(mask)
    assert text == plain_encode(mask)
    decoded = decode(text, *mask.shape)
    assert decoded.dtype == np.uint8
    assert decoded.tolist() == plain_decode(text, *mask.shape) == mask.tolist()


@pytest.mark.parametrize(
    ("pixels", "text"),
    [
        ([], ""),
        (range(1, 21), "1 20"),
        ([1, 2], "1 2"),  # petrosgk's encoder: "3"
        ([19, 20], "19 2"),  # petrosgk's: "19"; the first place's: "19 1"
        ([5, 6], "5 2"),  # over a row's end
        ([1, 20], "1 1 20 1"),
    ],
)
def test_corners(pixels, text):
    mask = np.zeros(20, np.uint8)
    mask[[pixel - 1 for pixel in pixels]] = 1
    assert encode(mask.reshape(4, 5)) == text
    assert decode(text, 4, 5).reshape(-1).tolist() == mask.tolist()


@pytest.mark.parametrize("mask", [np.eye(4, dtype=bool), np.eye(4, dtype=np.uint8) * 255, np.eye(8)[::2, ::2]])
def test_any_non_zero_pixel_is_car_whatever_the_type_and_strides(mask):
    assert encode(mask) == "1 1 6 1 11 1 16 1"


REFUSED = {
    "pairs": ["1 2 3"],
    "below 1": ["0 2", "3 0"],
    "not a positive whole number": ["-1 2", "1 -2", "1.5 2", "1e1 2", "1_0 2", "+1 2", "١ 2", "1,2", "nan"],
    "'one' is not": ["one 2"],
    "is not a text": [None, float("nan"), 12, b"1 1"],
    "leaves the picture": ["20 2", "21 1"],
    "larger than the picture": ["99999999999999999999 1"],
    "out of order or overlaps": ["5 2 1 2", "1 5 3 1", "1 2 1 2"],
}


@pytest.mark.parametrize(("text", "complaint"), [(text, each) for each, texts in REFUSED.items() for text in texts])
def test_decode_refuses(text, complaint):
    with pytest.raises(ValueError, match=complaint):
        decode(text, 4, 5)


@given(st.text(alphabet="0123456789 -+._e\n", max_size=12))
@example(" 1 2  3 1\n")  # runs that touch, and loose white space
def test_decode_gives_a_mask_or_a_value_error(text):
    try:
        mask = decode(text, 4, 5)
    except ValueError:
        return
    assert mask.tolist() == plain_decode(text, 4, 5)


def test_real_masks_survive(sample):
    with Archive(sample / "train_masks.zip") as archive:
        for name in archive.masks[::50]:
            mask = decode_mask(archive.read(name), name)
            assert np.array_equal(decode(encode(mask), *mask.shape), mask)
