"""Every stage, its DVC, or both, killed at a random moment: the next `dvc repro` ends with the same bytes.

`KILLS=100 python -m pytest tests/test_kills.py` kills a hundred times.
"""

import itertools
import os
import random
import re
import time

import psutil
import pytest
from clones import Clone
from projects import stage

pytestmark = pytest.mark.slow

STAGES = [
    "params", "download", "resize", "split", "label", "train@0", "evaluate", "predict", "encode", "score",
]  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A clone in which everything is done, and the seconds that each stage took with its DVC around it."""
    clone = Clone(tmp_path_factory.mktemp("killed"))
    began = {}
    with clone.start("repro") as process:
        for line in process.stdout:
            if begun := re.match(r"Running stage '(.*)'", line):
                began[begun[1]] = time.monotonic()
    assert process.returncode == 0
    assert list(began) == STAGES
    times = [*began.values(), time.monotonic()]
    return clone, {name: times[place + 1] - times[place] for place, name in enumerate(STAGES)}


def kill(process, whom):
    """Kills a DVC, the stage that it runs, or both, and waits for the end of all that they have started."""
    dvc = psutil.Process(process.pid)
    begun = dvc.children(recursive=True)
    stages = [child for child in dvc.children() if is_stage(child)]
    for victim in {"dvc": [dvc], "stage": stages, "both": [dvc, *stages]}[whom]:
        victim.kill()
    process.communicate(timeout=60)
    _, alive = psutil.wait_procs(begun, timeout=20)
    assert not alive, "what they started ends with them"


def is_stage(process):
    try:
        return "stages." in " ".join(process.cmdline())
    except psutil.Error:  # it has just ended
        return False


def rounds(count):
    """Stages in turn, each with whom to kill and after which share of its time; the same ones every time."""
    numbers = random.Random(0)
    for name in itertools.islice(itertools.cycle(STAGES), count):
        yield name, numbers.choice(["dvc", "stage", "both"]), round(numbers.uniform(0, 1.1), 2)


@pytest.mark.parametrize(("name", "whom", "share"), rounds(int(os.environ.get("KILLS", "10"))))
def test_a_kill_changes_nothing(whole, name, whom, share):
    clone, seconds = whole
    before = clone.outputs()
    with clone.start("repro", "-s", "-f", "--no-run-cache", name) as process:
        for line in process.stdout:
            if line.startswith("Running stage"):
                break
        time.sleep(share * seconds[name])
        if process.poll() is None:
            kill(process, whom)
    stage(clone.folder, "unlock")
    clone.dvc("repro", "--no-run-cache")
    assert clone.outputs() == before
