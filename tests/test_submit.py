"""A submission is checked, traced to its commit, and sent."""

import gzip
import hashlib
import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, csv_text, make_project, pack, set_params, stage
from kaggle_server import Server
from ruamel.yaml import YAML

from carvana import lockfile
from carvana.errors import UserError
from carvana.kaggle import client, provenance
from stages import submit

ROWS = [["img", "rle_mask"], ["011330127438_01.jpg", "1 5"], ["011330127438_02.jpg", "7 2 100 1"]]
LOCK = "dvc.lock"
LOG = "data/submissions.jsonl"
SAMPLE = "data/raw/sample_submission.csv.zip"
SUBMISSION = ["data/submission.csv", "data/submission.csv.gz"]

# Dependencies, outputs and parameters of the stages that a submission comes from.
STAGES = {
    "download": ([], [SAMPLE], ["data.source"]),
    "train@0": ([], ["models/fold-0.safetensors", "models/fold-0.csv"], ["train.size", "train.seed"]),
    "train@1": ([], ["models/fold-1.safetensors", "models/fold-1.csv"], ["train.size", "train.seed"]),
    "evaluate": (["models"], ["metrics/evaluate.json"], ["train.folds"]),
    "predict": (["models"], ["data/predictions"], ["train.folds"]),
    "encode": (["data/predictions", SAMPLE], SUBMISSION, []),
}
ALL = [name for name in STAGES if name != "train@1"]


