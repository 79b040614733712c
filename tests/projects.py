"""Small projects, their stages and commands, here or in processes of their own, and what befalls them."""

import contextlib
import io
import multiprocessing
import os
import runpy
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from pathlib import Path

import pytest
import yaml

from carvana.base import params

ROOT = Path(__file__).resolve().parent.parent
STAGES = {path.stem for path in (ROOT / "stages").glob("[a-z]*.py")}

DVC_LOCK = """schema: '2.0'
stages:
  train@0:
    cmd: python -m stages.train 0
    deps:
    - {path: data/cache, hash: md5, md5: 0123.dir, size: 3, nfiles: 2}
    params:
      params.yaml:
        train.weight_decay: 1e-05
        train.folds: [0]
    outs:
    - {path: models/fold-0.csv, hash: md5, md5: 5eb63bbbe01eeed093cb22bb8f5acdc3, size: 11}
"""


def read_params(**changes):
    """The committed parameters with some keys changed, e.g. train_size=64 for train.size."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    for key, value in changes.items():
        section, _, name = key.partition("_")
        content[section][name] = value
    return params.Params.model_validate(content)


def read_network(**changes):
    """The committed network, small, with some keys changed."""
    small = {"depth": 3, "width": 4, "patch": 1}
    return read_params(**{f"train_{key}": value for key, value in (small | changes).items()}).train.network


def make_project(folder):
    """A folder with the code and nothing else."""
    folder.mkdir()
    for name in ("stages", "src", "dvc.yaml"):
        (folder / name).symlink_to(ROOT / name)
    return folder


def set_params(folder, **changes):
    """Writes the committed parameters, tiny, with some keys changed."""
    content = yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8"))
    tiny = {"train_size": 64, "train_patch": 1, "train_depth": 2, "train_width": 2, "train_epochs": 1, "split_folds": 2}
    # `auto` differs by machine; tests/test_pipeline.py has it.
    tiny |= {"train_precision": "float32", "runtime_engine": "torch"}
    for key, value in (tiny | changes).items():
        section, _, name = key.partition("_")
        content[section][name] = value
    (folder / "params.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")


def copy_project(project, folder, **changes):
    """A copy of a project in `folder`, with the given parameters."""
    shutil.copytree(project, folder, symlinks=True)
    set_params(folder, **changes)
    return folder


@contextlib.contextmanager
def small_disk(folder, size):
    """A disk of `size` at `folder`, and what enlarges it. Skips the test where it cannot be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    if os.geteuid() or sys.platform != "linux" or subprocess.run(command, check=False).returncode:
        pytest.skip("mounting a small disk needs root on Linux")
    try:
        yield lambda larger: subprocess.run(["mount", "-o", f"remount,size={larger}", folder], check=True)
    finally:
        subprocess.run(["umount", folder], check=True)


def program(*arguments):
    """The module to run for a stage or a command, and its arguments."""
    return (f"stages.{arguments[0]}", *arguments[1:]) if arguments[0] in STAGES else ("carvana", *arguments)


def start(folder, *arguments, **environment):
    """Starts a stage or a command in a process of its own."""
    plain = {key: value for key, value in os.environ.items() if not key.startswith(("DVC", "PET_"))}
    command = [sys.executable, "-m", *program(*arguments)]
    environment = plain | {"OMP_NUM_THREADS": "1"} | environment
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def machines(*arguments):
    """Starts a stage in folders, one after another, as on machines that share it: a function of a number and folder."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"PET_NNODES": "2", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(port)}
    return lambda number, folder: start(folder, *arguments, PET_NODE_RANK=str(number), **common)


def require_done(*processes):
    """Waits for processes that must succeed; returns what they wrote to standard error."""
    errors = [process.communicate(timeout=200)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), errors
    return errors


def stage_alone(folder, *arguments):
    """Does what `stage` does in a process of its own, which also shows what its children print."""
    with start(folder, *arguments) as process:
        shown, errors = process.communicate()
    assert process.returncode == 0, errors
    return shown


def wait_until(done, process, step=0.05):
    """Until `done()` is true of what a process does."""
    limit = time.monotonic() + 180
    while not done():
        assert process.poll() is None, (process.stderr or process.stdout).read()
        assert time.monotonic() < limit
        time.sleep(step)


def stage(folder, *arguments, status=0):
    """Runs a stage or a command in a folder; its output, or its errors where it is to fail.

    In this process, because another one would first import torch for seconds, but through the same door.
    """
    module, *words = program(*arguments)
    shown, errors, ended = io.StringIO(), io.StringIO(), 0
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(folder):
        patch.setattr(sys, "argv", [module, *words])
        for key in [key for key in os.environ if key.startswith("DVC")]:
            patch.delenv(key)
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(errors):
            try:
                runpy.run_module(module, run_name="__main__", alter_sys=True)
            except SystemExit as end:
                ended = end.code or 0
            except Exception:
                traceback.print_exc()
                ended = 1
    for number, handler in handlers.items():
        signal.signal(number, handler)
    assert ended == status, errors.getvalue()
    return errors.getvalue() if status else shown.getvalue()


@contextlib.contextmanager
def first_process_killed():
    """Kills the first process that multiprocessing starts in the block."""
    before = set(multiprocessing.active_children())

    def kill():
        while not (begun := set(multiprocessing.active_children()) - before):
            time.sleep(0.01)
        begun.pop().kill()

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    yield
    killer.join()


def wait_for_an_epoch(folder, process, after=0.0):
    """Until a training has written its state later than at the time `after`."""
    states = ".work/train-0/*/epoch.pt"
    wait_until(lambda: any(path.stat().st_mtime > after for path in folder.glob(states)), process)
