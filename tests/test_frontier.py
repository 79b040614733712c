"""The frontier of speed and Dice, its chart, and the benchmark that draws it from a CSV."""

import re
import subprocess
import sys
from xml.etree import ElementTree as Xml

import pytest
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from carvana.experiments import svg
from carvana.experiments.frontier import Point, document, draw, frontier

speeds = st.floats(0.01, 1e5)
points_of = st.lists(st.builds(Point, st.sampled_from("abc"), speeds, st.floats(0, 1)), min_size=1, max_size=12)
NAMESPACE = "{http://www.w3.org/2000/svg}"


@settings(deadline=None)
@given(points_of)
def test_the_frontier_is_what_nothing_else_beats(points):
    found = frontier(points)
    for point in points:
        better = any(
            other.photos_per_second >= point.photos_per_second
            and other.dice >= point.dice
            and (other.photos_per_second, other.dice) != (point.photos_per_second, point.dice)
            for other in points
        )
        place = (point.photos_per_second, point.dice)
        assert (place in {(each.photos_per_second, each.dice) for each in found}) != better
    assert [each.dice for each in found] == sorted({each.dice for each in found})


@settings(deadline=None)
@given(points_of)
def test_every_point_is_inside_the_frame_with_its_label(points):
    root = Xml.fromstring(draw(points))
    places = [(float(each.get("cx")), float(each.get("cy"))) for each in root.iter(f"{NAMESPACE}circle")]
    assert len(places) == len(set(points))
    for x, y in places:
        assert svg.LEFT <= x <= svg.WIDTH - svg.RIGHT
        assert svg.TOP <= y <= svg.HEIGHT - svg.BOTTOM
    texts = [each.text for each in root.iter(f"{NAMESPACE}text")]
    assert {point.label for point in frontier(points)} <= set(texts)
    told = [each.text for each in root.iter(f"{NAMESPACE}title")]
    assert all(any(each.startswith(f"{point.label}: ") for each in told) for point in points)
    assert "photos per second, prediction" in texts


def test_points_lie_where_their_values_are():
    chart = draw([Point("slow", 10, 0.99), Point("fast", 1000, 0.98)])
    (slow, fast) = [tuple(map(float, each)) for each in re.findall(r'<circle cx="(.*?)" cy="(.*?)"', chart)]
    assert slow == (svg.LEFT, svg.TOP)
    assert fast == (svg.WIDTH - svg.RIGHT, svg.HEIGHT - svg.BOTTOM)
    assert f'points="{fast[0]},{fast[1]} {slow[0]},{slow[1]}"' in chart


def test_labels_beside_each_other_do_not_cover_each_other():
    chart = draw([Point(f"experiment {number}", 100 + number, 0.99 - number % 7 / 1e4) for number in range(30)])
    places = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" text-anchor="start">experiment', chart)
    boxes = [(float(x), float(y)) for x, y in places]
    assert len(boxes) > 3
    for number, (x, y) in enumerate(boxes):
        for other_x, other_y in boxes[:number]:
            assert abs(y - other_y) > 10 or abs(x - other_x) > 80


@settings(deadline=None)
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5))
def test_a_linear_scale_has_round_ticks_around_all_values(values):
    scale = svg.linear(values)
    assert 2 <= len(scale.ticks) <= 9
    assert all(-1e-9 <= scale.place(value) <= 1 + 1e-9 for value in values)


@settings(deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_a_scale_towards_one_has_round_ticks_around_all_values(values):
    scale = svg.towards_one(values)
    assert 2 <= len(scale.ticks) <= 8
    assert scale.ticks == sorted(set(scale.ticks))
    assert all(-1e-6 <= scale.place(value) <= 1 + 1e-6 for value in values)
    places = [scale.place(value) for value in sorted(values)]
    assert places == sorted(places)


def test_a_scale_towards_one_widens_towards_one():
    scale = svg.towards_one([0.985, 0.996])
    assert scale.ticks == [0.985, 0.99, 0.993, 0.995, 0.997]
    assert scale.place(0.99) - scale.place(0.985) == pytest.approx(scale.place(0.9964) - scale.place(0.9946))


def test_a_label_is_text_and_no_markup():
    chart = document([Point('<script>"&', 10, 0.5)])
    assert "<script" not in chart
    assert Xml.fromstring(chart).get("width") == str(svg.WIDTH)


def run(tmp_path, table):
    (tmp_path / "points.csv").write_text(table, encoding="utf-8")
    command = [sys.executable, "benchmarks/frontier.py", tmp_path / "out.svg", "--points", tmp_path / "points.csv"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_table_of_points_becomes_a_chart(tmp_path):
    assert run(tmp_path, "label,photos_per_second,dice\nsmall,300,0.98\nlarge,12.5,0.993\n").returncode == 0
    assert "prefers-color-scheme: dark" in (tmp_path / "out.svg").read_text(encoding="utf-8")


@pytest.mark.parametrize("table", ["", "label,dice\na,0.9\n", "label,photos_per_second,dice\na,0,0.9\n"])
def test_a_table_that_is_none_is_told_so(tmp_path, table):
    done = run(tmp_path, table)
    assert done.returncode == 1
    assert "points.csv is not a table of points" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out.svg").exists()
