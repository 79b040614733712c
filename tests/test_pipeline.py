"""The whole pipeline by DVC, in a clone of its own, on a demo set of four training cars and one test car."""

import json
import re
import shutil
import time
from pathlib import Path

import pytest
from clones import TINY, Clone
from projects import stage, wait_for_an_epoch

from carvana.commands import submit
from carvana.training import resume


@pytest.fixture(scope="module")
def _whole(tmp_path_factory):
    made = Clone(tmp_path_factory.mktemp("clone"))
    made.dvc("repro")
    made.commit()
    return made


@pytest.fixture
def clone(_whole):
    """A clone in which everything is done and committed, and which becomes so again after the test."""
    head = _whole.git("rev-parse", "HEAD")
    yield _whole
    if _whole.git("status", "--porcelain") or _whole.git("rev-parse", "HEAD") != head:
        _whole.git("reset", "-q", "--hard", head.strip())
        _whole.dvc("checkout", "--force")


def test_the_road_ends_in_a_scored_submission_and_all_that_is_made_is_an_output(clone):
    rows = (clone.folder / "data/submission.csv").read_text(encoding="ascii").splitlines()
    assert rows[0] == "img,rle_mask"
    assert len(rows) == 1 + 16
    assert clone.read("metrics/leaderboard.json")["leaderboard"]["images"] == 16
    assert 0.3 < clone.read("metrics/leaderboard.json")["leaderboard"]["dice"] <= 1
    assert clone.read("metrics/evaluate.json")["test"]["images"] == 16
    stages = clone.yaml("dvc.lock")["stages"].values()
    known = [clone.folder / out["path"] for stage in stages for out in stage.get("outs", [])]
    made = [path for path in map(Path, clone.outputs()) if path.name != ".gitkeep"]
    assert [path for path in made if not any(path.is_relative_to(each) for each in known)] == []


def test_the_speed_of_training_and_prediction_is_kept_with_them_and_runs_nothing_again(clone):
    speeds = {name: clone.read(f"metrics/speed/{name}.json") for name in ("fold-0", "predict")}
    assert speeds["predict"]["photos"] == 16
    validated = clone.read("metrics/evaluate.json")["validation"]["images"]
    assert speeds["fold-0"]["photos"] == 2 * (48 - validated), "two epochs of what neither validates nor tests"
    assert all(speed["seconds"] > 0 and speed["photos_per_second"] > 0 for speed in speeds.values())
    path = clone.folder / "metrics/speed/predict.json"
    path.unlink()
    assert "Everything is up to date" not in clone.dvc("status")
    assert "Stage 'predict' is cached" in clone.dvc("repro")
    assert clone.read("metrics/speed/predict.json") == speeds["predict"], "as it was measured"


def test_nothing_changed_runs_nothing_and_a_speed_knob_only_the_stage_that_looks_at_it(clone):
    started = time.monotonic()
    assert "Data and pipelines are up to date" in clone.dvc("repro")
    # Under 2 s on an idle machine; tests share theirs.
    assert time.monotonic() - started < 8
    assert clone.git("status", "--porcelain") == "", "a run leaves nothing for git but what was committed"
    clone.change(runtime_workers=1, runtime_device="cpu")
    assert re.findall(r"Running stage '(.*)'", clone.dvc("repro")) == ["params"]


@pytest.mark.slow
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


@pytest.mark.slow
def test_more_folds_reuse_those_that_are_there_and_are_scored_out_of_fold(clone):
    before = clone.read("metrics/evaluate.json")
    output = clone.dvc("exp", "run", "-S", "train.folds=[0,1]")
    assert "Stage 'train@0' didn't change" in output
    after = clone.read("metrics/evaluate.json")
    assert after["validation"]["images"] == 48 > before["validation"]["images"]
    assert after["model"]["parameters"] == 2 * before["model"]["parameters"]
    assert after["model"]["epochs"] == 4
    assert after["test"] != before["test"], "both models are averaged"
    curves = (clone.folder / "metrics/curves.csv").read_text(encoding="ascii")
    assert re.search("^2,1,.*,validation at full size,", curves, re.MULTILINE)
    for folds in ([0], [0, 1]):
        clone.change(train_folds=folds)
        again = clone.dvc("repro", "params", "encode")
        assert "Running stage 'params'" in again
        assert not re.search("Running stage '(train|predict)", again), "all of it is in DVC's cache"


@pytest.mark.slow
def test_a_killed_dvc_is_gone_on_from_and_forced_work_is_done_again_with_the_same_bytes(clone):
    with clone.start("exp", "run", "-S", "train.epochs=15") as process:
        wait_for_an_epoch(clone.folder, process, after=time.time())
        process.kill()
    written = max(clone.folder.glob(".work/train-0/*/epoch.pt"), key=lambda path: path.stat().st_mtime)
    assert len(resume.load(written)["history"]) < 15, "killed too late to show anything"
    # The stage ends with its dvc; were it to go on, the lock would turn the next one away.
    clone.dvc("repro")
    before, since = clone.outputs(), time.time()
    clone.dvc("repro", "-s", "-f", "train@0")
    clone.dvc("repro", "-s", "-f", "predict")
    done = [*clone.folder.glob(".work/train-0/*/epoch.pt"), *clone.folder.glob(".work/predict/*/*.parquet")]
    assert sum(path.stat().st_mtime > since for path in done) == 2, "one training, one shard"
    assert clone.outputs() == before


def test_a_bad_parameter_is_refused_before_anything_is_removed(clone):
    before = clone.outputs()
    # The first leaves params.yaml changed.
    for words in (["exp", "run", "-S", "train.size=100"], ["repro"]):
        output = clone.dvc(*words, fails=True)
        assert "train.size: Input should be a multiple of 32 (got 100)" in output
        kept = "params.yaml keeps train.size=100; `git checkout HEAD -- params.yaml` takes that back"
        assert (kept in output) == (words[0] == "exp")
        assert "Traceback" not in output
        assert clone.outputs() == before


