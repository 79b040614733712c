"""Runs a recipe: its teachers first, each by `dvc repro` with its own params.yaml, kept as an experiment of DVC's.

All state is in files, written in an order that lets the same command go on after any kill: DVC brings back what it has
stored, a training resumes from its last epoch, and a prediction from its last shard.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from typing import BinaryIO

from carvana.base import git, lockfile, params, paths, unfinished
from carvana.base.console import say
from carvana.base.errors import UserError
from carvana.base.files import whole_file, whole_folder, write_text
from carvana.base.processes import die_with_parent
from carvana.recipes import estimate, workspace
from carvana.recipes.recipe import Recipe

_RESULT = (paths.LOCK, paths.EVALUATION, paths.LEADERBOARD)  # what git has of an experiment, besides params.yaml


def make(recipe: Recipe, gpus: Sequence[str] = ()) -> None:
    """Runs a recipe and its teachers, and leaves its result in the workspace and as an experiment of its name.

    Folds are trained beside each other, each on one of `gpus`, in which a name may occur several times; without any,
    one after the other. Raises UserError if DVC fails.
    """
    defaults = workspace.defaults()
    for each in recipe.chain:
        say(f"Recipe {each.name}: {each.about}")
        text = workspace.params_of(each, defaults)
        if paths.PARAMS.read_text(encoding="utf-8") != text:
            _bring_back(each.name, text)
            write_text(paths.PARAMS, text)
        settings = params.load(paths.PARAMS)
        # The stage `params` does so only if its record in dvc.lock is of another params.yaml.
        unfinished.set_aside_models(settings.train.folds)
        if min(len(gpus), len(settings.train.folds)) > 1:
            train_beside_each_other(settings.train.folds, gpus)
        _run(["repro"])
        estimate.remember_run(settings)
        _keep(each.name, text)
        if each is not recipe:
            _become_teacher(each.name)


def _bring_back(name: str, text: str) -> None:
    """Restores what the experiment of a name and of these parameters made, if there is one; DVC checks it afterwards.

    Else DVC would evaluate again, because an output that git has is not in its cache.
    """
    if commit := _experiment(name, text):
        for path in _RESULT:
            if (content := git.read(commit, path)) is not None:
                write_text(path, content)
        _run(["checkout", "--quiet", "--force", "--allow-missing"])


def _keep(name: str, text: str) -> None:
    """Makes the workspace the experiment of a name, unless it is one already.

    It is stored as `dvc exp run` stores one. `dvc exp save` would add what .gitignore names, pictures too, and leave
    HEAD detached if it is killed.
    """
    commit = _experiment(name, text)
    if commit and all(git.read(commit, path) == path.read_text(encoding="utf-8") for path in _RESULT):
        return
    head = git.output("rev-parse", "HEAD")
    with whole_file(paths.WORK / "index") as index:
        git.output("read-tree", "HEAD", index=index)
        git.output("add", "--update", index=index)
        git.output("add", *map(str, _RESULT), index=index)
        made = git.output("commit-tree", git.output("write-tree", index=index), "-p", head, "-m", f"recipe {name}")
    git.output("update-ref", f"refs/exps/{head[:2]}/{head[2:]}/{name}", made)


def _experiment(name: str, text: str) -> str | None:
    """Returns the commit of the newest experiment of a name whose params.yaml is this text; None if there is none."""
    found = (commit for commit, found in git.experiments() if found == name)
    return next((commit for commit in found if git.read(commit, paths.PARAMS) == text), None)


def _become_teacher(name: str) -> None:
    """Copies the workspace's predictions to where a pupil's stage `label` reads them."""
    folder = paths.TEACHERS / name
    if lockfile.md5_of_folder(lockfile.md5s_in(folder)) != lockfile.md5_of(paths.PREDICTIONS):
        with whole_folder(folder) as temporary:
            for path in paths.PREDICTIONS.iterdir():
                shutil.copyfile(path, temporary / path.name)


def train_beside_each_other(folds: Sequence[int], gpus: Sequence[str]) -> None:
    """Trains folds at the same time, each by a DVC of its own that sees one GPU, and writes to a log of its own."""
    _run(["repro", "--quiet", "resize", "split", "label"])
    for start in range(0, len(folds), len(gpus)):
        some = folds[start : start + len(gpus)]
        logs = [paths.WORK / f"train-{fold}.log" for fold in some]
        say(f"Folds {some} are trained beside each other; what they say is in {', '.join(map(str, logs))}")
        with contextlib.ExitStack() as files:
            running = [
                _start(["repro", "--single-item", f"train@{fold}"], gpu, files.enter_context(log.open("wb")))
                for fold, gpu, log in zip(some, gpus, logs, strict=False)
            ]
            _wait(running, f"see {logs[0].parent}/")


def _run(words: list[str]) -> None:
    """Runs DVC. Raises UserError if it fails."""
    _wait([_start(words)])


def _start(words: list[str], gpu: str | None = None, log: BinaryIO | None = None) -> "subprocess.Popen[bytes]":
    """Starts DVC, which ends when this process does; it sees one GPU, and writes to a log, if these are given."""
    environment = os.environ if gpu is None else os.environ | {"CUDA_VISIBLE_DEVICES": gpu}
    command = [sys.executable, "-m", "dvc", *words]
    return subprocess.Popen(command, stdout=log, stderr=log, env=environment, preexec_fn=die_with_parent)  # noqa: S603, PLW1509


def _wait(running: Sequence["subprocess.Popen[bytes]"], where: str = "see above") -> None:
    """Waits for DVC, and ends it if this process is stopped. Raises UserError if it fails; `where` has what it said."""
    try:
        codes = [process.wait() for process in running]
    finally:
        for process in running:
            process.terminate()
    if any(codes):
        raise UserError(f"DVC failed ({where}); the same command goes on from where it was")
