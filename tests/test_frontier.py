"""The benchmark that draws Dice against speed from a CSV."""

from xml.etree import ElementTree

import pytest

from benchmarks import frontier


@pytest.fixture
def draw(tmp_path, monkeypatch):
    """Draws the chart of a table, as the command does."""

    def work(table):
        (tmp_path / "points.csv").write_text(table, encoding="utf-8")
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("sys.argv", ["frontier.py", "out.svg", "--points", "points.csv"])
        frontier.main()

    return work


def test_a_table_of_points_becomes_a_chart(draw, tmp_path):
    draw("label,photos_per_second,dice\nsmall,300,0.98\n<script>&,12.5,0.993\n")
    text = (tmp_path / "out.svg").read_text(encoding="utf-8")
    assert "prefers-color-scheme: dark" in text
    assert "<script" not in text
    assert {"small", "<script>&"} <= {each.text for each in ElementTree.fromstring(text).iter()}


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ("", "No columns"),
        ("label,photos_per_second,dice\n", "it has no rows"),
        ("label,dice\na,0.9\n", "photos_per_second"),
        ("label,photos_per_second,dice\na,0,0.9\nb,1,0.9\n", "out of range: a"),
    ],
)
def test_a_table_that_is_none_is_told_so(draw, tmp_path, table, reason):
    with pytest.raises(SystemExit, match=rf"error: points\.csv is not a table of points \(.*{reason}.*columns are"):
        draw(table)
    assert not (tmp_path / "out.svg").exists()
