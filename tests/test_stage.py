"""What all stages share."""

import os
import signal
import subprocess
import sys
import time

from conftest import ROOT

# The collector calls the callback, from which an exception cannot leave.
LOSING = """
import gc, os, signal, time, weakref
from stages import stage

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


def test_a_signal_whose_exception_is_lost_ends_the_stage_all_the_same():
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    started = time.monotonic()
    command = [sys.executable, "-c", LOSING]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=40)
    assert done.stdout == "lost\n", done.stderr
    assert done.returncode == -signal.SIGALRM
    assert time.monotonic() - started < 20
