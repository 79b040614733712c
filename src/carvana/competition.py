"""Kaggle's Carvana Image Masking Challenge: its name, sizes, names of files, and the form of a submission.

Another competition would begin by changing this file.
"""

import re

KAGGLE_NAME = "carvana-image-masking-challenge"  # as it stands in the competition's address
HEIGHT, WIDTH = 1280, 1918  # pixels of every photo and every mask
CARS, TEST_PHOTOS = 318, 100_064  # cars with masks, and photos to be predicted
VIEWS = range(1, 17)  # the photos of a car: it is turned by 22.5° from each to the next
SUBMISSION_HEADER = ["img", "rle_mask"]

_CAR = "[0-9a-f]{12}"


def is_car(text: str) -> bool:
    """Returns whether a text is the id of a car: 12 hexadecimal digits in lower case."""
    return re.fullmatch(_CAR, text) is not None


def is_photo(text: str) -> bool:
    """Returns whether a text is the name of a photo, `<car>_<view>.jpg` with a view from 01 to 16."""
    return re.fullmatch(rf"{_CAR}_(0[1-9]|1[0-6])\.jpg", text) is not None


def car_of(photo: str) -> str:
    """Returns the car `0cdf5b5d0ce1` of a photo `0cdf5b5d0ce1_01.jpg`. An id is a string, even if it is all digits."""
    return photo.split("_", 1)[0]


def view_of(photo: str) -> int:
    """Returns the view, 1 to 16, of a photo `0cdf5b5d0ce1_01.jpg`."""
    return int(photo.removesuffix(".jpg").split("_", 1)[1])


def mask_of(photo: str) -> str:
    """Returns the mask's name `…_01_mask.gif` of a photo `…_01.jpg`."""
    return photo.removesuffix(".jpg") + "_mask.gif"


def photo_of(mask: str) -> str:
    """Returns the photo's name `…_01.jpg` of a mask `…_01_mask.gif`."""
    return mask.removesuffix("_mask.gif") + ".jpg"
