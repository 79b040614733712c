"""Recipes: their files, what they set in params.yaml, what they cost, and their runs in a clone."""

import contextlib
import dataclasses
import os
import re
import shutil
import subprocess
import time

import psutil
import pytest
import torch
from clones import TOOLS, Clone
from competition_files import CARS as SOME_CARS
from competition_files import write_competition
from projects import ROOT, read_params, stage_alone, start, wait_until

from carvana.base import params, paths, speed, yaml12
from carvana.base.console import duration
from carvana.base.errors import UserError
from carvana.base.files import write_json
from carvana.competition import CARS, TEST_PHOTOS
from carvana.devices import device
from carvana.kaggle import provenance
from carvana.recipes import choice, estimate, making, probe, recipe, workspace
from carvana.recipes.estimate import Cost, Data, cost_of
from carvana.recipes.probe import Rates

RATES = Rates(label=100, train=10, validate=20, predict=40, memory=2000)


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """The current folder is a clone with tiny recipes: large teaches fast."""
    made = Clone(tmp_path / "clone")
    monkeypatch.chdir(made.folder)
    return made


def recipes_of_the_project(monkeypatch):
    monkeypatch.chdir(ROOT)
    return recipe.everything()


def test_every_recipe_of_the_project_is_possible_here_and_elsewhere(monkeypatch):
    for each in recipes_of_the_project(monkeypatch):
        text = workspace.params_of(each, (ROOT / "params.yaml").read_text(encoding="utf-8"))
        settings = params.parse(text, each.name)
        assert settings.train.encoder_weights in ("none", "imagenet"), "no path of a machine"
        assert settings.train.pseudo_labels == (each.teacher.name if each.teacher else "none")
        assert each.measured
        assert len(each.about) > 20


def test_the_readme_has_the_recipes_that_no_other_beats_in_both(monkeypatch):
    everything = recipes_of_the_project(monkeypatch)
    measured = {each.name: each.measured for each in everything}
    best = [
        each
        for each in everything
        if not any(
            other.test >= each.measured.test and other.photos_per_second > each.measured.photos_per_second
            for other in measured.values()
        )
    ]
    rows = []
    for each in best:
        dice, speed = each.measured.test, each.measured.photos_per_second
        after = f", after {each.teacher.name}" if each.teacher else ""
        hours = duration(TEST_PHOTOS / speed)
        rows.append(
            f"| {each.name} | {each.about} | {dice:.4f} | {speed:g} | {hours} | {each.measured.training}{after} |"
        )
    assert "\n".join(["|---|---|---|---|---|---|", *rows, ""]) in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("fats", None, "there is no recipe fats; did you mean fast"),
        (
            "new",
            "params: {trian: {size: 64}}",
            "recipes/new.yaml: trian is no part of a recipe, which has split, train,",
        ),
        ("new", "params: {runtime: {workers: 1}}", "recipes/new.yaml: runtime is no part of a recipe"),
        ("new", "params: [1", "recipes/new.yaml is not a recipe"),
        ("new", "epochs: 3", "recipes/new.yaml is not a recipe"),
        ("new", "teacher: lrage", "recipes/new.yaml: teacher: there is no recipe lrage; did you mean large"),
        ("large", "teacher: fast", "recipes/large.yaml has itself as a teacher: large ← fast ← large"),
        ("new", "params: {train: {epohcs: 3}}", "recipes/new.yaml: train.epohcs is not a parameter; did you mean"),
        ("new", "params: {train: {epochs: -3}}", r"recipes/new.yaml: train.epochs: .* \(got -3\)"),
    ],
)
def test_a_bad_recipe_is_named(clone, name, text, complaint):
    if text:
        clone.write_recipe(name, text)
    with pytest.raises(UserError, match=complaint):
        workspace.params_of(recipe.read(name), workspace.defaults())


