"""A submission is checked, traced to its commit, and sent."""

import gzip
import hashlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import csv_text, make_project, pack, set_params, stage
from kaggle_server import Server

from carvana import provenance
from carvana.errors import UserError

ROWS = [["img", "rle_mask"], ["011330127438_01.jpg", "1 5"], ["011330127438_02.jpg", "7 2 100 1"]]
LOCK = "dvc.lock"


def git(folder, *arguments):
    identity = {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env=os.environ | identity, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def write_submission(folder, rows):
    """submission.csv, as gzip too, and a dvc.lock that has both."""
    text = csv_text(rows).encode()
    files = {"data/submission.csv": text, "data/submission.csv.gz": gzip.compress(text, mtime=0)}
    for path, data in files.items():
        (folder / path).write_bytes(data)
    outputs = [{"path": path, "md5": hashlib.md5(data).hexdigest()} for path, data in files.items()]
    (folder / LOCK).write_text(yaml.safe_dump({"stages": {"encode": {"outs": outputs}}}), encoding="ascii")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A committed project that has come to its end, and no way to the real Kaggle."""
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "TEST")
    monkeypatch.setenv("KAGGLE_API_TOKEN", "good")
    monkeypatch.setenv("NO_PROXY", "localhost")
    folder = make_project(tmp_path / "project")
    set_params(folder, train_seed=42)
    pack(folder / "data/raw/sample_submission.csv.zip", {"sample_submission.csv": csv_text(ROWS)})
    (folder / "metrics").mkdir()
    evaluation = {"test": {"dice": 0.9931}, "validation": {"dice": 0.9947}, "model": {"epochs": 6}}
    (folder / "metrics/evaluate.json").write_text(json.dumps(evaluation), encoding="ascii")
    write_submission(folder, ROWS)
    git(folder, "init", "-q", "-b", "trunk")
    git(folder, "add", LOCK, "params.yaml")
    git(folder, "commit", "-q", "-m", "all")
    return folder


def test_it_is_sent_with_what_it_can_be_found_by(project):
    with Server() as server:
        assert "Successfully submitted" in stage(project, "submit", "--message", "first", "--yes")
    commit, lock = git(project, "rev-parse", "HEAD"), hashlib.sha256((project / LOCK).read_bytes()).hexdigest()
    (upload,) = server.uploads
    assert upload["data"] == (project / "data/submission.csv.gz").read_bytes()
    assert upload["description"] == (
        f"first · trunk · Dice test 0.99310, validation 0.99470 · commit {commit[:12]} · dvc.lock {lock[:12]}"
    )
    found = json.loads((project / "data/submission.json").read_text(encoding="utf-8"))
    assert found["origin"] == {"commit": commit, "name": "trunk"}
    assert found["dvc_lock_sha256"] == lock
    assert found["params"]["train"]["seed"] == 42
    assert found["kaggle"] == "Successfully submitted"


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


def test_nothing_is_sent_unless_somebody_says_so(project):
    with Server() as server:
        assert "YES=1` submits without a question" in stage(project, "submit", status=1)
        for answer, status in ((b"n\n", 1), (b"y\n", 0)):
            terminal, other = pty.openpty()
            os.write(terminal, answer)
            done = subprocess.run(
                [sys.executable, "-m", "stages.submit"],
                cwd=project,
                stdin=other,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == status, done.stderr
            assert "Submit (of 4 that are left today)? [y/N]" in done.stdout
            assert len(server.uploads) == 1 - status


@pytest.mark.parametrize(
    ("rows", "complaint"),
    [
        ([["img", "mask"], *ROWS[1:]], "the first line is 'img,mask'"),
        (ROWS[:2], "ends after line 2; .* goes on with 011330127438_02.jpg"),
        ([*ROWS, ["a.jpg", ""]], "line 4: a.jpg where .* has no more images"),
        ([ROWS[0], ROWS[2], ROWS[1]], "line 2: 011330127438_02.jpg where .* has 011330127438_01.jpg"),
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


def test_a_submission_that_is_not_the_locks_is_refused(project):
    (project / "data/submission.csv").write_bytes(b"other")
    assert "data/submission.csv is not what dvc.lock has" in stage(project, "submit", status=1)
    (project / "data/submission.csv").unlink()
    assert "data/submission.csv is missing" in stage(project, "submit", status=1)


def test_a_good_submission_is_said_to_be_one(project):
    assert "2 rows, 0 of them without a car" in stage(project, "check")
