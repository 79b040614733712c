import shutil

import pytest
from finished_project import commit, git
from projects import ROOT

from carvana.base import paths
from carvana.base.git import Revision
from carvana.base.speed import Speed
from carvana.results import about


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / paths.PARAMS, tmp_path)
    paths.EVALUATION.parent.mkdir()
    return tmp_path


def test_a_report_is_of_a_commit_its_parameters_and_what_was_changed_since(repository):
    paths.EVALUATION.write_text('{"test": {"dice": 0.9}}', encoding="ascii")
    git(repository, "init", "-q", "-b", "trunk")
    commit(repository)
    assert not about.collect({}).changed
    text = paths.PARAMS.read_text(encoding="utf-8")
    paths.PARAMS.write_text(text.replace("flip: false", "flip: true").replace("  size: 256", "  size: [64, 96]"))
    found = about.collect({"data": "demo"})
    short = git(repository, "rev-parse", "--short", "HEAD")
    assert found.name == f"trunk ({short})"
    assert list(found.facts) == ["experiment or branch", "commit", "date", "data"]
    assert found.before == {"test": {"dice": 0.9}}
    assert found.changed == [("train.size", "[64, 96]", "256"), ("predict.flip", "true", "false")]


@pytest.mark.parametrize("damaged", ["[", "3", "[1, 2]", "\0", "{" * 100_000])
def test_damaged_files_of_the_last_commit_are_passed_over(repository, damaged):
    paths.EVALUATION.write_text(damaged, encoding="ascii")
    whole = paths.PARAMS.read_text(encoding="utf-8")
    paths.PARAMS.write_text(damaged, encoding="ascii")
    git(repository, "init", "-q")
    commit(repository)
    paths.PARAMS.write_text(whole, encoding="utf-8")
    found = about.collect({})
    assert found.before == found.committed == {}
    assert found.parameters["train.size"] == "256"


def test_without_git_there_is_no_comparison(repository):
    found = about.collect({"data": "demo"})
    assert found.name == "a folder without git"
    assert list(found.facts) == ["date", "data"]
    assert found.committed == found.before == {}


def test_the_title_says_whether_the_code_was_edited():
    assert about.name(Revision("small", "f43ab75", ())) == "small (f43ab75)"
    assert about.name(Revision("small", "f43ab75", ("a",))) == "small (f43ab75, with uncommitted changes)"
    assert about.name(Revision("", "f43ab75", ())) == "f43ab75"


def test_a_training_is_described_by_its_time_and_its_machine():
    made = Speed(7200.4, 6768, 1234.5, "torch", "cuda", "H100", "bfloat16", 2, 4)
    expected = "2 h 00 min, 1,234.5 photos/s, by torch in bfloat16 on H100 (cuda; processes: 2, threads: 4)"
    assert about.training(made) == expected
