"""Worker processes of a torch DataLoader: how they begin and end, and what is said if one is killed."""

import contextlib
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from carvana.errors import UserError, first_line
from carvana.processes import die_with_parent, end_if_orphaned

_SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where Linux has it


def begin(_worker: int) -> None:
    """Sets a worker up: it ends with the process that started it, and leaves Ctrl-C to that."""
    # A stage's handlers came with the fork.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    end_if_orphaned()


def free_shared_memory() -> int | None:
    """Returns the bytes through which workers can still send batches, or None if the system sets no limit."""
    return shutil.disk_usage(_SHARED_MEMORY).free if _SHARED_MEMORY.is_dir() else None


@contextlib.contextmanager
def of(loader: DataLoader[Any]) -> Iterator[None]:
    """Ends the workers of a loader at the end of the block. Raises UserError if one of them is killed."""
    try:
        try:
            yield
        finally:
            # Or torch would complain of a killed worker again as soon as any other child of this process ends.
            if loader._iterator is not None:
                cast("_MultiProcessingDataLoaderIter", loader._iterator)._shutdown_workers()
    except (RuntimeError, ConnectionError, EOFError) as error:
        # Connections break if a worker dies while it hands over what it has read.
        if not loader.num_workers or (isinstance(error, RuntimeError) and "DataLoader worker" not in str(error)):
            raise
        raise UserError(
            f"a process that reads photos was killed ({first_line(error)}), most likely for memory; "
            "lower runtime.workers"
        ) from error
