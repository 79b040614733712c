"""Processes that end when their parent ends, what is said if one is killed, and how many cores there are for them."""

import ctypes
import os
import resource
import signal
import sys


def die_with_parent(by: signal.Signals = signal.SIGTERM) -> None:
    """Asks Linux to end this process, by a signal, when its parent ends; does nothing on other systems."""
    if sys.platform == "linux":
        pr_set_pdeathsig = 1  # linux/prctl.h
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, by)


def end_if_orphaned() -> None:
    """Ends this process if its parent ended before `die_with_parent` was called, which does not notice that.

    A process starts in its parent's process group; an orphan's new parent (init or its replacement) is in another.
    """
    if sys.platform == "linux" and os.getpgid(os.getppid()) != os.getpgrp():
        os.kill(os.getpid(), signal.SIGTERM)


def cores() -> int:
    """Returns the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def beside() -> int:
    """Returns how many processes torchrun started on this machine, this one among them; 1 without torchrun."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def peak_memory() -> int:
    """Returns this process's peak memory in MB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // (2**20 if sys.platform == "darwin" else 2**10)


def keep_freed_memory() -> None:
    """Makes glibc keep freed memory, which it would return to the system, to be cleared when it is needed again."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "mallopt"):
        trim_threshold, mmap_max = -1, -4  # malloc.h
        libc.mallopt(mmap_max, 0)
        libc.mallopt(trim_threshold, 2**31 - 1)


def killed() -> str:
    """Returns what the user is told if a worker is killed."""
    return "a worker process was killed, most likely for memory; lower runtime.workers"
