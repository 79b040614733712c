"""The whole pipeline by DVC, in a clone of its own, on a demo set of four training cars and one test car."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

TINY = {
    "demo": {"train_cars": 4, "test_cars": 1},
    "split": {"folds": 2, "test_fraction": 0.25},
    "train": {"size": 64, "depth": 3, "width": 4, "epochs": 2, "learning_rate": 0.01},
}


class Clone:
    """A clone of the working tree, committed or not, and the commands that a user types in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        for name in subprocess.run(files, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
            # dvc.lock is of another set of parameters.
            if name and name != "dvc.lock" and (ROOT / name).is_file():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, folder / name)
        content = yaml.safe_load((folder / "params.yaml").read_text(encoding="utf-8"))
        for section, values in TINY.items():
            content[section] |= values
        (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
        self.git("init", "-q")
        self.git("config", "user.name", "Test")
        self.git("config", "user.email", "test@localhost")
        self.commit()

    def git(self, *words: str) -> str:
        return subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True, text=True).stdout

    def commit(self) -> None:
        self.git("add", "-A")
        self.git("commit", "-qm", "state")

    def dvc(self, *words: str) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", "dvc", *words]
        done = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def read(self, name: str) -> dict:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))

    def model(self) -> bytes:
        return (self.folder / "models/fold-0.safetensors").read_bytes()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    made = Clone(tmp_path_factory.mktemp("clone"))
    made.dvc("repro")
    made.commit()
    return made


def test_the_road_ends_in_a_scored_submission(clone):
    rows = (clone.folder / "data/submission.csv").read_text(encoding="ascii").splitlines()
    assert rows[0] == "img,rle_mask"
    assert len(rows) == 1 + 16
    assert clone.read("metrics/leaderboard.json")["leaderboard"]["images"] == 16
    assert 0.3 < clone.read("metrics/leaderboard.json")["leaderboard"]["dice"] <= 1
    assert clone.read("metrics/evaluate.json")["test"]["images"] == 16


def test_nothing_changed_runs_nothing(clone):
    started = time.monotonic()
    output = clone.dvc("repro")
    assert "Data and pipelines are up to date" in output
    # Under 2 s on an idle machine; tests share theirs.
    assert time.monotonic() - started < 8
    assert clone.git("status", "--porcelain") == "", "a run leaves nothing for git but what was committed"


def test_speed_knobs_run_nothing_again(clone):
    path = clone.folder / "params.yaml"
    text = path.read_text(encoding="utf-8")
    path.write_text(
        re.sub(r"workers: \d+", "workers: 1", text).replace("device: auto", "device: cpu"), encoding="utf-8"
    )
    assert path.read_text(encoding="utf-8") != text
    assert "Data and pipelines are up to date" in clone.dvc("repro")
    path.write_text(text, encoding="utf-8")


def test_sizes_are_experiments_of_their_own_and_the_way_back_is_a_cache_hit(clone):
    first, dice = clone.model(), clone.read("metrics/evaluate.json")["test"]
    clone.dvc("exp", "run", "-S", "train.size=96")
    assert clone.model() != first
    assert clone.read("metrics/evaluate.json")["test"] != dice
    output = clone.dvc("exp", "run", "-S", "train.size=64")
    assert "Stage 'train@0' is cached" in output
    assert "Stage 'resize' is cached" in output
    assert clone.model() == first
    assert clone.read("metrics/evaluate.json")["test"] == dice
    clone.git("restore", ".")


def test_an_experiment_in_a_copy_runs_the_copys_code(clone):
    """The library tells where it lies: an editable install, say, would run the workspace's and not the copy's."""
    module = clone.folder / "src/carvana/evaluation.py"
    text = module.read_text(encoding="utf-8")
    module.write_text(text.replace('"images": len(scores)', '"images": __file__'), encoding="utf-8")
    clone.dvc("exp", "run", "--temp", "--name", "copied", "-S", "train.epochs=1")
    module.write_text(text, encoding="utf-8")
    assert str(clone.folder / ".dvc/tmp/exps") in clone.dvc("exp", "show", "--json")
    assert clone.read("metrics/evaluate.json")["test"]["images"] == 16, "the workspace stays as it was"


def test_experiments_and_plots_are_shown(clone):
    header = clone.dvc("exp", "show", "--csv").splitlines()[0]
    for column in ("test.dice", "validation.dice", "test.dice_network_size", "leaderboard.dice", "train.size"):
        assert column in header.split(","), header
    clone.dvc("plots", "show", "-o", "plots")
    page = (clone.folder / "plots/index.html").read_text(encoding="utf-8")
    assert "validation_dice" in page
    shutil.rmtree(clone.folder / "plots")
