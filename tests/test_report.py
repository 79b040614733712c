"""The report of an evaluation: what it is of, and its page."""

import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from finished_project import commit, git
from projects import ROOT
from test_scoring import scored

from carvana.base import paths
from carvana.base.git import Revision
from carvana.base.speed import Speed
from carvana.results import about, pictures, report
from carvana.results.about import About
from carvana.results.scoring import Findings
from carvana.training.history import Epoch, curves

TILE = {"tile": np.zeros((20, 30, 3), np.uint8)}
CHROMIUM = shutil.which("chromium")
SORT = ROOT / "src/carvana/results/sort.js"


def findings_of(count, **changes):
    one, scores = scored()[2], []
    for number in range(count):
        dice = 0.9 + (number * 7 % count) / (10 * count)
        names = {"image": f"{number:012x}_01.jpg", "car": f"{number // 16:012x}"} | changes
        scores.append(replace(one, dice=dice, wrong=number * 1000, missed=0, **names))
    return Findings(scores, {})


def render(findings, subject=None, shown=1):
    subject = subject or About("small (f43ab75)", {"data": "demo"}, {"train.size": "64"})
    worst = findings.by_role["validation"][:shown]
    predictions = {"The worst photos of validation cars": worst, "The best photos of validation cars": []}
    drawn = {score.image: pictures.encode(TILE) for score in worst}
    epochs = curves({0: [Epoch(1, 0.01, 0.5, 0.5, 0.5, 0.5, 0.5)]})
    return report.render(subject, findings, epochs, predictions, drawn, TILE, TILE)


def test_names_on_the_page_are_text_and_no_html():
    hostile = "<script>name"
    findings = findings_of(1, car=f"{hostile}-car", make=f"{hostile}-make")
    subject = About(hostile, {hostile: hostile}, {hostile: hostile})
    content = render(findings, subject)
    assert hostile not in content
    for text in ("name", "name-car", "name-make, 1 car"):
        assert f"&lt;script&gt;{text}<" in content
    assert content.count("<img") == content.count('<img loading="lazy" width="30" height="20"') == 3
    assert content.count("<svg") == 7
    assert "The worst photos of validation cars" in content
    assert "The best photos of validation cars" not in content, "no picture of them was drawn"


def test_every_photo_is_in_the_table_and_leads_to_its_pictures():
    content = render(findings_of(5), shown=2)
    rows = re.findall(r"<tr><td>(.*?)<td>validation<td>Kia<td>3<td>(.*?)<td>(.*?)<td>0<td>", content)
    assert [dice for _, dice, _ in rows] == ["0.9000", "0.9200", "0.9400", "0.9600", "0.9800"], "the worst first"
    assert [re.sub("<.*?>", "", name) for name, _, _ in rows] == [f"{n:012x}_01.jpg" for n in (0, 3, 1, 4, 2)]
    assert rows[0][0] == '<a href="#000000000000_01.jpg">000000000000_01.jpg</a>'
    assert '<figure id="000000000000_01.jpg">' in content
    assert "<a" not in rows[2][0]


def test_a_page_of_five_thousand_photos_is_light():
    content = render(findings_of(5000))
    assert len(re.findall("<tr><td>(?:<a href=[^>]*>)?0000", content)) == 5000
    assert len(content) < 1_000_000


@pytest.mark.skipif(not CHROMIUM, reason="needs chromium")
@pytest.mark.parametrize("clicks", [1, 2])
def test_a_header_sorts_by_numbers(tmp_path, clicks):
    page = tmp_path / "table.html"
    rows = "".join(f"<tr><td>{text}" for text in ("9", "+1,000", "0.5", "–", "0.09", "−2", "20"))
    rows += '<tr><td data-key="90">2 min'
    click = "document.querySelector('th button').click();"
    page.write_text(
        f"<table class=sortable><thead><tr><th>pixels</thead><tbody>{rows}</table>"
        f"<script>{SORT.read_text(encoding='utf-8')}{clicks * click}</script>",
        encoding="utf-8",
    )
    command = [CHROMIUM, "--headless=new", "--no-sandbox", "--disable-gpu", "--dump-dom", page.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    rising = ["−2", "0.09", "0.5", "9", "20", "2 min", "+1,000", "–"]
    assert re.findall("<td.*?>(.*?)</td>", shown) == (rising if clicks == 1 else rising[::-1])
    assert f'aria-sort="{"ascending" if clicks == 1 else "descending"}"' in shown


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / paths.PARAMS, tmp_path)
    return tmp_path


def test_a_report_is_of_a_commit_and_its_parameters(repository):
    assert list(about.collect({"data": "demo"}).facts) == ["date", "data"]
    assert about.collect({}).name == "a folder without git"
    git(repository, "init", "-q", "-b", "trunk")
    commit(repository)
    text = paths.PARAMS.read_text(encoding="utf-8")
    paths.PARAMS.write_text(text.replace("flip: false", "flip: true").replace("  size: 256", "  size: [64, 96]"))
    found = about.collect({"data": "demo"})
    assert found.name == f"trunk ({git(repository, 'rev-parse', '--short', 'HEAD')})"
    assert list(found.facts) == ["experiment or branch", "commit", "date", "data"]
    assert (found.parameters["train.size"], found.parameters["predict.flip"]) == ("[64, 96]", "true")


def test_the_title_says_whether_the_code_was_edited():
    assert about.name(Revision("small", "f43ab75", ())) == "small (f43ab75)"
    assert about.name(Revision("small", "f43ab75", ("a",))) == "small (f43ab75, with uncommitted changes)"
    assert about.name(Revision("", "f43ab75", ())) == "f43ab75"


def test_a_training_is_described_by_its_time_and_its_machine():
    made = Speed(7200.4, 6768, 1234.5, "torch", "cuda", "H100", "bfloat16", 2, 4)
    expected = "2 h 00 min, 1,234.5 photos/s, by torch in bfloat16 on H100 (cuda; processes: 2, threads: 4)"
    assert about.training(made) == expected
