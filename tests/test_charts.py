import re
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from carvana.results import charts

SCORES = [
    {
        "image": f"{car}_{view:02d}.jpg",
        "car": car,
        "view": view,
        "make": make,
        "role": role,
        "dice": 0.99 - 0.001 * view,
        "wrong": 100,
        "missed": 40,
        "within_1": 20,
        "within_2": 50,
        "within_5": 80,
        "covered": 0.2,
    }
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
ROWS = {"dice_by_epoch": CURVES, "loss_by_epoch": CURVES}
SAYS = {
    "areas": ["16", "share of the picture that is car (%)"],
    "makes": ["Kia & <Co>", "unknown", "test cars", "fold validation"],
    "dice_by_epoch": ["fold 1, best: epoch 2 (0.9900)", "validation at full size", "epoch", "learning rate", "0.97"],
    "loss_by_epoch": ["fold 1", "training", "epoch"],
    "distribution": ["share of the photos", "test cars", "validation cars"],
    "by_view": ["16", "test cars", "Dice at 1918×1280"],
    "worst_cars": ["0cdf5b5d0ce1", "fffe00001111"],
    "by_make": ["Kia & <Co>, 1 car", "unknown, 1 car"],
    "outline": ["within 1 px, test cars", "20%", "80%"],
}


def test_every_template_is_tried():
    assert {path.stem for path in (ROOT / "src/carvana/results/charts").iterdir()} == set(SAYS)


@pytest.mark.parametrize("name", sorted(SAYS))
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
