"""What stages and commands share: arguments, a lock for the only writer, errors for the user, a quick exit."""

import argparse
import atexit
import contextlib
import errno
import functools
import io
import os
import select
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from carvana.base import paths, torchrun, under_dvc
from carvana.base.errors import FORBIDDEN, FULL, UserError
from carvana.base.files import only_writer
from carvana.base.processes import die_with_parent, killed

# How often a thread of torch looks for work before it sleeps (GNU OpenMP). The default is three times as often, which
# loses the process its core if other processes want it too: beside two busy processes on two cores, training at 64² is
# twice as fast with this value, and on an idle machine equally fast. Without such waiting it would be half as fast.
os.environ.setdefault("GOMP_SPINCOUNT", "100000")

# Names of files may not be valid text, and a terminal may lack a character.
if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="backslashreplace")

_PATIENCE = 5  # seconds for a stage to end after a signal


def command_line(name: str, description: str) -> argparse.ArgumentParser:
    """Returns a parser for a stage's command line; until arguments are added, it takes only `--help`."""
    as_written = argparse.RawDescriptionHelpFormatter
    return argparse.ArgumentParser(f"python -m stages.{name}", description=description, formatter_class=as_written)


def run(work: Callable[[], None], name: str, *, writes: bool = True, needs_clone: bool = True) -> None:
    """Runs a stage's work, in the folder of a clone if it needs one; a stage that writes runs as the only writer.

    Exits with 1 and one message for an error the user can fix, with 130 on Ctrl-C, with 143 on SIGTERM, and with 141 if
    nobody reads its output. If the work does not end within `_PATIENCE` after a signal, the system ends the process.
    """
    # An exception rather than an immediate exit, so that temporary files are removed and workers end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, functools.partial(_stop, name))
    try:
        if needs_clone:
            _require_root()
        if torchrun.launched():
            # Python would not notice SIGTERM while torch waits for other processes.
            die_with_parent(signal.SIGKILL)
        # Processes that torchrun starts share the lock of the stage that started it. Machines may share the folder, and
        # have a lock each.
        lock = f"{name}-{machine}" if (machine := torchrun.machine()) else name
        with only_writer(paths.WORK, lock) if writes and not torchrun.launched() else contextlib.nullcontext():
            work()
            under_dvc.require_unchanged()
    except UserError as error:
        _fail(name, str(error))
    except RuntimeError as error:
        # torch raises it in the main thread when a worker ends, whatever the main thread does at the time.
        if "DataLoader worker" not in str(error):
            raise
        _fail(name, killed())
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        if error.errno in FULL:
            _fail(name, f"the disk is full{where}; make room")
        if error.errno in FORBIDDEN:
            _fail(name, f"{str(error.strerror).lower()}{where}; work in a folder that you may write to")
        if error.errno == errno.EMFILE:
            _fail(name, f"too many open files{where}; raise the limit by `ulimit -n 4096`, or lower runtime.workers")
        if error.errno == errno.EPIPE and _is_unread():
            sys.exit(128 + signal.SIGPIPE)
        raise
    except _Stopped as stopped:
        _leave(name, stopped.number)


class _Stopped(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


def _stop(name: str, number: int, frame: FrameType | None) -> None:
    while frame:
        # Not an exception: numpy and torch may take it for a missing module, and go on without it.
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            _leave(name, number)
        frame = frame.f_back
    # Python loses the exception if the signal arrives in a destructor or in a callback of the garbage collector.
    signal.alarm(_PATIENCE)
    raise _Stopped(number)


def _leave(name: str, number: int) -> NoReturn:
    print(f"{name}: stopped", file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    # Immediately: Python would first spend a second or two on shutting torch down.
    os._exit(128 + number)


def _is_unread() -> bool:
    """Returns whether the reader of the output has ended, as `head` does."""
    poll = select.poll()
    poll.register(sys.stdout, 0)  # for errors alone
    return bool(poll.poll(0))


@atexit.register
def _flush() -> None:
    # Python's own flush, which comes after this one, would complain.
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _require_root() -> None:
    if not paths.PIPELINE.exists():
        clone = Path(__file__).resolve().parents[3]
        where = f"first `cd {clone}`" if (clone / paths.PIPELINE).exists() else "go to your clone of the repository"
        raise UserError(f"{paths.PIPELINE} is not in this folder; {where}")


def _fail(name: str, message: str) -> NoReturn:
    torchrun.complain(message)
    print(f"error in {name}: {message}", file=sys.stderr)
    if "DVC_STAGE" in os.environ and (advice := under_dvc.advice()):
        print(advice, file=sys.stderr)
    sys.exit(1)
