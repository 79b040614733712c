"""The demo studio: invented cars in the exact format of Kaggle's Carvana Image Masking Challenge."""

from demo_studio.files import render, write
from demo_studio.identities import FIRST_TEST_CAR

__all__ = ["FIRST_TEST_CAR", "render", "write"]