def test_a_recipe_starts_from_the_defaults_and_keeps_data_and_machine(clone):
    committed = clone.yaml("params.yaml")
    assert workspace.dropped() == []
    clone.change(train_epochs=7, predict_threshold=0.4, data_source="local", runtime_workers=1, report_best=1)
    assert workspace.dropped() == ["predict.threshold=0.4", "train.epochs=7"]
    text = workspace.params_of(recipe.read("fast"), workspace.defaults())
    changes = {"train.depth": 2, "predict.flip": True, "train.pseudo_labels": "large"}
    kept = {"data.source": "local", "runtime.workers": 1, "report.best": 1}
    assert params.leaves(yaml12.parse(text)) == params.leaves(committed) | changes | kept

    # It is recognised as a recipe's, before and after it is committed, and the defaults are those of before.
    before = workspace.defaults()
    paths.PARAMS.write_text(text, encoding="utf-8")
    assert workspace.dropped() == []
    clone.commit()
    assert workspace.defaults() == before
    assert "depth: 3" in workspace.params_of(recipe.read("large"), workspace.defaults())
    clone.change(train_epochs=1)  # by a tool that drops comments
    clone.commit()
    assert workspace.defaults() != before


def test_comments_of_params_yaml_stay():
    text = (ROOT / "params.yaml").read_text(encoding="utf-8")
    changed = yaml12.changed(text, {"train.size": [64, 96], "predict.scales": [1.25, 1.0]})
    assert [line for line in changed.splitlines() if "#" in line] == [line for line in text.splitlines() if "#" in line]
    assert yaml12.changed(text, {}) == text


def test_a_cost_is_that_of_all_its_parts():
    settings = read_params(train_epochs=2, train_size=64, train_folds=[0, 1], split_folds=4, split_test_fraction=0.2)
    cost = cost_of(settings, RATES, Data(cars=50, photos=4000))
    # 10 test cars, 10 validation cars, 30 cars to train on, 16 photos each.
    fold = 2 * (480 / 10 + 160 / 20)
    assert cost.training == pytest.approx(30 + 800 / 100 + 2 * fold + 320 / 40)
    assert cost.prediction == 100
    assert cost.disk == pytest.approx((800 * 64 * 64 * 4 + 4000 * 20_000) / 1e9)

    settings = settings.model_copy(update={"train": settings.train.model_copy(update={"pseudo_labels": "large"})})
    taught = cost_of(settings, RATES, Data(cars=50, photos=4000))
    assert taught.training == pytest.approx(cost.training + 3200 / 100 + 2 * 2 * 480 / 10)
    few = cost_of(settings, RATES, Data(cars=50, photos=100))
    assert few.training == pytest.approx(cost.training + 100 / 100 + 2 * 2 * 480 / 10)
    half = settings.model_copy(update={"train": settings.train.model_copy(update={"half_size_epochs": 1})})
    cheaper = cost_of(half, RATES, Data(cars=50, photos=4000))
    assert cheaper.training == pytest.approx(taught.training - 2 * (1 - 0.25) * 2 * 480 / 10)
    both = taught.after(cost)
    assert both.training == taught.training + cost.training + cost.prediction
    assert both.prediction == taught.prediction


@pytest.mark.parametrize("half", [0, 6])
def test_what_has_run_is_said_to_cost_what_it_took(clone, half):
    changes = {"split_folds": 4, "split_test_fraction": 0.2, "runtime_device": "cpu"}
    settings = read_params(train_epochs=8, train_half_size_epochs=half, **changes)
    path, by = estimate._file_of(settings), ("torch", "cpu", device.processor(torch.device("cpu")), "float32", 1, 2)
    for target, made in (
        (paths.training_speed(0), speed.Speed(600.0, 8 * 480, 6.4, *by)),
        (paths.PREDICTION_SPEED, speed.Speed(100.0, 4000, 40.0, *by)),
        (path, RATES),
    ):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_json(target, dataclasses.asdict(made))
    estimate.remember_run(settings)
    cost = cost_of(settings, estimate._read(path), Data(cars=50, photos=4000))
    assert cost.ran
    assert cost.training == pytest.approx(30 + 800 / 100 + 600 + 320 / 40, rel=1e-4)