def test_what_a_failed_stage_says_brings_everything_back_even_uncommitted_results(clone):
    """The advice is followed to the letter, in a project whose results git has never seen."""
    clone.git("rm", "-rq", "--cached", "dvc.lock", "metrics")
    clone.git("commit", "-qm", "as cloned")
    before = clone.outputs()
    clone.change(train_size=100)
    output = clone.dvc("repro", "resize", fails=True)
    assert "`dvc checkout resize` brings back data/cache" in output
    assert not (clone.folder / "data/cache").exists(), "DVC has removed it"
    clone.dvc("checkout", "resize")
    assert clone.outputs() == before


def test_the_advice_names_git_for_metrics_that_dvc_does_not_keep(clone):
    before = clone.outputs()
    split = clone.folder / "data/split.csv"
    split.unlink()
    split.write_bytes(b"not,a,split\n1,2,3\n")
    output = clone.dvc("repro", "-s", "-f", "evaluate", fails=True)
    assert "`dvc checkout evaluate` and `git restore metrics/evaluate.json` brings back metrics/scores.csv, " in output
    clone.dvc("checkout", "evaluate")
    clone.git("restore", "metrics/evaluate.json")
    clone.dvc("checkout", "--force", "split")
    assert clone.outputs() == before


@pytest.mark.slow
def test_parameters_and_code_changed_while_a_stage_runs_are_not_recorded_with_its_result(clone):
    clone.change(train_epochs=60)
    module = clone.folder / "src/carvana/training/losses.py"
    text = module.read_text(encoding="utf-8")
    with clone.start("repro", "train@0") as process:
        wait_for_an_epoch(clone.folder, process, after=time.time())
        # As `dvc exp run -S` does, which is refused while another runs and leaves the file changed.
        clone.change(train_epochs=61)
        module.write_text(text + "\n", encoding="utf-8")
        output, _ = process.communicate(timeout=300)
    assert process.returncode != 0
    assert "src/carvana/training/losses.py, train.epochs changed while train@0 ran" in output, output
    recorded = clone.yaml("dvc.lock")["stages"]["train@0"]["params"]["params.yaml"]["train.epochs"]
    assert recorded == TINY["train"]["epochs"]
    # As they were, what is finished is not done again.
    clone.change(train_epochs=60)
    module.write_text(text, encoding="utf-8")
    since = time.time()
    clone.dvc("repro", "train@0")
    assert not [path for path in clone.folder.glob(".work/train-0/*/epoch.pt") if path.stat().st_mtime > since]
    history = (clone.folder / "models/fold-0.csv").read_text(encoding="ascii").splitlines()
    assert len(history) == 1 + 60


@pytest.mark.slow
def test_an_experiment_in_a_copy_runs_the_copys_code(clone, monkeypatch):
    """The library tells where it lies, though the environment names the workspace's, as an editable install does."""
    monkeypatch.setenv("PYTHONPATH", str(clone.folder / "src"))
    module = clone.folder / "src/carvana/results/scoring.py"
    text = module.read_text(encoding="utf-8")
    edited = text.replace('"images": len(scores)', '"images": len(scores), "code": __file__')
    module.write_text(edited, encoding="utf-8")
    clone.dvc("exp", "run", "--temp", "--name", "copied", "-S", "train.epochs=1")
    module.write_text(text, encoding="utf-8")
    assert str(clone.folder / ".dvc/tmp/exps") in clone.dvc("exp", "show", "--json")
    assert "code" not in clone.read("metrics/evaluate.json")["test"], "the workspace stays as it was"


def test_experiments_and_plots_are_shown(clone, tmp_path):
    header = clone.dvc("exp", "show", "--csv").splitlines()[0]
    for column in ("test.dice", "validation.dice", "test.dice_network_size", "leaderboard.dice", "train.size"):
        assert column in header.split(","), header
    clone.dvc("plots", "show", "-o", str(tmp_path / "plots"))
    page = (tmp_path / "plots/index.html").read_text(encoding="utf-8")
    titles = [next(iter(plot)) for plot in clone.yaml("dvc.yaml")["plots"] if isinstance(plot, dict)]
    assert page.count("vegaEmbed(") == len(titles) == 7
    for title in titles:
        assert f'"text": "{title}"' in page
    assert "<DVC_METRIC" not in page
    pictures = sorted(path.name for path in (clone.folder / "metrics/pictures").iterdir())
    shown = re.findall(r"<p>metrics/pictures/(.*?)</p>", page)
    assert shown == pictures


@pytest.mark.slow
def test_a_submission_is_that_of_its_experiment(clone, server, monkeypatch):
    local = clone.folder.parent / "local"
    shutil.copytree(clone.folder / "data/raw", local)
    monkeypatch.setattr(submit, "TEST_PHOTOS", 16)
    source = ["-S", "data.source=local", "-S", f"data.local_dir={local}"]
    clone.dvc("exp", "run", "--name", "whole", "-S", "train.epochs=1", *source)
    dice = clone.read("metrics/evaluate.json")["test"]["dice"]
    stage(clone.folder, "submit", "--yes")
    (upload,) = server.uploads
    assert upload["data"] == (clone.folder / "data/submission.csv.gz").read_bytes()
    assert upload["description"].startswith(f"whole · Dice test {dice:.5f}, ")
    sending, *_ = map(json.loads, (clone.folder / "data/submissions.jsonl").read_text(encoding="ascii").splitlines())
    assert sending["params"]["train"]["epochs"] == 1
