"""The record of submissions to Kaggle: a file of JSON lines, which are only appended."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any


def append(path: Path, entry: dict[str, Any]) -> None:
    """Appends an entry as one line and waits until it is on the disk. Raises OSError if it cannot be written."""
    line = json.dumps(entry, sort_keys=True, default=str) + "\n"  # YAML has dates
    with path.open("a+b") as file:
        # A crash or a full disk can leave a last line without a line break.
        if file.tell() and os.pread(file.fileno(), 1, file.tell() - 1) != b"\n":
            line = "\n" + line
        file.write(line.encode())
        file.flush()
        os.fsync(file.fileno())


def read(path: Path) -> list[dict[str, Any]]:
    """Returns the entries, without lines that a crash or a full disk has cut off."""
    entries = []
    for line in path.read_bytes().splitlines() if path.exists() else []:
        with contextlib.suppress(ValueError):
            entries.append(json.loads(line))
    return [each for each in entries if isinstance(each, dict) and {"event", "id"} <= each.keys()]