def test_the_best_that_fits_is_chosen(clone):
    recipes = [recipe.read(name) for name in ("default", "large", "fast")]
    hour = Cost(training=1800, prediction=1800, disk=1, memory=4, ran=True)
    costs = {
        "default": hour,
        "large": dataclasses.replace(hour, training=3600, ran=False),
        "fast": UserError("it takes more memory than there is"),
    }
    limits = choice.Limits(hours=1, disk=10, memory=8)
    assert choice.best(recipes, costs, limits).name == "default"
    assert choice.best(recipes, costs, dataclasses.replace(limits, hours=2)).name == "large"
    costs["default"] = dataclasses.replace(hour, ran=False)
    assert choice.best(recipes, costs, dataclasses.replace(limits, disk=0.5)) is None
    costs["default"] = hour  # it is on the disk already
    assert choice.best(recipes, costs, dataclasses.replace(limits, disk=0.5)).name == "default"
    assert limits.exceeded_by(costs["large"]) == "takes 90 min"
    assert dataclasses.replace(limits, memory=3).exceeded_by(hour) == "there are 3 GB of memory"
    lines = choice.as_text(recipes, costs, limits).splitlines()
    assert re.fullmatch(r"default \* +0\.8000 +30 min +30 min +1\.0 GB +4\.0 GB +–", lines[1])
    assert re.fullmatch(r"large +0\.8500 +~ 60 min +~ 30 min +1\.0 GB +4\.0 GB +– +takes 90 min", lines[2])
    assert re.fullmatch(r"fast +0\.9000( +–){4} +large +it takes more memory than there is", lines[3])


def test_folds_share_the_gpus_that_have_room(monkeypatch):
    cost = Cost(training=1, prediction=1, disk=1, memory=5, ran=False)
    assert choice.gpus(cost, torch.device("cpu")) == []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda on: (0, [16e9, 12e9][on.index]))
    assert choice.gpus(cost, torch.device("cuda")) == ["0", "1"] * 2
    assert choice.gpus(cost, torch.device("cuda", 1)) == [], "params.yaml names it"


def test_before_the_download_the_source_says_how_many_there_are(clone):
    settings = params.load(paths.PARAMS)
    assert Data.of(settings) == Data(4, 16)
    clone.change(data_source="kaggle")
    assert Data.of(params.load(paths.PARAMS)) == Data(CARS, TEST_PHOTOS)
    write_competition(paths.RAW)
    assert Data.of(params.load(paths.PARAMS)) == Data(5, 2)
    recorded = "schema: '2.0'\nstages:\n  download:\n    params: {params.yaml: {data.source: demo}}\n"
    paths.LOCK.write_text(recorded, encoding="utf-8")
    assert Data.of(params.load(paths.PARAMS)) == Data(CARS, TEST_PHOTOS), "what is there is the demo's"
    clone.change(data_source="local", data_local_dir="data/raw")
    assert Data.of(params.load(paths.PARAMS)).cars == 5


def test_real_steps_are_measured(clone):
    paths.ESTIMATES.mkdir(parents=True)
    write_competition(clone.folder / "zips", [], SOME_CARS[:1])
    text, photos = paths.PARAMS.read_text(encoding="utf-8"), clone.folder / "zips/test.zip"
    rates = probe.measure(text, photos)
    assert all(1 < rate < 100_000 for rate in (rates.label, rates.train, rates.validate, rates.predict))
    assert 100 < rates.memory < 10_000
    assert list(paths.ESTIMATES.iterdir()) == []


def test_a_first_step_that_is_slow_does_not_count(monkeypatch):
    steps, clock = [], [0.0]

    def work(photos):
        clock[0] += 0.5 * photos if steps else 20
        steps.append(photos)

    monkeypatch.setattr(probe, "perf_counter", lambda: clock[0])
    assert probe._rate(work, 4) == 2
    assert steps == [4, 4, 8]


