"""A submission is checked and sent, and the outcome is recorded; tests/test_submit_origin.py has its origin."""

import contextlib
import functools
import gzip
import hashlib
import os
import pty
import re
import subprocess
import sys

import pytest
from competition_files import csv_text
from finished_project import LOCK, LOG, ROWS, commit, git, log_of, make_finished_project, record, refused, sent
from kaggle_server import Server
from projects import set_params, stage, wait_until

from carvana.base import paths
from carvana.base.errors import UserError
from carvana.commands import submit


@pytest.fixture
def project(tmp_path, monkeypatch):
    return make_finished_project(tmp_path, monkeypatch)


def test_it_is_sent_with_what_it_can_be_found_by(project):
    with Server() as server:
        said = stage(project, "submit", "--message=--yes, $5 in ünïcode, \udcff", "--yes")  # a byte that is no UTF-8
    assert "2 rows, 0 of them without a car" in said
    assert "Successfully submitted (reference 42)" in said
    head, lock = git(project, "rev-parse", "HEAD"), hashlib.sha256((project / LOCK).read_bytes()).hexdigest()
    (upload,) = server.uploads
    assert upload["data"] == (project / "data/submission.csv.gz").read_bytes()
    words = "--yes, $5 in ünïcode, ? · trunk · Dice test 0.99310, validation 0.99470"
    assert upload["description"] == f"{words} · commit {head[:12]} · dvc.lock {lock[:12]}"
    assert [body["fileName"] for name, body in server.calls if name == "StartSubmissionUpload"] == ["submission.csv.gz"]
    sending, taken = log_of(project)
    assert [entry["event"] for entry in (sending, taken)] == ["sending", "taken"]
    assert sending["origin"] == {"commit": head, "name": "trunk"}
    assert sending["dvc_lock_sha256"] == lock
    assert sending["params"]["train"]["seed"] == 42
    assert sending["dice"] == {"test": 0.9931, "validation": 0.9947}
    assert sending["file"] == {
        "md5": hashlib.md5(upload["data"]).hexdigest(),
        "name": "data/submission.csv.gz",
        "sha256": hashlib.sha256(upload["data"]).hexdigest(),
    }
    assert (taken["kaggle"], taken["reference"], taken["id"]) == ("Successfully submitted", 42, sending["id"])
    assert taken["time"] > sending["time"]
    assert taken["time"].endswith("+00:00")
    assert not (project / ".work/submit").exists()


def test_photos_of_the_demo_and_of_a_part_of_the_contest_are_refused_before_kaggle_is_asked(project, monkeypatch):
    monkeypatch.setattr(submit, "TEST_PHOTOS", 100_064)
    assert "submission.csv.gz has 2 rows, and Kaggle scores those of all 100,064 photos" in refused(project)
    set_params(project, data_source="demo")
    assert "the submission is of the demo's rendered cars; `data.source: kaggle` is for" in refused(project)


