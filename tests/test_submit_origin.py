"""A submission is sent only if it, its Dice and its parameters are those of a commit or an experiment."""

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from finished_project import (
    ALL,
    LOCK,
    LOG,
    ROWS,
    SUBMISSION,
    commit,
    git,
    log_of,
    make_finished_project,
    record,
    refused,
    sent,
    set_params,
    write_evaluation,
    write_models,
    write_submission,
)
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


@pytest.mark.parametrize("name", [*SUBMISSION, "metrics/evaluate.json"])
def test_a_file_that_is_not_the_locks_or_is_missing_is_refused(project, name):
    complaint = f"{name} is missing or not the one that dvc.lock records; `dvc repro` makes it"
    (project / name).write_bytes(b"other")
    assert complaint in refused(project)
    (project / name).unlink()
    assert (complaint if name != SUBMISSION[1] else f"{name} is missing") in refused(project)


def test_a_model_that_is_not_the_locks_is_refused(project):
    (project / "models/fold-0.safetensors").write_bytes(b"other")
    found = "`dvc status`: models/fold-0.safetensors is not what train@0 wrote; restore what it was made by"
    assert found in refused(project)


def test_models_and_predictions_need_not_be_there(project):
    """A second machine may have pulled the submission alone."""
    shutil.rmtree(project / "models")
    shutil.rmtree(project / "data/predictions")
    assert len(sent(project)) == 1


@pytest.mark.parametrize("are_there", [True, False])
@pytest.mark.parametrize(("ran", "stale"), [(["evaluate"], "predict"), (["predict", "encode"], "evaluate")])
def test_a_submission_or_a_dice_of_another_model_is_refused(project, ran, stale, are_there):
    write_models(project, "another model")
    record(project, "train@0", *ran)
    commit(project)
    if not are_there:
        shutil.rmtree(project / "models")
    assert f"`dvc status`: {stale} was run with other contents of models; " in refused(project)


@pytest.mark.parametrize(
    ("recorded", "on_disk", "complaint"),
    [
        (b"other runs", b"other runs", "encode was run with other contents of data/predictions"),
        (b"other runs", b"runs", "data/predictions is not what predict wrote"),
        (b"other runs", None, "encode was run with other contents of data/predictions"),
        (b"runs", b"other runs", "encode was run with other contents of data/predictions"),
    ],
)
def test_predictions_that_encode_has_not_read_are_refused(project, recorded, on_disk, complaint):
    path = project / "data/predictions/0.parquet"
    path.write_bytes(recorded)
    record(project, "predict")
    if on_disk:
        path.write_bytes(on_disk)
    else:
        shutil.rmtree(path.parent)
    commit(project)
    assert f"`dvc status`: {complaint}" in refused(project)


def test_a_file_that_no_stage_has_written_is_refused(project):
    lock = YAML(typ="safe").load(project / LOCK)
    for name in ("download", "predict"):
        del lock["stages"][name]
    YAML(typ="safe").dump(lock, project / LOCK)
    commit(project)
    assert "dvc.lock does not record download, predict; `dvc repro` runs" in refused(project)


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
    assert len(sent(project)) == 1


def test_a_stage_that_dvc_yaml_no_longer_has_does_no_harm(project):
    lock = YAML(typ="safe").load(project / LOCK)
    lock["stages"]["pack"] = lock["stages"]["encode"] | {"deps": [{"path": "data/predictions", "md5": "0" * 32}]}
    YAML(typ="safe").dump(lock, project / LOCK)
    commit(project)
    assert len(sent(project)) == 1


def test_a_dice_that_the_commit_does_not_have_is_refused(project):
    write_evaluation(project, 0.99999)
    record(project, "evaluate")
    git(project, "commit", "-q", "-m", "only the lock", LOCK)
    assert "metrics/evaluate.json is not the one in commit" in refused(project)


def test_code_that_did_not_make_the_submission_is_refused(project):
    (project / "stages/train.py").write_text("edited since", encoding="ascii")
    found = "`dvc status`: train@0 was run with other contents of stages/train.py; restore what it was made by"
    assert found in refused(project)
    (project / "stages/train.py").unlink()
    assert found in refused(project), "only data may be missing"


def test_a_stage_of_which_dvc_would_not_speak_or_that_has_another_command_is_refused(project):
    path = project / "dvc.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(re.sub("    cmd: .* stages.encode", r"    frozen: true\n\g<0>", text), encoding="utf-8")
    assert "encode is frozen, and DVC does not compare it" in refused(project)
    path.write_text(text.replace("-m stages.encode", "-m stages.other"), encoding="utf-8")
    assert "`dvc status`: encode: changed command; restore" in refused(project)


