"""The benchmark that asks where networks are wrong, and whether a car's masks have a style."""

import numpy as np
import pytest

from benchmarks import border
from carvana.competition import HEIGHT, WIDTH

LEFT, RIGHT, TOP, BOTTOM = 600, 1300, 400, 900


def logits():
    """Logits at full size that are the distance in pixels from a rectangle's sides, positive inside."""
    down, right = np.mgrid[:HEIGHT, :WIDTH] + 0.5
    sides = (right - LEFT, RIGHT - right, down - TOP, BOTTOM - down)
    return np.minimum.reduce(sides).astype(np.float32)


def rectangle(top):
    """The mask of a car whose annotator draws its top in row `top`."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top:BOTTOM, LEFT:RIGHT] = True
    return mask


@pytest.fixture(scope="module")
def studies():
    """Two views each of three cars: one annotator draws the top 4 pixels higher, one 2 lower, one as predicted."""
    tops = {"low": TOP + 2, "same": TOP, "tall": TOP - 4}
    views = [(f"{car}_{view:02}.jpg", top) for car, top in tops.items() for view in (1, 2)]
    return {name: border.study(name, "test", logits(), rectangle(top)) for name, top in views}


def test_wrong_pixels_are_counted_by_place_and_distance(studies):
    names = ("tall_01.jpg", "low_01.jpg", "same_01.jpg")
    missed, added = (studies[name] for name in names[:2])
    width = RIGHT - LEFT
    # Rows beside the outline are in the band up to 1 pixel, the second in that up to 2, the third and fourth up to 4.
    top = border.PLACES.index("top")
    assert np.abs(missed.missed[top] - np.array([1, 1, 2, 0, 0]) * width).max() <= 8  # corners are ends, too
    assert missed.missed.sum() == 4 * width
    assert added.added.sum() == 2 * width
    assert not (missed.added.any() or added.missed.any() or studies["same_01.jpg"].added.any())


def test_dice_is_that_of_the_masks(studies):
    zero = np.full(len(border.PLACES), len(border.LEVELS) // 2)
    found, true = rectangle(TOP), rectangle(TOP - 4)
    assert studies["tall_01.jpg"].dice(zero) == pytest.approx(2 * (found & true).sum() / (found.sum() + true.sum()))


def test_the_style_of_a_car_is_known_by_its_other_views_alone(studies):
    dice = border.by_style(list(studies.values())).groupby("car").mean(numeric_only=True)
    assert (dice.loc[["tall", "low"], "other views"] > dice.loc[["tall", "low"], "0.5"] + 0.001).all()
    assert (dice["other views"] == dice["itself"]).all()
    assert (dice["other cars"] <= dice["itself"]).all()
    assert dice.loc["same", "0.5"] == 1


def test_the_places_of_a_car():
    places = border.places_of(rectangle(TOP))
    middle, centre = (LEFT + RIGHT) // 2, (TOP + BOTTOM) // 2
    points = {"top": (TOP - 9, middle), "ends": (centre, LEFT + 9), "tyres": (BOTTOM + 9, middle)}
    assert {name: border.PLACES[places[point]] for name, point in points.items()} == {name: name for name in points}
