"""dvc.yaml against the code: what DVC does not know, it does not re-run."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from carvana.base import paths

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

# Code that cannot change a result; an edit there must not train again.
GROUND = "base"

LIBRARY = ROOT / "src" / "carvana"
FILES = {".".join(path.relative_to(LIBRARY).with_suffix("").parts): path for path in LIBRARY.rglob("*.py")}


def imported(file):
    """Modules of carvana that a file imports, by their names in it, `masks.rle` for one."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "carvana":
            room = node.module.removeprefix("carvana").removeprefix(".")
            each = [f"{room}.{alias.name}".removeprefix(".") for alias in node.names]
            names |= {name if name in FILES else room for name in each}
    return {name if name in FILES else f"{name}.__init__" for name in names}


def closure(file):
    found, todo = set(), imported(file)
    while todo:
        name = todo.pop()
        if name not in found:
            found.add(name)
            todo |= imported(FILES[name])
    return found


def room(name):
    """The folder of a module, or for one outside of a folder its own name."""
    return name.split(".")[0]


def test_rooms_import_one_way():
    above = {}
    for name, path in FILES.items():
        above.setdefault(room(name), set()).update(map(room, imported(path)))
    for name, others in above.items():
        todo, seen = others - {name}, set()
        while todo:
            other = todo.pop()
            assert other != name, f"{name} imports what imports it"
            if other not in seen:
                seen.add(other)
                todo |= above[other]


def listed(entries):
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


@pytest.mark.parametrize("stage", sorted(set(STAGES) - {"download"}))
def test_a_stage_depends_on_the_rooms_that_it_imports(stage):
    wanted = {name for name in closure(ROOT / "stages" / f"{stage}.py") if room(name) != GROUND}
    code = {Path(path) for path in listed(STAGES[stage]["deps"]) if path.startswith(("src/", "stages/"))}
    assert Path(f"stages/{stage}.py") in code
    of_path = {path: {name for name in wanted if (ROOT / path) in (FILES[name], *FILES[name].parents)} for path in code}
    assert set().union(*of_path.values()) == wanted
    assert {path for path, names in of_path.items() if not names} == {Path(f"stages/{stage}.py")}


def test_the_parameters_are_looked_at_first_and_every_stage_replaces_its_shell():
    """DVC runs stages in the file's order; without exec a shell would outlive the dvc that was killed."""
    assert next(iter(STAGES)) == "params"
    assert "params.yaml" in STAGES["params"]["deps"]
    assert all(stage["cmd"].startswith("exec python -m stages.") for stage in STAGES.values())


def test_download_depends_on_its_own_script_only():
    assert STAGES["download"]["deps"] == ["stages/download.py"], "else an edit fetches 10 GB again"


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_parameters_are_leaf_keys_that_exist(stage):
    """The run-cache drops a key named `size` inside a group: the old model would come back in silence."""
    for entry in STAGES[stage].get("params", []):
        section, key = entry.split(".")
        assert not isinstance(PARAMS[section][key], dict)


def test_every_parameter_but_the_speed_knobs_is_some_stages():
    used = {entry for stage in STAGES.values() for entry in stage.get("params", [])}
    known = {f"{section}.{key}" for section, keys in PARAMS.items() if section != "runtime" for key in keys}
    assert used == known


def of_fold(*each):
    return [str(path(7)).replace("7", "${item.fold}") for path in each]


def test_outputs_are_the_paths_that_the_stages_write():
    outputs = {stage: listed(STAGES[stage].get("outs", [])) for stage in STAGES}
    raw = (paths.TRAIN, paths.TRAIN_MASKS, paths.TEST, paths.METADATA, paths.SAMPLE_SUBMISSION, paths.TEST_MASKS)
    expected = {
        "params": [],
        "download": raw,
        "resize": [paths.CACHE],
        "split": [paths.SPLIT],
        "label": [paths.PSEUDO],
        "train": of_fold(paths.model, paths.history, paths.training_speed),
        "evaluate": [
            paths.EVALUATION,
            paths.SCORES,
            paths.CURVES,
            paths.THRESHOLDS,
            paths.PICTURES,
            paths.REPORT,
        ],
        "predict": [paths.PREDICTIONS, paths.PREDICTION_SPEED],
        "encode": [paths.SUBMISSION, paths.SUBMISSION_GZIP],
        "score": [paths.LEADERBOARD],
    }
    assert outputs == {stage: set(map(str, each)) for stage, each in expected.items()}


def test_labels_are_read_where_the_parameters_say():
    assert f"{paths.TEACHERS}/${{train.pseudo_labels}}" in STAGES["label"]["deps"]
    assert "${train.pseudo_photos}" in STAGES["label"]["deps"]
    assert PARAMS["train"]["pseudo_photos"] == str(paths.TEST)
    # DVC needs the folder of the default; git must not take in a teacher's predictions, and DVC's file of them it must.
    assert [path.name for path in (ROOT / paths.TEACHERS / PARAMS["train"]["pseudo_labels"]).iterdir()] == ["README.md"]
    names = [f"{paths.TEACHERS}/{name}" for name in ("big/000.parquet", "big.dvc", "none/README.md")]
    shown = subprocess.run(
        ["git", "check-ignore", *names], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout
    assert shown.split() == names[:1]


def test_only_small_metrics_stay_out_of_the_cache():
    """An output with `cache: false` turns a stage's run-cache off; training must keep it."""
    uncached = {
        path for stage in STAGES.values() for out in stage.get("outs", []) if isinstance(out, dict) for path in out
    }
    assert uncached == {"metrics/evaluate.json", "metrics/leaderboard.json"}


def test_outputs_are_ignored_by_git_before_they_are_whole():
    outputs = {out for stage in STAGES.values() for out in stage.get("outs", []) if isinstance(out, str)}
    for path in [
        *outputs,
        ".work/train-0.lock",
        ".venv",
        "data/.cache.tmp/photos.npy",
        "metrics/.scores.csv.tmp",
    ]:
        name = path.replace("${item.fold}", "0")
        ignored = subprocess.run(["git", "check-ignore", "-q", name], cwd=ROOT, check=False).returncode == 0
        assert ignored, name


def test_what_a_killed_stage_left_behind_changes_no_dependency():
    """`models` is a dependency as a whole: a half-written file in it would predict and evaluate again."""
    command = [sys.executable, "-m", "dvc", "check-ignore", "-q", "models/.fold-0.csv.tmp"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
