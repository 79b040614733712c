"""dvc.yaml against the code: what DVC does not know, it does not re-run."""

import ast
import graphlib
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from projects import ROOT

from carvana.base import paths, unfinished

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))

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
    # It raises a CycleError with the rooms that import each other.
    graphlib.TopologicalSorter({name: others - {name} for name, others in above.items()}).prepare()


def listed(entries):
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


@pytest.mark.parametrize("stage", sorted(set(STAGES) - {"download"}))
def test_a_stage_depends_on_the_rooms_that_it_imports(stage):
    """Except on `base`, which cannot change a result: an edit there must not train again."""
    wanted = {name for name in closure(ROOT / "stages" / f"{stage}.py") if room(name) != "base"}
    code = {Path(path) for path in listed(STAGES[stage]["deps"]) if path.startswith(("src/", "stages/"))}
    assert Path(f"stages/{stage}.py") in code
    of_path = {path: {name for name in wanted if (ROOT / path) in (FILES[name], *FILES[name].parents)} for path in code}
    assert set().union(*of_path.values()) == wanted
    assert {path for path, names in of_path.items() if not names} == {Path(f"stages/{stage}.py")}


def test_packages_that_compute_are_those_whose_versions_count():
    """DVC does not know them, but what is unfinished must not go on with others."""
    rooms = ("data", "masks", "networks", "devices", "prediction", "training")
    files = [path for name, path in FILES.items() if room(name) in rooms]
    nodes = [node for file in files for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    of_module = packages_distributions()
    found = {package for name in names for package in of_module.get(name.split(".")[0], [])}
    found = {re.sub("[-_.]+", "-", package).lower() for package in found} - {"carvana"}
    # Tables, numbers and runs, which these take as they are.
    assert found - set(unfinished.PACKAGES) == {"pandas", "pyarrow", "pydantic", "safetensors"}
    # Its operators are not used, but segmentation-models-pytorch and timm import it.
    assert set(unfinished.PACKAGES) - found == {"torchvision"}
    assert not any(name.endswith(" none") for name in unfinished.versions())


def test_the_parameters_are_looked_at_first_and_every_stage_replaces_its_shell():
    """DVC runs stages in the file's order; without exec a shell would outlive the dvc that was killed."""
    assert next(iter(STAGES)) == "params"
    assert "params.yaml" in STAGES["params"]["deps"]
    assert all(stage["cmd"].startswith("exec python -m stages.") for stage in STAGES.values())
    assert STAGES["download"]["deps"] == ["stages/download.py"], "else an edit fetches 10 GB again"


def test_the_stages_list_every_parameter_but_the_speed_knobs_as_a_leaf_key():
    """The run-cache drops a key named `size` inside a group: the old model would come back in silence."""
    used = {entry for stage in STAGES.values() for entry in stage.get("params", [])}
    known = {f"{section}.{key}" for section, keys in PARAMS.items() if section != "runtime" for key in keys}
    assert used == known
    assert not any(isinstance(value, dict) for keys in PARAMS.values() for value in keys.values())


def test_outputs_are_at_the_paths_that_the_stages_know_and_only_small_metrics_stay_out_of_the_cache():
    """That each is made by its stage is seen in tests/test_pipeline.py."""
    known = {str(path) for path in vars(paths).values() if isinstance(path, Path)}
    known |= {str(of(7)).replace("7", "${item.fold}") for of in (paths.model, paths.history, paths.training_speed)}
    outs = [out for stage in STAGES.values() for out in stage.get("outs", [])]
    assert listed(outs) <= known
    # An output with `cache: false` turns a stage's run-cache off; training must keep it.
    uncached = {"metrics/evaluate.json", "metrics/leaderboard.json"}
    assert listed(out for out in outs if isinstance(out, dict)) == uncached
    # Git must ignore the others before they are whole.
    names = [name.replace("${item.fold}", "0") for name in sorted(listed(outs) - uncached)]
    names += [".work/train-0.lock", ".venv", "data/.cache.tmp/photos.npy", "metrics/.scores.csv.tmp"]
    assert ignored_by_git(names) == names


def test_labels_are_read_where_the_parameters_say():
    assert f"{paths.TEACHERS}/${{train.pseudo_labels}}" in STAGES["label"]["deps"]
    assert "${train.pseudo_photos}" in STAGES["label"]["deps"]
    assert PARAMS["train"]["pseudo_photos"] == str(paths.TEST)
    # DVC needs the folder of the default; git must not take in a teacher's predictions, and DVC's file of them it must.
    assert [path.name for path in (ROOT / paths.TEACHERS / PARAMS["train"]["pseudo_labels"]).iterdir()] == ["README.md"]
    names = [f"{paths.TEACHERS}/{name}" for name in ("big/000.parquet", "big.dvc", "none/README.md")]
    assert ignored_by_git(names) == names[:1]


def ignored_by_git(names):
    command = ["git", "check-ignore", *names]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines()


def test_what_a_killed_stage_left_behind_changes_no_dependency():
    """`models` is a dependency as a whole: a half-written file in it would predict and evaluate again."""
    command = [sys.executable, "-m", "dvc", "check-ignore", "-q", "models/.fold-0.csv.tmp"]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == 0
