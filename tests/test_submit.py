"""A submission is checked and sent, and the outcome is recorded; tests/test_submit_origin.py has its origin."""

import contextlib
import gzip
import hashlib
import os
import pty
import re
import subprocess
import sys
import time

import pytest
from competition_files import csv_text
from finished_project import (
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
    write_submission,
)
from kaggle_server import Server
from projects import stage

from carvana.base import paths
from carvana.base.errors import UserError
from carvana.commands import check, submit
from carvana.kaggle import client


@pytest.fixture
def project(tmp_path, monkeypatch):
    return make_finished_project(tmp_path, monkeypatch)


def test_it_is_sent_with_what_it_can_be_found_by(project):
    with Server() as server:
        said = stage(project, "submit", "--message", "first", "--yes")
    assert "2 rows, 0 of them without a car" in said
    assert "Successfully submitted (reference 42)" in said
    head, lock = git(project, "rev-parse", "HEAD"), hashlib.sha256((project / LOCK).read_bytes()).hexdigest()
    (upload,) = server.uploads
    assert upload["data"] == (project / "data/submission.csv.gz").read_bytes()
    assert upload["description"] == (
        f"first · trunk · Dice test 0.99310, validation 0.99470 · commit {head[:12]} · dvc.lock {lock[:12]}"
    )
    assert [body["fileName"] for name, body in server.calls if name == "StartSubmissionUpload"] == ["submission.csv.gz"]
    sending, taken, answer = log_of(project)
    assert [entry["event"] for entry in (sending, taken, answer)] == ["sending", "taken", "answer"]
    assert sending["origin"] == {"commit": head, "name": "trunk"}
    assert sending["dvc_lock_sha256"] == lock
    assert sending["params"]["train"]["seed"] == 42
    assert sending["dice"] == {"test": 0.9931, "validation": 0.9947}
    assert sending["file"] == {
        "md5": hashlib.md5(upload["data"]).hexdigest(),
        "name": "data/submission.csv.gz",
        "sha256": hashlib.sha256(upload["data"]).hexdigest(),
    }
    assert (taken["kaggle"], taken["reference"], answer["status"]) == ("Successfully submitted", 42, "pending")
    assert answer["id"] == taken["id"] == sending["id"]
    assert answer["time"] > sending["time"]
    assert answer["time"].endswith("+00:00")
    assert not (project / ".work/submit").exists()


class Question:
    """`make submit` at its question, with a terminal to answer it."""

    def __init__(self, folder):
        self.terminal, other = pty.openpty()
        command = [sys.executable, "-u", "-m", "carvana", "submit"]
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
        for word in (b"n\n", b"\x04"):
            question = Question(project)
            assert "Submit (of 4 that are left today)? [y/N]" in question.asked
            status, output = question.answer(word)
            assert status == 1
            assert "error in submit: not submitted" in output
            assert "Traceback" not in output
    assert not server.uploads
    assert not (project / LOG).exists()


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
    (upload,) = sent(project)
    assert upload["data"] == (project / "data/submission.csv.gz").read_bytes()
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
def test_a_bad_submission_is_named_with_its_line(project, monkeypatch, rows, complaint):
    monkeypatch.chdir(project)
    write_submission(project, rows)
    with pytest.raises(UserError, match=complaint):
        check.main(paths.SUBMISSION, paths.SAMPLE_SUBMISSION)
    with pytest.raises(UserError, match=complaint) as error, submit.copy_of(paths.SUBMISSION_GZIP) as packed:
        check.main(packed, paths.SAMPLE_SUBMISSION)
    assert str(packed) not in str(error.value), "the user knows the original"


@pytest.mark.parametrize("text", ["{", "\xff", '{"test": {"iou": 1}}'])
def test_a_broken_evaluation_is_named(tmp_path, text):
    path = tmp_path / "evaluate.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"evaluate\.json has no Dice \(.*`dvc repro -f -s evaluate` makes it"):
        submit.read_dice(path)


def test_what_was_sent_stays_in_the_log(project, monkeypatch):
    monkeypatch.chdir(project)
    with Server() as server:
        submit.main("first", sure=True)
        before = (project / LOG).read_bytes()
        server.refusals["CreateSubmission"] = [(400, {}, {"code": 400, "message": "No more today."})]
        with pytest.raises(UserError) as message:
            submit.main("second", sure=True)
    assert (project / LOG).read_bytes().startswith(before)
    *_, sending, error = log_of(project)
    assert sending["message"].startswith("second · ")
    assert error["event"] == "error"
    assert error["error"] in str(message.value)
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


def warnings(folder, capsys):
    with contextlib.chdir(folder), contextlib.suppress(UserError):
        submit.main("", sure=True)
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]


def test_the_same_file_and_a_limit_of_nothing_are_warned_of(project, capsys, monkeypatch):
    monkeypatch.setattr(client, "LOOK_PAUSE", 0)
    with Server() as server:
        server.refusals["CreateSubmission"] = [(400, {})]
        assert not warnings(project, capsys)
        assert not warnings(project, capsys), "the first was refused"
        (warning,) = warnings(project, capsys)
        assert re.search(r"this file was sent before, 20\S+ .Kaggle took it, reference 43", warning)
        server.afterwards["CreateSubmission"] = [(500, {})]
        server.left = {"numAllowedNow": 0}
        first, second = warnings(project, capsys), warnings(project, capsys)
        assert "no submission is left today" in first[2]
        assert "it may have been counted" in second[2]
        with (project / LOG).open("ab") as file:
            file.write(b'\n[]\n{"event": "sending"}\n\xff\n{"id": ')
        assert len(warnings(project, capsys)) == 5
        assert "(of 0 that are left today)" in (question := Question(project)).asked
        assert question.answer(b"n\n")[0] == 1


@pytest.mark.parametrize("words", ["--yes", "cost $5 in ünïcode", b"\xff no UTF-8"])
def test_every_message_is_text(project, words):
    with Server() as server:
        command = [sys.executable, "-m", "carvana", "submit", "--yes"]
        message = b"--message=" + (words if isinstance(words, bytes) else words.encode())
        subprocess.run([*command, message], cwd=project, check=True, capture_output=True, timeout=60)
    expected = "? no UTF-8" if isinstance(words, bytes) else words
    assert server.uploads[0]["description"].startswith(f"{expected} · ")


def test_an_upload_that_was_killed_stays_in_the_log_without_an_outcome(project):
    with Server() as server:
        server.may_upload.clear()
        process = subprocess.Popen([sys.executable, "-m", "carvana", "submit", "--yes"], cwd=project)
        limit = time.monotonic() + 60
        while not any(name == "StartSubmissionUpload" for name, _ in server.calls):
            assert process.poll() is None
            assert time.monotonic() < limit
            time.sleep(0.05)
        process.kill()
        process.wait()
        assert [entry["event"] for entry in log_of(project)] == ["sending"]
        server.may_upload.set()
    sent(project)
    assert [entry["event"] for entry in log_of(project)] == ["sending", "sending", "taken", "answer"]
