"""The demo studio: invented cars in the exact format of Kaggle's Carvana Image Masking Challenge."""

from carvana.demo.files import render, write
from carvana.demo.identities import FIRST_TEST_CAR

__all__ = ["FIRST_TEST_CAR", "render", "write"]
