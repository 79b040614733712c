"""Processes that end when their parent ends, what is said if one is killed, and how many cores there are for them."""

import contextlib
import ctypes
import os
import resource
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor

from carvana.base.errors import UserError


def die_with_parent() -> None:
    """Asks Linux to end this process when its parent ends; does nothing on other systems."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGTERM)


def end_if_orphaned() -> None:
    """Ends this process if its parent has ended already.

    A process starts in its parent's process group. The new parent of an orphan (init or its replacement) is in
    another group. Call this after `die_with_parent`, which only notices a parent that ends later.
    """
    if sys.platform == "linux" and os.getpgid(os.getppid()) != os.getpgrp():
        os.kill(os.getpid(), signal.SIGTERM)


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def peak_memory() -> int:
    """Returns this process's peak memory in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)


def keep_freed_memory() -> None:
    """Makes this process keep the memory that it frees; does nothing without glibc.

    By default glibc returns large blocks to the system, which clears them page by page when they are allocated again.
    """
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_max = -1, -4  # malloc.h
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def killed(does: str) -> str:
    """Returns what the user is told if a process is killed that `does` something, for example "reads photos"."""
    return f"a process that {does} was killed, most likely for memory; lower runtime.workers"


@contextlib.contextmanager
def none_killed(does: str) -> Iterator[None]:
    """Raises UserError if a process of a ProcessPoolExecutor that is used in the block is killed; see `killed`."""
    try:
        yield
    except (BrokenExecutor, OSError) as error:
        # An executor that breaks while it starts a process raises an OSError of its own, without a number.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise UserError(killed(does)) from error