def test_a_failure_of_dvc_is_not_taken_for_its_word(project):
    busy = {"write": {str(project / "data/submission.csv"): {"pid": os.getpid(), "cmd": "dvc repro"}}, "read": {}}
    (project / ".dvc/tmp").mkdir()
    (project / ".dvc/tmp/rwlock").write_text(json.dumps(busy), encoding="ascii")
    assert re.search(rf"`dvc status` fails \(.* is busy, .* blocked by: \(PID {os.getpid()}\)", refused(project))
    shutil.rmtree(project / ".dvc")
    assert "`dvc status` fails (you are not inside of a DVC repository" in refused(project)


def test_parameters_that_did_not_make_the_model_are_refused(project):
    set_params(project, train_seed=42, train_size=96)
    assert "params.yaml differs from commit" in (message := refused(project))
    assert "in train.size;" in message
    commit(project)
    assert "`dvc status`: evaluate was run with another value of train.size, " in refused(project)


def test_a_change_of_speed_alone_is_accepted_and_not_recorded(project):
    set_params(project, train_seed=42, runtime_workers=7)
    assert len(sent(project)) == 1
    assert log_of(project)[0]["params"]["runtime"]["workers"] == "auto"


def test_parameters_are_read_as_dvc_reads_them(project):
    """1e-05 is a number to DVC; to YAML 1.1 it is a text."""
    path = project / "params.yaml"
    path.write_text(re.sub("weight_decay: .*", "weight_decay: 1e-05", path.read_text("utf-8")), encoding="utf-8")
    record(project, "train@0")
    commit(project)
    sent(project)
    assert log_of(project)[0]["params"]["train"]["weight_decay"] == 0.00001


@pytest.mark.parametrize("text", ["a: [", "", "a: &a [*a]"])
def test_broken_parameters_are_named(project, text):
    (project / "params.yaml").write_text(text, encoding="ascii")
    assert refused(project).startswith("params.yaml")


def test_a_failure_of_git_is_not_taken_for_a_commit(project):
    (project / ".git/config").write_text("[core", encoding="ascii")
    assert re.search(r"git failed:\nfatal: bad config line \d in file .git/config", refused(project))
    shutil.rmtree(project / ".git")
    assert "git failed:\nfatal: not a git repository" in refused(project)


def test_a_repository_without_a_commit_has_not_kept_anything(project):
    shutil.rmtree(project / ".git")
    git(project, "init", "-q")
    assert "no commit and no experiment has this dvc.lock" in refused(project)


@pytest.mark.parametrize("text", ["", "<<<<<<< ours\na: 1\n=======\n"])
def test_a_broken_lock_is_named(project, text):
    (project / LOCK).write_text(text, encoding="ascii")
    assert "dvc.lock is not what DVC writes" in refused(project)
    (project / LOCK).unlink()
    assert "dvc.lock is missing; `dvc repro` makes it" in refused(project)


@pytest.fixture
def student(project):
    """The project, trained on the predictions that it had when it was committed as a teacher."""
    shutil.copytree(project / "data/predictions", project / "teachers/big")
    (project / "data/predictions/0.parquet").write_bytes(b"the student's runs")
    set_params(project, train_seed=42, train_pseudo_labels="big")
    record(project, "label", "predict", "encode")
    commit(project)
    return project


def test_pseudo_labels_that_nobody_has_kept_are_refused_until_they_are(student):
    (student / "teachers/big/0.parquet").write_bytes(b"runs of nobody knows what")
    record(student, "label")
    commit(student)
    assert "teachers/big, on which the models were trained, is the output of no commit" in (message := refused(student))
    assert "`dvc add teachers/big`, and commit teachers/big.dvc" in message
    md5 = lockfile.md5_of(student / "teachers/big")
    (student / "teachers/big.dvc").write_text(f"outs:\n- {{hash: md5, md5: {md5}, path: big}}\n", encoding="ascii")
    commit(student)
    assert len(sent(student)) == 1


def test_kept_pseudo_labels_are_accepted_and_need_not_be_there_but_others_are_refused(student):
    assert len(sent(student)) == 1
    (student / LOG).unlink()
    labels = student / "teachers/big/0.parquet"
    labels.write_bytes(b"others")
    assert "`dvc status`: label was run with other contents of teachers/big; " in refused(student)
    shutil.rmtree(labels.parent)
    assert len(sent(student)) == 1