@pytest.mark.slow
def test_folds_that_are_trained_beside_each_other_are_the_same(clone, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    clone.change(train_folds=[0, 1])
    making.train_beside_each_other((0, 1), ("0", "1"))
    models = [paths.model(fold).read_bytes() for fold in (0, 1)]
    assert "epoch 2/2" in (paths.WORK / "train-1.log").read_text(encoding="utf-8")
    for fold in (0, 1):
        shutil.rmtree(paths.unfinished(fold))
        paths.model(fold).unlink()
        stage_alone(clone.folder, "train", str(fold))
    assert [paths.model(fold).read_bytes() for fold in (0, 1)] == models


def names_and_bytes(outputs, folder):
    return {name.removeprefix(str(folder)): content for name, content in outputs.items()}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A clone in which the pipeline and then the recipe fast ran, what the first made, and what the second printed."""
    clone = Clone(tmp_path_factory.mktemp("recipes") / "clone")
    clone.change(runtime_engine="torch", train_precision="float32")
    clone.commit()
    clone.dvc("repro")
    made = clone.outputs()
    clone.change(train_epochs=9)
    return clone, made, make(clone, "recipe", "NAME=fast")


def make(clone, *words):
    """What a target of the Makefile prints; the environment is there already."""
    environment = os.environ | {"PATH": TOOLS, "PYTHONPATH": "src", "OMP_NUM_THREADS": "1"}
    command = ["make", "-o", "install", *words]
    done = subprocess.run(command, cwd=clone.folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_recipe_runs_its_teachers_and_is_an_experiment(finished, monkeypatch):
    clone, _, shown = finished
    assert "params.yaml takes the recipe's values, and loses train.epochs=9\nRunning large, then fast: about" in shown
    assert "It is the experiment fast now" in shown
    assert clone.yaml("params.yaml")["train"]["depth"] == 2
    assert set(clone.dvc("exp", "list", "--name-only").split()) == {"large", "fast"}
    stored = clone.git(
        "ls-tree",
        "-r",
        "--name-only",
        clone.git("for-each-ref", "--format=%(objectname)", "refs/exps/*/*/fast").strip(),
    )
    assert {"dvc.lock", "metrics/evaluate.json", "metrics/leaderboard.json"} <= set(stored.split())
    assert "metrics/scores.csv" not in stored
    assert clone.git("status", "--porcelain", "params.yaml", "src") == " M params.yaml\n"
    monkeypatch.chdir(clone.folder)
    read = {each["path"]: each["md5"] for each in clone.yaml("dvc.lock")["stages"]["label"]["deps"]}
    provenance.require_kept("teachers/large", read["teachers/large"])


@pytest.mark.slow
def test_killed_anywhere_the_same_command_goes_on_to_the_same_bytes(finished, tmp_path):
    clone, _, _ = finished
    killed = Clone(tmp_path / "clone")
    killed.change(runtime_engine="torch", train_precision="float32")
    killed.commit()
    shutil.copytree(clone.folder / paths.ESTIMATES, killed.folder / paths.ESTIMATES)
    folder, begun = killed.folder, time.time()
    moments = [
        lambda: any(folder.glob(".work/train-0/*/epoch.pt")),
        lambda: len(list(folder.glob(".work/train-0/*/epoch.pt"))) == 2,
        lambda: (folder / ".work/predict.pid").stat().st_mtime > begun,
    ]
    for moment in moments:
        begun = time.time()
        with start(folder, "recipe", "fast") as process:
            wait_until(moment, process)
            process.kill()
            process.communicate()
        limit = time.monotonic() + 30
        while processes_in(folder):
            assert time.monotonic() < limit
            time.sleep(0.1)
    stage_alone(killed.folder, "recipe", "fast")
    assert names_and_bytes(killed.outputs(), killed.folder) == names_and_bytes(clone.outputs(), clone.folder)


@pytest.mark.slow
def test_nothing_is_made_again_and_the_default_is_that_of_a_fresh_clone(finished):
    clone, made, _ = finished
    before, refs = clone.outputs(), clone.git("for-each-ref", "refs/exps")
    shown = make(clone, "recipe", "HOURS=1")
    assert "Running large, then fast: about" in shown, "the best of all"
    assert "Running stage" not in shown
    assert clone.outputs() == before
    assert clone.git("for-each-ref", "refs/exps") == refs

    listed = make(clone, "recipes", "HOURS=1")
    assert re.search("^fast .* ~", listed, re.MULTILINE) is None, "its own times"
    assert re.search("^default .* ~", listed, re.MULTILINE)
    stage_alone(clone.folder, "recipe", "default")
    assert clone.outputs() == made


def processes_in(folder):
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            found += [process] if process.cwd().startswith(str(folder)) else []
    return found
