"""A submission is sent only if it, its Dice and its parameters are those of a commit or an experiment."""

import re
import shutil
from pathlib import Path

import pytest
from conftest import set_params, stage
from finished_project import (
    ALL,
    LOCK,
    ROWS,
    SAMPLE,
    SUBMISSION,
    commit,
    git,
    log_of,
    make_finished_project,
    record,
    refused,
    write_evaluation,
    write_models,
    write_submission,
)
from kaggle_server import Server
from ruamel.yaml import YAML

from carvana.base import lockfile
from carvana.base.errors import UserError
from carvana.kaggle import provenance


@pytest.fixture
def project(tmp_path, monkeypatch):
    return make_finished_project(tmp_path, monkeypatch)


def test_an_experiment_is_found_by_its_name_and_what_nobody_kept_is_refused(project, monkeypatch):
    monkeypatch.chdir(project)
    committed = git(project, "rev-parse", "HEAD")
    write_submission(project, ROWS[:2])
    with pytest.raises(UserError, match=r"no commit and no experiment has this dvc\.lock.*dvc exp save"):
        provenance.find(Path(LOCK))
    git(project, "commit", "-q", "-am", "experiment")
    experiment = git(project, "rev-parse", "HEAD")
    git(project, "update-ref", f"refs/exps/{committed[:2]}/{committed[2:]}/kempt-kind", experiment)
    git(project, "reset", "-q", "--soft", committed)
    assert provenance.find(Path(LOCK)).name == "kempt-kind"
    assert provenance.find(Path(LOCK)).commit == experiment
    write_submission(project, ROWS)
    assert provenance.find(Path(LOCK)).commit == committed


@pytest.mark.parametrize(
    "name", [*SUBMISSION, "metrics/evaluate.json", "models/fold-0.safetensors", "data/predictions/0.parquet"]
)
def test_a_file_that_is_not_the_locks_is_refused(project, name):
    (project / name).write_bytes(b"other")
    output = name.removesuffix("/0.parquet")
    assert f"{output} differs from dvc.lock" in refused(project)


@pytest.mark.parametrize("name", [*SUBMISSION, "metrics/evaluate.json"])
def test_a_missing_file_is_named(project, name):
    (project / name).unlink()
    assert f"{name} is missing; `dvc repro` makes it" in refused(project)


def test_models_and_predictions_need_not_be_there(project):
    """A second machine may have pulled the submission alone."""
    shutil.rmtree(project / "models")
    shutil.rmtree(project / "data/predictions")
    with Server() as server:
        stage(project, "submit", "--yes")
    assert len(server.uploads) == 1


@pytest.mark.parametrize(("ran", "stale"), [(["evaluate"], "predict"), (["predict", "encode"], "evaluate")])
def test_a_submission_or_a_dice_of_another_model_is_refused(project, ran, stale):
    write_models(project, "another model")
    record(project, "train@0", *ran)
    commit(project)
    assert f"dvc.lock: {stale} was run with other contents of models than train@0 wrote" in refused(project)


@pytest.mark.parametrize("on_disk", [b"other runs", b"runs"])
def test_predictions_that_encode_has_not_read_are_refused(project, on_disk):
    (project / "data/predictions/0.parquet").write_bytes(b"other runs")
    record(project, "predict")
    (project / "data/predictions/0.parquet").write_bytes(on_disk)
    commit(project)
    assert "encode was run with other contents of data/predictions than predict wrote" in refused(project)


def test_a_file_that_no_stage_has_written_is_refused(project):
    lock = YAML(typ="safe").load(project / LOCK)
    del lock["stages"]["download"]
    YAML(typ="safe").dump(lock, project / LOCK)
    commit(project)
    assert f"encode depends on {SAMPLE}, which no stage has written" in refused(project)
    del lock["stages"]["predict"]
    YAML(typ="safe").dump(lock, project / LOCK)
    commit(project)
    assert "dvc.lock does not record predict; `dvc repro` runs" in refused(project)


@pytest.mark.parametrize("left", ["before and since", "since", "before", "without a record"])
def test_the_model_of_a_fold_that_is_no_longer_wanted_does_no_harm(project, left):
    """DVC leaves it in models/, and its stage in dvc.lock, though its parameters are of another training."""
    write_models(project, "another fold", fold=1)
    if left != "since":
        record(project, *ALL)
    if left != "without a record":
        set_params(project, train_seed=41)
        record(project, "train@1")
        set_params(project, train_seed=42)
    if left == "before":
        for path in project.rglob("fold-1.*"):
            path.unlink()
    commit(project)
    with Server() as server:
        stage(project, "submit", "--yes")
    assert len(server.uploads) == 1


def test_a_stage_that_dvc_yaml_no_longer_has_does_no_harm(project):
    lock = YAML(typ="safe").load(project / LOCK)
    lock["stages"]["pack"] = lock["stages"]["encode"] | {"deps": [{"path": "data/predictions", "md5": "0" * 32}]}
    YAML(typ="safe").dump(lock, project / LOCK)
    commit(project)
    with Server() as server:
        stage(project, "submit", "--yes")
    assert len(server.uploads) == 1


