"""Removes what a killed DVC left behind: `carvana unlock`, before every `make submission`.

DVC records what it reads and writes in .dvc/tmp/rwlock. After `kill -9` or a power cut, that file can be empty, and
every command fails; or it names a process ID that another program has by now, and DVC waits for that program. dvc.lock
can be cut short in the same way; it is moved to .work/, and DVC writes another, without computing anything again that
its cache holds.
"""

import json
import os
from pathlib import Path

import psutil

from carvana.base import paths, yaml12
from carvana.base.errors import UserError, reading


def main() -> None:
    held, damaged = is_held(paths.DVC_LOCK), is_damaged(paths.LOCK)
    if not held and not damaged:
        return
    running = [process.pid for process in psutil.process_iter() if is_dvc_of(process, Path.cwd())]
    if running:
        raise UserError(f"DVC is running here (process {running[0]}); wait for it or stop it, then start again")
    if held:
        paths.DVC_LOCK.unlink()
        print(f"removed {paths.DVC_LOCK}, which a killed DVC had left behind")
    if damaged:
        aside = paths.WORK / paths.LOCK.name
        aside.parent.mkdir(exist_ok=True)
        paths.LOCK.replace(aside)
        print(f"moved {paths.LOCK}, which DVC cannot read, to {aside}; `dvc repro` writes another from its cache")


def is_held(lock: Path) -> bool:
    """Returns whether DVC's lock names a process, or is damaged."""
    try:
        return any(json.loads(lock.read_bytes()).values())
    except FileNotFoundError:
        return False
    except (ValueError, AttributeError, RecursionError):
        return True


def is_damaged(lock: Path) -> bool:
    """Returns whether DVC cannot read a dvc.lock. Raises UserError if a merge left conflict marks in it."""
    from dvc.schema import COMPILED_LOCKFILE_SCHEMA

    if not lock.exists():
        return False
    if b"<<<<<<<" in lock.read_bytes():
        raise UserError(f"{lock} has the conflict marks of a merge; resolve them")
    try:
        with reading(lock, "is damaged", "it is moved aside"):
            COMPILED_LOCKFILE_SCHEMA(yaml12.parse(lock.read_text(encoding="utf-8")))
    except UserError:
        return True
    return False


def is_dvc_of(process: psutil.Process, folder: Path) -> bool:
    """Returns whether a process is a DVC command that runs in a folder or below it."""
    try:
        command, current = process.cmdline(), Path(process.cwd())
    except psutil.Error:
        return False
    is_dvc = any(os.path.basename(word) == "dvc" for word in command[:3])  # noqa: PTH119 - words, not paths
    return is_dvc and current.is_relative_to(folder)
