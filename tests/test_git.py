from pathlib import Path

import pytest
from finished_project import commit, git

from carvana.base import git as asked
from carvana.base.errors import UserError


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.delenv("DVC_EXP_NAME", raising=False)
    monkeypatch.chdir(tmp_path)
    git(tmp_path, "init", "-q", "-b", "trunk")
    return tmp_path


def test_a_commit_has_the_name_of_its_branch_or_experiment_and_without_git_nothing_is_known(repository, monkeypatch):
    assert asked.current(["src"]) is None, "nothing is committed"
    (repository / "src").mkdir()
    (repository / "src/a.py").write_text("1", encoding="ascii")
    commit(repository)
    short = git(repository, "rev-parse", "--short", "HEAD")
    assert asked.current(["src"]) == asked.Revision("trunk", short, ())
    (repository / "data.csv").write_text("1", encoding="ascii")
    (repository / "src/a.py").write_text("2", encoding="ascii")
    monkeypatch.setenv("DVC_EXP_NAME", "small")
    assert asked.current(["src"]) == asked.Revision("small", short, ("src/a.py",))
    monkeypatch.delenv("DVC_EXP_NAME")
    git(repository, "checkout", "-q", "--detach")
    assert asked.current(["src"]) == asked.Revision("", short, ("src/a.py",))
    monkeypatch.setenv("PATH", "")
    assert asked.current(["src"]) is None


def test_a_committed_file_is_read_as_it_was(repository):
    path = Path("metrics/evaluate.json")
    path.parent.mkdir()
    path.write_text("before", encoding="ascii")
    assert asked.read("HEAD", path) is None
    commit(repository)
    path.write_text("after", encoding="ascii")
    assert asked.read("HEAD", path) == "before"
    assert asked.read("HEAD", Path("no/such.json")) is None


def test_a_repository_of_another_owner_is_told_what_git_says_to_do(repository, monkeypatch):
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    with pytest.raises(UserError, match=f"git config --global --add safe.directory {repository}"):
        asked.output("log")
