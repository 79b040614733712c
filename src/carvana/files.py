"""Files that appear whole or not at all, and one writer at a time.

A killed process leaves its temporary file behind, `.name.tmp` beside `name`; the next writer of `name` removes it.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from carvana.errors import UserError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; renamed to `path` on success, removed on any failure.

    One writer of a path at a time: the temporary path is always the same one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    # Removed, not overwritten: a left-over can be a hard link to a file that is in use elsewhere.
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder beside `path` to fill; takes the place of `path` on success, removed on any failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(path)
    if temporary.exists():
        shutil.rmtree(temporary)
    temporary.mkdir()
    try:
        yield temporary
        if path.exists():
            shutil.rmtree(path)
        os.replace(temporary, path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _temporary(path: Path) -> Path:
    # A fixed name, so that left-overs are found without listing the folder, which can hold 100,000 files.
    return path.with_name(f".{path.name}.tmp")


@contextlib.contextmanager
def only_writer(folder: Path, what: str, patience: float = 10) -> Iterator[None]:
    """Holds the lock `folder/<what>.lock`; raises UserError if another process keeps it for `patience` seconds.

    A killed `dvc` may leave its stage running for a moment, and without patience a `dvc repro` at once would be
    turned away. The lock goes with the process that holds it, however that ends.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{what}.lock"
    with path.open("a+", encoding="ascii") as file:
        started, told = time.monotonic(), False
        while not _lock(file):
            file.seek(0)
            other = f"another {what} (process {file.read().strip() or 'unknown'})"
            if time.monotonic() - started >= patience:
                raise UserError(f"{other} is still writing; wait for it or stop it, then start again")
            if not told:
                print(f"waiting for {other}", file=sys.stderr, flush=True)
                told = True
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


def digest(path: Path) -> str:
    """Returns a digest of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