def begin(folder, *arguments, **pipes):
    """Starts `carvana submit` in a process of its own, in a contest of as few photos."""
    small = "from carvana import commands, competition; competition.TEST_PHOTOS = 2; commands.main()"
    pipes |= {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-u", "-c", small, "submit", *arguments], cwd=folder, **pipes)


class Question:
    """`make submit` at its question, with a terminal to answer it."""

    def __init__(self, folder):
        self.terminal, other = pty.openpty()
        self.process = begin(folder, stdin=other)
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
        for word, left in ((b"n\n", 4), (b"\x04", 0)):
            server.left = {"numAllowedNow": left}
            question = Question(project)
            assert f"Submit (of {left} that are left today)? [y/N]" in question.asked
            status, output = question.answer(word)
            assert status == 1
            assert "error in submit: not submitted" in output
            assert "Traceback" not in output
            assert ("warning: Kaggle says that no submission is left today" in output) == (left == 0)
    assert not server.uploads
    assert not (project / LOG).exists()


def test_what_is_checked_is_what_is_sent(project):
    """A `dvc repro` in another terminal may write the file anew while the question waits."""
    path = project / "data/submission.csv.gz"
    checked = path.read_bytes()
    with Server() as server:
        question = Question(project)
        path.write_bytes(b"another submission")
        assert question.answer(b"y\n")[0] == 0
    (upload,) = server.uploads
    assert upload["data"] == checked
    assert log_of(project)[0]["file"]["sha256"] == hashlib.sha256(checked).hexdigest()


def test_the_rows_are_those_inside_the_gzip(project):
    (project / "data/submission.csv.gz").write_bytes(gzip.compress(csv_text(ROWS[:2]).encode()))
    record(project, "encode")
    commit(project)
    assert "data/submission.csv.gz ends after line 2" in refused(project)


@pytest.mark.parametrize("text", ["{", "\xff", '{"test": {"iou": 1}}'])
def test_a_broken_evaluation_is_named(tmp_path, text):
    path = tmp_path / "evaluate.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(UserError, match=r"evaluate\.json has no Dice \(.*`dvc repro -f -s evaluate` makes it"):
        submit.read_dice(path)


@pytest.fixture
def send(server, pauses, tmp_path, monkeypatch):
    """Sends a file of which nobody asks where it comes from."""
    monkeypatch.chdir(tmp_path)
    paths.SUBMISSION_GZIP.parent.mkdir()
    paths.SUBMISSION_GZIP.write_bytes(b"rows")
    return functools.partial(submit.send, paths.SUBMISSION_GZIP, "message", {"file": {"sha256": "abcd"}})


@pytest.mark.parametrize(
    ("trouble", "events"),
    [
        ({"refusals": {"CreateSubmission": [(400, {})]}}, ["sending", "error"]),
        ({"afterwards": {"CreateSubmission": [(500, {})]}}, ["sending", "uncertain"]),
    ],
)
def test_a_failure_is_recorded_below_what_was_sent_before(server, send, tmp_path, trouble, events):
    send()
    before = (tmp_path / LOG).read_bytes()
    vars(server).update(trouble)
    with pytest.raises(UserError) as error:
        send()
    assert (tmp_path / LOG).read_bytes().startswith(before)
    failed = log_of(tmp_path)[2:]
    assert [entry["event"] for entry in failed] == events
    assert len({entry["id"] for entry in failed}) == 1
    assert failed[-1]["error"] == str(error.value)
    assert ("may have been counted: look at https" in str(error.value)) == (events[-1] == "uncertain")


def test_a_fault_of_our_own_leaves_an_outcome_without_its_words(send, tmp_path, monkeypatch):
    monkeypatch.setattr(submit.client, "submit", lambda *_: {}["a token"])
    with pytest.raises(KeyError):
        send()
    assert [(entry["event"], entry.get("error")) for entry in log_of(tmp_path)] == [
        ("sending", None),
        ("uncertain", "KeyError"),
    ]


def test_a_file_that_was_sent_before_is_warned_of_unless_it_was_refused(server, send, tmp_path, capsys):
    def warnings(sha256="abcd"):
        submit.warn(sha256, left=None)
        return capsys.readouterr().err.splitlines()

    server.refusals["CreateSubmission"] = [(400, {})]
    with contextlib.suppress(UserError):
        send()
    assert not warnings()
    send()
    (warning,) = warnings()
    assert re.match(r"warning: this file was sent before, 20\S+ .Kaggle took it, reference 43", warning)
    server.afterwards["CreateSubmission"] = [(500, {})]
    with contextlib.suppress(UserError):
        send()
    with (tmp_path / LOG).open("ab") as file:
        file.write(b'\n[]\n{"event": "sending"}\n\xff\n{"id": ')
    _, warning = warnings()
    assert "it may have been counted" in warning
    assert not warnings("another")


def test_a_killed_upload_has_no_outcome_and_what_it_has_left_is_replaced(project, capsys):
    with Server() as server:
        server.refusals["StartSubmissionUpload"] = [None]
        with begin(project, "--yes") as process:
            wait_until(lambda: any(name == "StartSubmissionUpload" for name, _ in server.calls), process)
            process.kill()
    (project / ".work/submit/submission.csv.gz").write_bytes(b"of the killed run")
    (upload,) = sent(project)
    assert upload["data"] == (project / "data/submission.csv.gz").read_bytes()
    assert "warning: this file was sent before" in capsys.readouterr().err
    assert [entry["event"] for entry in log_of(project)] == ["sending", "sending", "taken"]
