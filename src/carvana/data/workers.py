"""Worker processes of a torch DataLoader: how they begin and end, and the error if one is killed."""

import contextlib
import shutil
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, cast

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from carvana.base.errors import UserError
from carvana.base.processes import die_with_parent, end_if_orphaned, killed

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it


def begin(_worker: int) -> None:
    """Makes a worker end when its parent process ends, and leave Ctrl-C to the parent."""
    # The fork inherited the stage's handlers.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _report
    die_with_parent()
    end_if_orphaned()


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Prints an uncaught error of a worker's threads, unless it is that the parent process has ended."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def free_shared_memory() -> int | None:
    """Returns how many bytes of shared memory workers still have for batches, or None if the system sets no limit."""
    return shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else None


@contextlib.contextmanager
def of(loader: DataLoader[Any]) -> Iterator[None]:
    """Ends the workers of a loader at the end of the block. Raises UserError if one of them is killed."""
    try:
        try:
            yield
        finally:
            # Otherwise torch would report a killed worker again as soon as any other child of this process ends.
            if loader._iterator is not None:
                cast("_MultiProcessingDataLoaderIter", loader._iterator)._shutdown_workers()
    except (RuntimeError, ConnectionError, EOFError) as error:
        # A connection breaks if a worker dies while it sends a batch.
        if not loader.num_workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
            raise
        raise UserError(killed("reads photos")) from error
