import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from projects import ROOT

from carvana.results import charts

WRONG = {"wrong": 100, "missed": 40, "within_1": 20, "within_2": 50, "within_5": 80, "covered": 0.2}
SCORES = [
    {"car": car, "view": view, "make": make, "role": role, "dice": 0.99 - 0.001 * view} | WRONG
    for car, make, role in (("0cdf5b5d0ce1", "Kia & <Co>", "test"), ("fffe00001111", "", "validation"))
    for view in range(1, 17)
]
DICE = (0.8, 0.99, 0.985)
CURVES = [
    {"epoch": epoch, "fold": fold, "learning_rate": "0.004", "curve": curve, "loss": loss, "dice": DICE[epoch - 1]}
    for epoch in (1, 2, 3)
    for fold in (0, 1)
    for curve, loss in (("training", 0.5), ("validation at full size", None))
]
POINTS = [("fast & <small>", 300.0, 0.98), ("slow", 2.0, 0.996), ("slower and worse", 1.0, 0.99)]
ROWS = {
    "dice_by_epoch": CURVES,
    "loss_by_epoch": CURVES,
    "frontier": pd.DataFrame(POINTS, columns=["label", "photos_per_second", "dice"]),
}
SAYS = {
    "areas": ["16", "share of the picture that is car (%)"],
    "makes": ["Kia & <Co>", "unknown", "test cars", "fold validation"],
    "dice_by_epoch": ["fold 1, best: epoch 2 (0.9900)", "validation at full size", "epoch", "learning rate", "0.97"],
    "loss_by_epoch": ["fold 1", "training", "epoch"],
    "distribution": ["share of the photos", "test cars", "validation cars"],
    "by_view": ["16", "test cars", "Dice at 1918×1280"],
    "worst_cars": ["0cdf5b5d0ce1", "fffe00001111"],
    "by_make": ["Kia & <Co>, 1 car", "unknown, 1 car"],
    "frontier": [*(label for label, _, _ in POINTS), "photos per second, prediction", "0.99", "100"],
    "outline": ["within 1 px, test cars", "20%", "80%"],
}


@pytest.mark.parametrize("name", sorted(path.stem for path in (ROOT / "src/carvana/results/charts").iterdir()))
def test_a_chart_says_what_it_shows_in_the_colour_of_the_page(name):
    chart = charts.draw(name, pd.DataFrame(ROWS.get(name, SCORES)))
    assert chart.caption.endswith(".")
    svg = chart.svg
    root = ElementTree.fromstring(svg)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for expected in SAYS[name]:
        assert expected in texts
    fills = set(re.findall(r'<text[^>]*fill="([^"]*)"', svg))
    assert fills <= {"currentColor", *charts._COLOURS}
    assert "NaN" not in svg
    assert int(root.get("width")) <= 345, "as wide as a phone"
    for inside in re.findall(r'id="([^"]*)"', svg):
        assert inside.startswith(f"{name}-"), "several charts share a page"


def luminance(colour):
    """Relative luminance of a colour `#rrggbb`, by WCAG 2."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4) @ (0.2126, 0.7152, 0.0722)


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
def test_every_colour_is_seen_on_light_and_on_dark_pages(page):
    for colour in charts._COLOURS:
        lower, higher = sorted([luminance(colour), luminance(page)])
        assert (higher + 0.05) / (lower + 0.05) >= 3, colour


def test_the_worst_cars_are_fifteen_of_each_role():
    rows = [
        {"car": f"{role}{car:02d}", "role": role, "dice": 0.9 + car / 1000}
        for role in ("test", "validation")
        for car in range(20)
        for _ in range(2)
    ]
    svg = charts.draw("worst_cars", pd.DataFrame(rows)).svg
    for role in ("test", "validation"):
        shown = sorted(re.findall(rf">({role}[0-9]{{2}})<", svg))
        assert shown == [f"{role}{car:02d}" for car in range(15)]


def draw_frontier(points):
    """The places (x, y) and colours of the points, in their order, and the sizes of the labels 0, 1, …."""
    rows = [(str(number), *point) for number, point in enumerate(points)]
    svg = charts.draw("frontier", pd.DataFrame(rows, columns=["label", "photos_per_second", "dice"])).svg
    drawn = re.findall(r'<path transform="translate\(([-\d.]+),([-\d.]+)\)"[^>]* fill="([^"]*)"', svg)
    found = re.findall(r'font-size="(\d+)px" fill="currentColor">(\d)<', svg[svg.index("mark-symbol") :])
    labels = {label: size for size, label in found}
    return [(float(x), float(y), colour) for x, y, colour in drawn], labels


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.5, 0.7, 0.8, 0.9, 1.0])), min_size=1, max_size=9))
def test_the_frontier_is_what_nothing_else_beats(points):
    drawn, _ = draw_frontier(points)
    assert len(drawn) == len(points)
    for point, (_, _, colour) in zip(points, drawn, strict=True):
        better = any(other[0] >= point[0] and other[1] >= point[1] and other != point for other in points)
        assert colour == ("#0072b2" if better else "#d55e00")


def test_both_scales_of_the_frontier_show_ratios():
    """From 10 photos a second to 20 it is as far as from 20 to 40, and from 0.98 to 0.99 as far as on to 0.995."""
    drawn, _ = draw_frontier([(40, 0.98), (20, 0.99), (10, 0.995)])
    (fast, low, _), (medium, middle, _), (slow, high, _) = drawn
    assert fast - medium == pytest.approx(medium - slow)
    assert low - middle == pytest.approx(middle - high)
    assert fast > slow
    assert low > high, "y leads down in an SVG"


def test_a_label_stands_below_where_another_would_cover_it():
    _, labels = draw_frontier([(100, 0.99), (105, 0.9899), (300, 0.97), (50, 0.5)])
    assert labels == {"0": "12", "1": "9", "2": "12", "3": "9"}
