"""The table of all experiments, in a project whose experiments nobody has run."""

import re
import shutil

import pytest
from projects import stage
from saved_experiments import Project

from carvana.base.errors import UserError
from carvana.experiments import known, table
from carvana.experiments.known import Experiment

PAGE = "data/experiments.html"


def listed(project, *options):
    """The cells of what `carvana experiments` prints in a project."""
    return [re.split(r"\s{2,}", line) for line in stage(project.folder, "experiments", *options).splitlines()]


TABLE = [
    ["experiment", "test", "worst", "validation", "photos/s", "training", "changed"],
    ["main", "0.9800", "0.9700", "0.9700", "100.0", "90 s"],
    ["small *", "0.9775", "0.9750", "0.9750", "200.0", "90 s", "size=64"],
    ["older", "0.9600", "0.9400", "0.9600", "300.0", "90 s", "predict.flip=true, size=64"],
    ["a<base>", "0.9600", "0.9500", "0.9600", "50.0", "90 s", "epochs=3"],
]


def test_the_table_has_all_experiments_the_best_first(_saved):
    found = listed(_saved)
    assert found[0] == TABLE[0]
    assert sorted(found[1:5]) == sorted(TABLE[1:])
    assert [row[1] for row in found[1:5]] == ["0.9800", "0.9775", "0.9600", "0.9600"]
    assert [row[0] for row in found[5:]] == [
        "waiting: in the queue; `dvc queue start` runs them",
        "* is in the workspace; data/experiments.html has the same with a chart",
    ]


def test_the_page_has_it_all_as_text_and_asks_for_nothing(_saved):
    newest = [row[0] for row in listed(_saved, "--newest")[1:5]]
    # Git counts in seconds: those between may have been made in the same one.
    assert [newest[0], newest[-1]] == ["small *", "a<base>"]
    page = (_saved.folder / PAGE).read_text(encoding="utf-8")
    for row in TABLE[1:]:
        for cell in row:
            text = cell.replace("<", "&lt;").replace(">", "&gt;")
            assert f">{text}</td>" in page
    for name in ("main", "small", "older", "a&lt;base&gt;"):
        assert re.search(f'font-size="[0-9]+px" fill="currentColor">{name}</text>', page), "its point in the chart"
    assert "<base>" not in page
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    names = re.findall(r"<tr><td>(.*?)</td>", page)
    assert names.index("small *") < names.index("a&lt;base&gt;"), "the newest first"


def test_what_is_not_in_the_cache_is_a_dash(copy):
    shutil.rmtree(copy.folder / ".dvc/cache/files")
    assert ["small *", "0.9775", "0.9750", "0.9750", "–", "–", "size=64"] in listed(copy)
    assert "<svg" not in (copy.folder / PAGE).read_text(encoding="utf-8")


def test_an_edited_workspace_has_no_results_of_its_own(copy):
    copy.write_params(train_size=96)
    lines = listed(copy)
    assert ["workspace: its parameters have not been run; `dvc repro` does"] in lines
    assert not any("*" in line[0] for line in lines)


def test_a_workspace_like_no_other_has_a_row_and_without_a_speed_no_point(copy):
    copy.record([0.99, 0.98, 0.97, 0.96], 0.0, train_epochs=5, train_size=96)
    assert listed(copy)[1] == ["workspace", "0.9850", "0.9800", "0.9650", "–", "90 s", "epochs=5, size=96"]
    page = (copy.folder / PAGE).read_text(encoding="utf-8")
    assert "Without a point, because their speed or their Dice on test cars is not known: workspace." in page


def test_a_commit_that_changes_no_result_has_no_row_of_its_own(copy):
    copy.git("checkout", "-q", "-f", "main")
    before = listed(copy)
    (copy.folder / "notes.txt").write_text("nothing", encoding="ascii")
    copy.commit()
    after = listed(copy)
    assert sorted(after[1:5]) == sorted(before[1:5])
    assert after[5] == before[5], "what waits started from the commit before"


def test_a_fresh_clone_is_told_what_to_do(_saved, tmp_path):
    project = Project(tmp_path / "project", _saved.competition)
    message = stage(project.folder, "experiments", status=1)
    assert "no commit and no experiment has results yet; `make submission` or `dvc repro` makes some" in message
    shutil.rmtree(project.folder / ".dvc")
    message = stage(project.folder, "experiments", status=1)
    assert "DVC cannot list the experiments (you are not inside of a DVC repository" in message
    shutil.rmtree(project.folder / ".git")
    message = stage(project.folder, "experiments", status=1)
    assert re.search("git failed .fatal: not a git repository.*`git status` says more", message)
    assert not (project.folder / PAGE).exists()


def test_an_unknown_name_is_told_the_near_ones(_saved, monkeypatch):
    monkeypatch.chdir(_saved.folder)
    for name, advice in (("smal", r"; did you mean small\?"), ("xyz", "; `make experiments` lists them")):
        with pytest.raises(UserError, match=f"{name} is neither an experiment nor a branch or a commit{advice}"):
            known.one(name)
    small = known.one("small")
    assert known.one(small.commit[:7]).commit == small.commit
    assert known.one("workspace").has_results_of(small)


def test_different_parameters_are_those_of_the_other_and_those_that_it_lacks():
    one, other = {"a": False, "b": [0], "c": 1}, {"a": False, "b": [0, 1], "d": None}
    assert known.different(one, other) == {"b": [0, 1], "d": None, "c": None}


def test_values_are_brief():
    values = [True, None, 0.004, 1e-9, [0, 1], "/long/path/to/weights.pth"]
    assert [table.brief(value) for value in values] == ["true", "none", "0.004", "1e-09", "[0,1]", "weights.pth"]


def test_an_experiment_without_test_cars_is_ranked_by_validation():
    made = [
        Experiment(name, name, metrics={role: {"dice": dice, "dice_worst": 0.5}})
        for name, role, dice in (("a", "validation", 0.9), ("b", "test", 0.8), ("c", "test", 0.95))
    ]
    rows = table.rows(made)
    assert [row.experiment.name for row in rows] == ["c", "a", "b"]
    assert rows[1].cells == ["a", "–", "–", "0.9000", "–", "–", ""]
