"""The record of submissions to Kaggle: a file of JSON lines, which are only appended."""

import contextlib
import errno
import json
import os
from pathlib import Path
from typing import Any

from carvana.base.errors import UserError


def append(path: Path, entry: dict[str, Any]) -> None:
    """Appends an entry as one line and waits until it is on the disk. Earlier lines are not changed.

    Raises UserError if the file cannot be written.
    """
    line = json.dumps(entry, sort_keys=True, default=str) + "\n"  # YAML has dates
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            _write(descriptor, line.encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError(f"{path}, the record of submissions, cannot be written ({error.strerror})") from error


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the entries, without lines that a crash or a full disk has cut off."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"{path}, the record of submissions, cannot be read ({error.strerror})") from error
    entries = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):
            entries.append(json.loads(line))
    return [each for each in entries if isinstance(each, dict) and isinstance(each.get("id"), str) and "event" in each]


def _write(descriptor: int, line: bytes) -> None:
    size = os.fstat(descriptor).st_size
    # A crash or a full disk can leave a last line without a line break.
    if size and os.pread(descriptor, 1, size - 1) != b"\n":
        line = b"\n" + line
    if os.write(descriptor, line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)
