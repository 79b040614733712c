"""Every stage, its DVC, or both, killed at a random moment or out of room: the next `dvc repro` has the same bytes.

`KILLS=100 python -m pytest tests/test_kills.py -m slow` kills a hundred times, and fills the disk as often.
"""

import itertools
import os
import random
import re
import shutil
import time

import psutil
import pytest
from clones import Clone
from projects import small_disk, stage

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


def rounds(*choices):
    """Stages in turn, each with one of the choices and a share; the same ones every time."""
    numbers, names = random.Random(0), itertools.islice(itertools.cycle(STAGES), int(os.environ.get("KILLS", "10")))
    return [(name, numbers.choice(choices), round(numbers.uniform(0, 1.1), 2)) for name in names]


@pytest.mark.parametrize(("name", "whom", "share"), rounds("dvc", "stage", "both"))
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


@pytest.fixture(scope="module")
def cramped(tmp_path_factory):
    """A clone in which everything is done, and what sets the room that is left on its disk, in bytes."""
    folder = tmp_path_factory.mktemp("cramped") / "disk"
    with small_disk(folder, "200m") as resize:
        clone = Clone(folder)
        clone.dvc("repro")
        yield clone, lambda room: resize(shutil.disk_usage(folder).used + room)


@pytest.mark.parametrize(("name", "room", "share"), rounds(2**12, 2**13, 2**15))
def test_a_full_disk_changes_nothing(cramped, name, room, share):
    clone, leave = cramped
    before = clone.outputs()
    leave(int(room * (1 + share)))
    with clone.start("repro", "-s", "-f", "--no-run-cache", name) as process:
        said, _ = process.communicate(timeout=300)
    # The outputs of three stages do not fit in any case.
    assert process.returncode or name not in ("download", "resize", "evaluate"), said
    assert not process.returncode or re.search("disk is full|No space left", said), said
    assert "Traceback" not in said, said
    leave(200 * 2**20)
    clone.dvc("repro", "--no-run-cache")
    assert clone.outputs() == before