def test_a_dice_that_the_commit_does_not_have_is_refused(project):
    write_evaluation(project, 0.99999)
    record(project, "evaluate")
    git(project, "commit", "-q", "-m", "only the lock", LOCK)
    assert "metrics/evaluate.json is not the one in commit" in refused(project)


def test_parameters_that_did_not_make_the_model_are_refused(project):
    set_params(project, train_seed=42, train_size=96)
    assert "params.yaml differs from commit" in (message := refused(project))
    assert "in train.size;" in message
    commit(project)
    assert "dvc.lock was made with other parameters than params.yaml of commit" in (message := refused(project))
    assert "has: train.size;" in message


def test_a_change_of_speed_alone_is_accepted_and_not_recorded(project):
    set_params(project, train_seed=42, runtime_workers=7)
    with Server() as server:
        stage(project, "submit", "--yes")
    assert len(server.uploads) == 1
    assert log_of(project)[0]["params"]["runtime"]["workers"] == "auto"


def test_parameters_are_read_as_dvc_reads_them(project):
    """1e-05 is a number to DVC; to YAML 1.1 it is a text."""
    path = project / "params.yaml"
    path.write_text(re.sub("weight_decay: .*", "weight_decay: 1e-05", path.read_text("utf-8")), encoding="utf-8")
    commit(project)
    with Server():
        stage(project, "submit", "--yes")
    assert log_of(project)[0]["params"]["train"]["weight_decay"] == 0.00001


@pytest.mark.parametrize(
    "text",
    ["a: [", "- a", "", "a: !!timestamp x", "a: !!bool x", "a: &a [*a]", "? [1]\n: 2", "a: 2020-13-45", "[" * 5000],
)
def test_broken_parameters_are_named(project, text):
    (project / "params.yaml").write_text(text, encoding="ascii")
    assert "params.yaml is not " in refused(project)


def test_a_failure_of_git_is_not_taken_for_a_commit(project):
    (project / ".git/config").write_text("[core", encoding="ascii")
    assert re.search(r"git failed \(fatal: bad config line \d in file .git/config\)", refused(project))
    shutil.rmtree(project / ".git")
    assert "git failed (fatal: not a git repository" in refused(project)


def test_a_repository_without_a_commit_has_not_kept_anything(project):
    shutil.rmtree(project / ".git")
    git(project, "init", "-q")
    assert "no commit and no experiment has this dvc.lock" in refused(project)


@pytest.mark.parametrize("text", ["", "<<<<<<< ours\na: 1\n=======\n", "stages: !!timestamp x", "{" * 5000, "[]", "\0"])
def test_a_broken_lock_is_named(project, text):
    (project / LOCK).write_text(text, encoding="ascii")
    assert "dvc.lock is not what DVC writes" in refused(project)
    (project / LOCK).unlink()
    assert "dvc.lock is missing; `dvc repro` makes it" in refused(project)


@pytest.fixture
def student(project):
    """The project, trained on the predictions that it had when it was committed as a teacher."""
    teacher = project / "teachers/big"
    shutil.copytree(project / "data/predictions", teacher)
    (project / "data/predictions/0.parquet").write_bytes(b"the student's runs")
    set_params(project, train_seed=42, train_pseudo_labels="big")
    lock, md5 = YAML(typ="safe").load(project / LOCK), lockfile.md5_of(teacher)
    params = {"train.pseudo_labels": "big", "train.pseudo_photos": "data/raw/test.zip"}
    deps = [{"path": "teachers/big", "md5": md5}, {"path": SAMPLE, "md5": lockfile.md5_of(project / SAMPLE)}]
    lock["stages"]["label"] = {"deps": deps, "params": {"params.yaml": params}, "outs": []}
    YAML(typ="safe").dump(lock, project / LOCK)
    record(project, "predict", "encode")
    commit(project)
    return project


def test_pseudo_labels_of_a_committed_teacher_are_accepted(student):
    with Server() as server:
        stage(student, "submit", "--yes")
    assert len(server.uploads) == 1


def test_pseudo_labels_that_nobody_has_kept_are_refused_until_they_are(student):
    lock, md5 = (student / LOCK).read_text("ascii"), "0" * 32 + ".dir"
    (student / LOCK).write_text(lock.replace(lockfile.md5_of(student / "teachers/big"), md5), encoding="ascii")
    commit(student)
    assert "teachers/big, on which the models were trained, is the output of no commit" in (message := refused(student))
    assert "`dvc add teachers/big`, and commit teachers/big.dvc" in message
    (student / "teachers/big.dvc").write_text(f"outs:\n- {{md5: {md5}, path: big}}\n", encoding="ascii")
    commit(student)
    with Server() as server:
        stage(student, "submit", "--yes")
    assert len(server.uploads) == 1
