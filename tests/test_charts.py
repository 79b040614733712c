import re
from xml.etree import ElementTree

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
CURVES = [
    {"epoch": epoch, "fold": fold, "curve": curve, "loss": loss, "dice": 1 - 0.5 / epoch}
    for epoch in (1, 2, 3)
    for fold in (0, 1)
    for curve, loss in (("training", 0.5), ("validation at full size", None))
]
THRESHOLDS = [{"threshold": f"{t / 20:g}", "dice": 0.99 - abs(t - 9) / 1000} for t in range(2, 19)]
ROWS = {"curves": CURVES, "thresholds": THRESHOLDS}
SAYS = {
    "areas": ["view", "16", "share of the picture that is car"],
    "makes": ["Kia & <Co>", "unknown", "test", "fold validation"],
    "curves": ["fold 1", "validation at full size", "epoch"],
    "distribution": ["photos", "test", "validation"],
    "by_view": ["view", "16", "test"],
    "worst_cars": ["0cdf5b5d0ce1", "fffe00001111"],
    "by_make": ["Kia & <Co>, 1 car", "unknown, 1 car"],
    "outline": ["within 1 px, test", "20%", "80%"],
    "thresholds": ["validation, best: 0.45 (0.9900)"],
}


def test_every_template_is_tried():
    assert {path.stem for path in (ROOT / "src/carvana/results/charts").iterdir()} == set(SAYS)


@pytest.mark.parametrize("name", sorted(SAYS))
def test_a_chart_says_what_it_shows_in_the_colour_of_the_page(name):
    svg = charts.draw(name, pd.DataFrame(ROWS.get(name, SCORES)))
    root = ElementTree.fromstring(svg)
    texts = [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]
    for expected in SAYS[name]:
        assert expected in texts
    fills = set(re.findall(r'<text[^>]*fill="([^"]*)"', svg))
    assert fills <= {"currentColor", *charts._COLOURS}
    assert "NaN" not in svg
    assert int(root.get("width")) <= 345, "as wide as a phone"
    for inside in re.findall(r'id="([^"]*)"', svg):
        assert inside.startswith(f"{name}-dice-"), "several charts share a page"