def git(folder, *arguments):
    identity = {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=os.environ | identity, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def commit(folder):
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", "state")


def record(folder, *names):
    """Writes into dvc.lock what DVC does after these stages: the hashes of their files as they are now."""
    yaml, lock = YAML(typ="safe"), folder / LOCK
    content = yaml.load(lock) if lock.exists() else {"stages": {}}
    params = yaml.load(folder / "params.yaml")
    for name in names:
        deps, outs, keys = STAGES[name]
        values = {key: params[key.split(".")[0]][key.split(".")[1]] for key in keys}
        # The code that a stage ran may have changed since.
        code = [{"path": "stages/encode.py", "md5": "0" * 32}]
        content["stages"][name] = {
            "deps": code + [{"path": path, "md5": lockfile.md5_of(folder / path)} for path in deps],
            "params": {"params.yaml": values},
            "outs": [{"path": path, "md5": lockfile.md5_of(folder / path)} for path in outs],
        }
    yaml.dump(content, lock)


def write_models(folder, content, fold=0):
    (folder / "models").mkdir(exist_ok=True)
    for suffix in ("safetensors", "csv"):
        (folder / f"models/fold-{fold}.{suffix}").write_text(content, encoding="ascii")


def write_evaluation(folder, dice):
    content = {"test": {"dice": 0.9931}, "validation": {"dice": dice}, "model": {"epochs": 6}}
    (folder / "metrics/evaluate.json").write_text(json.dumps(content), encoding="ascii")


def write_submission(folder, rows):
    """submission.csv, as gzip too, and a dvc.lock that has both."""
    text = csv_text(rows).encode()
    for path, data in zip(SUBMISSION, (text, gzip.compress(text, mtime=0)), strict=True):
        (folder / path).write_bytes(data)
    record(folder, "encode")


def log_of(folder):
    return [json.loads(line) for line in (folder / LOG).read_text(encoding="ascii").splitlines()]


def refused(folder):
    """What `make submit` says to a submission that it does not send."""
    # A server of its own, so that what is sent by mistake does not reach another test's.
    with Server() as server:
        message = stage(folder, "submit", "--yes", status=1)
    assert not server.uploads
    assert not (folder / LOG).exists()
    assert not (folder / ".work/submit").exists()
    assert "Traceback" not in message
    return message


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A committed project that has come to its end, and no way to the real Kaggle."""
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "good")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    folder = make_project(tmp_path / "project")
    (folder / "dvc.yaml").unlink()
    for name in ("dvc.yaml", ".gitignore"):
        shutil.copyfile(ROOT / name, folder / name)
    set_params(folder, train_seed=42)
    pack(folder / SAMPLE, {"sample_submission.csv": csv_text(ROWS)})
    for name in ("metrics", "data/predictions"):
        (folder / name).mkdir()
    (folder / "data/predictions/0.parquet").write_bytes(b"runs")
    write_models(folder, "model")
    write_evaluation(folder, 0.9947)
    write_submission(folder, ROWS)
    record(folder, *ALL)
    git(folder, "init", "-q", "-b", "trunk")
    commit(folder)
    return folder


def test_it_is_sent_with_what_it_can_be_found_by(project):
    with Server() as server:
        assert "Successfully submitted" in stage(project, "submit", "--message", "first", "--yes")
    head, lock = git(project, "rev-parse", "HEAD"), hashlib.sha256((project / LOCK).read_bytes()).hexdigest()
    (upload,) = server.uploads
    assert upload["data"] == (project / "data/submission.csv.gz").read_bytes()
    assert upload["description"] == (
        f"first · trunk · Dice test 0.99310, validation 0.99470 · commit {head[:12]} · dvc.lock {lock[:12]}"
    )
    assert [body["fileName"] for name, body in server.calls if name == "StartSubmissionUpload"] == ["submission.csv.gz"]
    sending, taken, answer = log_of(project)
    assert sending["event"] == "sending"
    assert sending["origin"] == {"commit": head, "name": "trunk"}
    assert sending["dvc_lock_sha256"] == lock
    assert sending["params"]["train"]["seed"] == 42
    assert sending["dice"] == {"test": 0.9931, "validation": 0.9947}
    assert sending["file"] == {
        "md5": hashlib.md5(upload["data"]).hexdigest(),
        "name": "data/submission.csv.gz",
        "sha256": hashlib.sha256(upload["data"]).hexdigest(),
    }
    assert [taken["event"], answer["event"]] == ["taken", "answer"]
    assert taken["kaggle"] == "Successfully submitted"
    assert taken["reference"] == 42
    assert answer["status"] == "pending"
    assert answer["id"] == taken["id"] == sending["id"]
    assert answer["time"] > sending["time"]
    assert answer["time"].endswith("+00:00")
    assert not (project / ".work/submit").exists()


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


class Question:
    """`make submit` at its question, with a terminal to answer it."""

    def __init__(self, folder):
        self.terminal, other = pty.openpty()
        command = [sys.executable, "-u", "-m", "stages.submit"]
        self.process = subprocess.Popen(
            command, cwd=folder, stdin=other, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.asked = ""
        while not self.asked.endswith("[y/N] "):
            letter = self.process.stdout.read(1)
            assert letter, self.process.stderr.read()
            self.asked += letter

    def answer(self, word):
        os.write(self.terminal, word)
        output, errors = self.process.communicate()
        return self.process.returncode, output + errors


def test_nothing_is_sent_unless_somebody_says_so(project):
    with Server() as server:
        assert "YES=1` submits without a question" in stage(project, "submit", status=1)
        for word, status in ((b"n\n", 1), (b"y\n", 0)):
            question = Question(project)
            assert "Submit (of 4 that are left today)? [y/N]" in question.asked
            assert not (project / LOG).exists()
            assert question.answer(word)[0] == status
            assert len(server.uploads) == 1 - status


@pytest.mark.parametrize("in_place", [True, False])
def test_what_is_checked_is_what_is_sent(project, in_place):
    """A `dvc repro` in another terminal may write the file anew while the question waits."""
    path = project / "data/submission.csv.gz"
    checked = path.read_bytes()
    with Server() as server:
        question = Question(project)
        if in_place:
            path.write_bytes(b"another submission")
        else:
            path.unlink()
        assert question.answer(b"y\n")[0] == 0
    (upload,) = server.uploads
    assert upload["data"] == checked
    assert log_of(project)[0]["file"]["sha256"] == hashlib.sha256(checked).hexdigest()


def test_the_rows_are_those_inside_the_gzip(project):
    (project / "data/submission.csv.gz").write_bytes(gzip.compress(csv_text(ROWS[:2]).encode()))
    record(project, "encode")
    commit(project)
    assert "data/submission.csv.gz ends after line 2" in refused(project)


def test_a_copy_that_a_killed_run_has_left_is_replaced(project):
    (project / ".work/submit").mkdir(parents=True)
    (project / ".work/submit/submission.csv.gz").write_bytes(b"of the killed run")
    with Server() as server:
        stage(project, "submit", "--yes")
    assert server.uploads[0]["data"] == (project / "data/submission.csv.gz").read_bytes()
    assert not (project / ".work/submit").exists()


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([["img", "mask"], *ROWS[1:]], "the first line is 'img,mask'"),
        (ROWS[:2], "ends after line 2; .* continues with 011330127438_02.jpg"),
        ([*ROWS, ["a.jpg", ""]], "line 4 has a.jpg, but .* has no more images"),
        ([ROWS[0], ROWS[2], ROWS[1]], "line 2 has 011330127438_02.jpg, but .* has 011330127438_01.jpg"),
        ([*ROWS[:2], [ROWS[2][0], "5 9 7 1"]], "line 3: 011330127438_02.jpg: run 2 .* overlaps"),
        ([*ROWS[:2], [ROWS[2][0], "2455040 2"]], "line 3: .* leaves the picture"),
        ([ROWS[0], [ROWS[1][0], ""], [ROWS[2][0], ""]], "2 of 2 masks are empty"),
    ],
)
def test_a_bad_submission_is_named_with_its_line_and_not_sent(project, rows, complaint):
    write_submission(project, rows)
    git(project, "commit", "-q", "-am", "bad")
    for name in ("check", "submit"):
        message = stage(project, name, status=1)
        assert re.search(complaint, message), message


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


@pytest.mark.parametrize(
    ("ran", "stale"), [(["train@0", "evaluate"], "predict"), (["train@0", "predict", "encode"], "evaluate")]
)
def test_a_submission_or_a_dice_of_another_model_is_refused(project, ran, stale):
    write_models(project, "another model")
    record(project, *ran)
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
        for path in project.glob("models/fold-1.*"):
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


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("{", "cannot be read"),
        ("\xff", "cannot be read"),
        ("[" * 10**5, "cannot be read"),
        ("[]", "has no scores of test or validation cars"),
        ('{"model": {}}', "has no scores"),
        ('{"test": 1}', r"test\.dice must be a number from 0 to 1 \(got None\)"),
        ('{"test": {"dice": 0.9}, "validation": {"iou": 1}}', r"validation\.dice must be"),
        ('{"test": {"dice": "0.9"}}', "got '0.9'"),
        ('{"test": {"dice": true}}', "got True"),
        ('{"test": {"dice": NaN}}', "got nan"),
    ],
)
def test_a_broken_evaluation_is_named(tmp_path, text, complaint):
    path = tmp_path / "evaluate.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=rf"evaluate\.json:? .*{complaint}"):
        submit.read_dice(path)


def test_a_failure_of_git_is_not_taken_for_a_commit(project):
    (project / ".git/config").write_text("[core", encoding="ascii")
    assert re.search(r"git failed \(fatal: bad config line \d in file .git/config\)", refused(project))
    shutil.rmtree(project / ".git")
    assert "git failed (fatal: not a git repository" in refused(project)


def test_a_repository_without_a_commit_has_not_kept_anything(project):
    shutil.rmtree(project / ".git")
    git(project, "init", "-q")
    assert "no commit and no experiment has this dvc.lock" in refused(project)


def test_what_was_sent_stays_in_the_log(project):
    with Server() as server:
        stage(project, "submit", "--message", "first", "--yes")
        before = (project / LOG).read_bytes()
        assert Question(project).answer(b"n\n")[0] == 1
        assert (project / LOG).read_bytes() == before
        server.refusals["CreateSubmission"] = [(400, {}, {"code": 400, "message": "No more today."})]
        message = stage(project, "submit", "--message", "second", "--yes", status=1)
    assert (project / LOG).read_bytes().startswith(before)
    *_, sending, error = log_of(project)
    assert sending["message"].startswith("second · ")
    assert error["event"] == "error"
    assert error["error"] in message
    assert error["id"] == sending["id"]
    assert "Kaggle answers 400: No more today; nothing was submitted" in error["error"]


@pytest.mark.parametrize("kind", ["counted", "not listed", "refused"])
def test_what_may_have_been_counted_is_recorded_as_such(project, monkeypatch, kind):
    monkeypatch.chdir(project)
    monkeypatch.setattr(client, "LOOK_PAUSE", 0)
    with Server() as server:
        if kind == "counted":
            server.afterwards["CreateSubmission"] = [(500, {})]
        elif kind == "refused":
            server.listed = {"status": "ERROR", "errorDescription": "a row is missing"}
        else:
            server.refusals["ListSubmissions"] = [(500, {})] * 9
        with pytest.raises(UserError) as error:
            submit.send(project / SUBMISSION[1], "message", {})
    message = str(error.value)
    sending, *taken, outcome = log_of(project)
    assert [entry["reference"] for entry in taken] == ([] if kind == "counted" else [42])
    assert outcome["event"] == ("error" if kind == "refused" else "uncertain")
    assert ("may have been counted: look at https" in message) == (kind != "refused")
    assert outcome["error"] in message
    assert {sending["id"]} == {entry["id"] for entry in (*taken, outcome)}


def warnings(folder, *arguments):
    command = [sys.executable, "-m", "stages.submit", "--yes", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    return [line for line in done.stderr.splitlines() if line.startswith("warning: ")]


def test_the_same_file_and_a_limit_of_nothing_are_warned_of(project):
    with Server() as server:
        server.refusals["CreateSubmission"] = [(400, {})]
        assert not warnings(project)
        assert not warnings(project), "the first was refused"
        (warning,) = warnings(project)
        assert re.search(r"this file was sent before, 20\S+ .Kaggle took it, reference 43", warning)
        server.afterwards["CreateSubmission"] = [(500, {})]
        server.left = {"numAllowedNow": 0}
        first, second = warnings(project), warnings(project)
        assert "no submission is left today" in first[2]
        assert "it may have been counted" in second[2]
        with (project / LOG).open("ab") as file:
            file.write(b'\n[]\n{"event": "sending"}\n{"event": "sending", "id": "x", "file": 1}\n\xff\n{"id": ')
        assert len(warnings(project)) == 5
        assert "(of 0 that are left today)" in (question := Question(project)).asked
        assert question.answer(b"n\n")[0] == 1


def test_no_answer_is_no(project):
    with Server() as server:
        status, output = Question(project).answer(b"\x04")
    assert status == 1
    assert "error in submit: not submitted" in output
    assert "Traceback" not in output
    assert not server.uploads


@pytest.mark.parametrize("words", ["--yes", "-h", "cost $5, $HOME", "ünïcode", b"\xff no UTF-8"])
def test_every_message_is_text(project, words):
    with Server() as server:
        command = [sys.executable, "-m", "stages.submit", "--yes"]
        message = b"--message=" + (words if isinstance(words, bytes) else words.encode())
        subprocess.run([*command, message], cwd=project, check=True, capture_output=True, timeout=60)
    expected = "? no UTF-8" if isinstance(words, bytes) else words
    assert server.uploads[0]["description"].startswith(f"{expected} · ")


@pytest.mark.parametrize("text", ["", "<<<<<<< ours\na: 1\n=======\n", "stages: !!timestamp x", "{" * 5000, "[]", "\0"])
def test_a_broken_lock_is_named(project, text):
    (project / LOCK).write_text(text, encoding="ascii")
    assert "dvc.lock is not what DVC writes" in refused(project)
    (project / LOCK).unlink()
    assert "dvc.lock is missing; `dvc repro` makes it" in refused(project)


def test_an_upload_that_was_killed_stays_in_the_log_without_an_outcome(project):
    with Server() as server:
        server.may_upload.clear()
        process = subprocess.Popen([sys.executable, "-m", "stages.submit", "--yes"], cwd=project)
        limit = time.monotonic() + 60
        while not any(name == "StartSubmissionUpload" for name, _ in server.calls):
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert [entry["event"] for entry in log_of(project)] == ["sending"]
        server.may_upload.set()
        stage(project, "submit", "--yes")
    assert [entry["event"] for entry in log_of(project)] == ["sending", "sending", "taken", "answer"]


def test_a_good_submission_is_said_to_be_one(project):
    assert "2 rows, 0 of them without a car" in stage(project, "check")
