"""What every stage does around its work: one writer, errors for people, a quick end on a signal."""

import contextlib
import errno
import os
import signal
import sys
from collections.abc import Callable

from carvana import paths
from carvana.errors import UserError
from carvana.work import die_with_parent, only_writer


def run(work: Callable[[], None], name: str) -> None:
    """Runs a stage's work under its name.

    Exits with 1 and one message on what a person can mend, with 130 on Ctrl-C, and with 143 on SIGTERM.
    """
    under_dvc = "DVC_STAGE" in os.environ
    if under_dvc:
        die_with_parent()
    # An exception rather than sudden death, so that temporary files are removed and workers end.
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGINT, _stop)
    try:
        # Processes that torchrun starts share the lock of the stage that started it.
        shared = "TORCHELASTIC_RUN_ID" in os.environ
        with contextlib.nullcontext() if shared else only_writer(paths.WORK, name):
            work()
    except UserError as error:
        _fail(name, str(error), under_dvc)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        _fail(name, f"the disk is full{f' ({error.filename})' if error.filename else ''}; make room", under_dvc)
    except _Stopped as stopped:
        print(f"{name}: stopped", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        # At once: Python would first take torch apart, for a second or two.
        os._exit(128 + stopped.number)


class _Stopped(BaseException):
    def __init__(self, number: int) -> None:
        self.number = number


def _stop(number: int, _frame: object) -> None:
    raise _Stopped(number)


def _fail(name: str, message: str, under_dvc: bool) -> None:
    print(f"error in {name}: {message}", file=sys.stderr)
    if under_dvc:
        print(
            "`git restore params.yaml dvc.lock && dvc checkout` brings back what was there before",
            file=sys.stderr,
        )
    sys.exit(1)
