"""Files that appear whole or not at all, and one writer at a time.

A killed process leaves its temporary file behind; the next writer of the same path removes it.
"""

import contextlib
import fcntl
import glob
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from carvana.errors import UserError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` on success, removed on any failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in _left_over(path):
        left_over.unlink()
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` to fill; takes the place of `path` on success, removed on any failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for left_over in _left_over(path):
        shutil.rmtree(left_over)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _left_over(path: Path) -> list[Path]:
    """What killed processes have left of this path; not of `a.png.png` or `a1.png`, which a thread may be writing."""
    found = path.parent.glob(glob.escape(f".{path.name}.") + "*.tmp")
    return [each for each in found if each.name[len(path.name) + 2 : -len(".tmp")].isdigit()]


@contextlib.contextmanager
def only_writer(folder: Path, what: str, patience: float = 10) -> Iterator[None]:
    """Holds the lock `folder/<what>.lock`; raises UserError where another process keeps it for `patience` seconds.

    A killed `dvc` may leave its stage running for a moment, and without patience a `dvc repro` at once would be
    turned away. The lock goes with the process that holds it, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{what}.lock"
    with path.open("a+", encoding="ascii") as file:
        started = time.monotonic()
        while not _lock(file):
            if time.monotonic() - started >= patience:
                file.seek(0)
                raise UserError(
                    f"another {what} (process {file.read().strip() or 'unknown'}) is still writing; "
                    f"wait for it or stop it, then start again"
                )
            time.sleep(0.1)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def link_or_copy(source: Path, target: Path) -> None:
    """Gives a file a second name, or a copy if the disk has no such links. Raises FileExistsError if `target` exists.

    An existing target is never written to: it may be a second name of another file, in DVC's cache for one.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        with source.open("rb") as reader, target.open("xb") as writer:
            shutil.copyfileobj(reader, writer)


def write_json(path: Path, content: object) -> None:
    """Writes sorted, indented JSON: the same content is the same bytes, and git shows what changed."""
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
