"""Processes that end with the one that started them."""

import ctypes
import os
import signal
import sys


def die_with_parent() -> None:
    """Asks Linux to end this process when the one that started it ends; does nothing on other systems."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def end_if_orphaned() -> None:
    """Ends this process if the one that started it has ended already.

    A process starts in its parent's process group. An orphan's new parent, init or what takes its place, is in
    another. Call it after `die_with_parent`, which hears only of what happens later.
    """
    if sys.platform == "linux" and os.getpgid(os.getppid()) != os.getpgrp():
        os.kill(os.getpid(), signal.SIGTERM)
