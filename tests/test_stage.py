"""What all stages share: help, signals, folders that cannot be written to."""

import os
import re
import shutil
import signal
import subprocess
import sys

import pytest
from competition_files import csv_text
from projects import ROOT, STAGES, program, set_params, stage, start, wait_for_an_epoch

from carvana import commands

# The collector calls the callback, from which an exception cannot leave.
LOSING = """
import gc, os, signal, time, weakref
from carvana.base import stage

class Circle:
    pass

def work():
    circle = Circle()
    circle.itself = circle
    kept = weakref.ref(circle, lambda _: os.kill(os.getpid(), signal.SIGTERM))
    del circle
    gc.collect()
    print("lost", flush=True)
    time.sleep(60)

stage._PATIENCE = 1
stage.run(work, "test", writes=False)
"""


def python(code, *words, path=(), timeout=60, folder=ROOT, **environment):
    """Runs code that can import the library, the stages, and what is in the folders of `path`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(map(str, [ROOT, ROOT / "src", *path]))} | environment
    command = [sys.executable, "-c", code, *words]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=timeout
    )


def test_a_signal_whose_exception_is_lost_ends_the_stage_all_the_same():
    done = python(LOSING, timeout=20)
    assert done.stdout == "lost\n", done.stderr
    assert done.returncode == -signal.SIGALRM


@pytest.mark.parametrize("name", sorted(STAGES))
def test_a_mistyped_option_runs_nothing(project, name):
    assert "unrecognized arguments: --foo" in stage(project, name, "--foo", status=2)
    assert sorted(path.name for path in project.iterdir()) == ["dvc.yaml", "src", "stages"]


def test_a_signal_during_an_import_ends_the_stage(tmp_path):
    """numpy, for one, takes an exception there for a missing module, and the stage would go on with half of numpy."""
    text = "import os, signal\ntry:\n    os.kill(os.getpid(), signal.SIGTERM)\nexcept BaseException: pass\n"
    (tmp_path / "half.py").write_text(text, encoding="ascii")
    command = "from carvana.base.stage import run; run(lambda: print(__import__('half')), 'train', writes=False)"
    done = python(command, path=[tmp_path])
    assert (done.returncode, done.stdout, done.stderr) == (143, "", "train: stopped\n")


def test_too_many_open_files_are_said():
    limit = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (20, 20))"
    work = "[open('/dev/null') for _ in range(20)]"
    done = python(f"from carvana.base.stage import run; {limit}; run(lambda: {work}, 'train', writes=False)")
    assert done.returncode == 1
    assert re.match("error in train: too many open files.*ulimit -n 4096", done.stderr)


# Reads the help of all stages and commands in one process.
HELP = """
import contextlib, io, runpy, sys
for words in sys.argv[1:]:
    module, *name = words.split()
    sys.argv = [module, *name, "--help"]
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        runpy.run_module(module, run_name="__main__")
    usage, _, rest = shown.getvalue().partition("\\n\\n")
    words = words if name else f"python -m {words}"
    assert usage.startswith(f"usage: {words} "), usage
    assert f"`{words}" in rest, f"{words} has no example"
    assert not {"torch", "timm", "kaggle", "openvino"} & sys.modules.keys(), f"{words} imports too much"
"""


def test_all_helps_have_an_example_and_do_not_wait_for_torch():
    names = {path.stem for path in (ROOT / "src/carvana/commands").glob("[a-z]*.py")}
    assert names == {*commands.READING, *commands.WRITING}
    every = [*(f"stages.{name}" for name in sorted(STAGES)), *(f"carvana {name}" for name in sorted(names))]
    done = python(HELP, *every)
    assert done.returncode == 0, done.stderr


# Runs stages and commands, each in a fork, and closes the pipe to which they print if the first word says so.
WITH_PIPES = """
import os, runpy, sys
import carvana.commands.cutout, carvana.commands.submit, carvana.commands.unlock  # once, for all forks
way, *every = sys.argv[1:]
for words in every:
    if not (child := os.fork()):
        if way == "closed":
            reader, writer = os.pipe()
            os.close(reader)
            os.dup2(writer, 1)
        sys.argv = words.split()
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        sys.exit()
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in ((0, 141) if way == "closed" else (0,)), f"{words}: {status}"
"""


@pytest.mark.parametrize(("way", "buffered"), [("ascii", True), ("closed", True), ("closed", False)])
def test_neither_a_terminal_without_unicode_nor_a_closed_pipe_is_a_bug(trained, way, buffered):
    names = ["", *sorted(STAGES), *commands.READING, *commands.WRITING]
    every = [" ".join(program(*words.split(" "))) for words in [*(f"{name} --help" for name in names), "summary"]]
    how = {"PYTHONIOENCODING": "ascii" * (way == "ascii"), "PYTHONUNBUFFERED": "" if buffered else "1", "LC_ALL": "C"}
    done = python(WITH_PIPES, way, *every, folder=trained, **how)
    assert done.returncode == 0, done.stderr
    assert not re.search("Traceback|ignored", done.stderr), done.stderr


def test_another_folder_is_told_where_to_go_unless_the_command_needs_no_clone(tmp_path):
    for command in ("summary", "look", "check", "check mine.csv", "cutout car.jpg --out cut"):
        words = command.split()
        complaint = f"error in {words[0]}: dvc.yaml is not in this folder; first `cd {ROOT}`\n"
        assert stage(tmp_path, *words, status=1) == complaint
    for command, complaint in (
        ("check mine.csv --sample sample.csv", "mine.csv is missing"),
        ("cutout car.jpg --out cut --model fold-0.safetensors", "car.jpg is neither a photo nor a folder"),
    ):
        assert complaint in stage(tmp_path, *command.split(), status=1)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_to_is_said_and_checks_work_there(trained):
    rows = [["img", "rle_mask"], ["fffe00001111_01.jpg", "1 5"], ["fffe00001111_02.jpg", "1 5"]]
    (trained / "data/good.csv").write_text(csv_text(rows), encoding="ascii")
    if os.geteuid() or subprocess.run(["mount", "--bind", trained, trained], check=False).returncode:
        pytest.skip("mounting a folder needs root on Linux")
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", trained], check=True)
        message = stage(trained, "split", status=1)
        assert message.startswith("error in split: read-only file system (")
        assert "Traceback" not in message
        said = stage(trained, "check", "data/good.csv")
        assert "data/good.csv is as data/raw/sample_submission.csv.zip wants it: 2 rows, 0 of them without" in said
        assert "The contest has 100,064 rows: these are the demo's, or a part, and Kaggle would refuse them" in said
    finally:
        subprocess.run(["umount", trained], check=True)


def test_ctrl_c_ends_training_at_once_and_leaves_the_earlier_model(trained):
    before = (trained / "models/fold-0.safetensors").read_bytes()
    set_params(trained, train_epochs=100_000)
    shutil.rmtree(trained / ".work")
    with start(trained, "train", "0") as process:
        wait_for_an_epoch(trained, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(5) == 130
        assert "Traceback" not in process.stderr.read()
    assert (trained / "models/fold-0.safetensors").read_bytes() == before
    assert not list(trained.glob("**/*.tmp"))
