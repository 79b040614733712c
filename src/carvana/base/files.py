"""Files that appear complete or not at all, also after a power cut, and one writer at a time.

A killed process leaves its temporary file `.name.tmp` beside `name`; the next writer of `name` removes it.
"""

import contextlib
import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from carvana.base.errors import UserError


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` to write to; renames it to `path` on success, removes it on any failure.

    Only one writer may use a path at a time, because the temporary path is always the same.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A fixed name: left-overs are found without listing the folder, which can hold 100,000 files.
    temporary = path.with_name(f".{path.name}.tmp")
    # Removed, not overwritten: a left-over can be a hard link to a file that is used elsewhere.
    _remove(temporary)
    try:
        yield temporary
        _to_disk(temporary)
        os.replace(temporary, path)
        _to_disk(path.parent)
    finally:
        _remove(temporary)


@contextlib.contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside `path` to fill; replaces `path` by it on success, removes it on any failure.

    A process that is killed in between can leave the old folder as `.name.old.tmp`; the next writer puts it back.
    """
    old = path.with_name(f".{path.name}.old.tmp")
    _restore(old, path)
    try:
        with whole_file(path) as temporary:
            temporary.mkdir()
            yield temporary
            for inner in temporary.rglob("*"):
                _to_disk(inner)
            if path.exists():
                os.replace(path, old)
    finally:
        _restore(old, path)


def _restore(old: Path, path: Path) -> None:
    """Puts an old folder back to `path`, or removes it if there is another by now."""
    if old.exists() and not path.exists():
        os.replace(old, path)
    # What another process still reads cannot be removed from NFS; the next writer tries again.
    shutil.rmtree(old, ignore_errors=True)


def _to_disk(path: Path) -> None:
    """Waits until the content of a file, or the names in a folder, would outlive a power cut."""
    number = os.open(path, os.O_RDONLY)
    try:
        os.fsync(number)
    except OSError as error:
        # Some shared folders, such as VirtualBox's, do not know it.
        if error.errno != errno.EINVAL:
            raise
    finally:
        os.close(number)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def only_writer(folder: Path, what: str, patience: float = 10) -> Iterator[None]:
    """Holds the lock `folder/<what>.lock`; raises UserError if another process keeps it for `patience` seconds.

    A killed `dvc` can leave its stage running for a moment; with some patience, the next `dvc repro` waits for it. The
    system releases the lock when its process ends, however that happens. `folder/<what>.pid` names the last holder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # A soft lock is a mere file, which would outlive a killed process.
    lock, holder = FileLock(folder / f"{what}.lock", fallback_to_soft=False), folder / f"{what}.pid"
    try:
        lock.acquire(timeout=0)
    except Timeout:
        other = f"another {what} (process {holder.read_text('ascii') if holder.exists() else 'unknown'})"
        print(f"waiting for {other}", file=sys.stderr, flush=True)
        try:
            lock.acquire(timeout=patience, poll_interval=0.1)
        except Timeout:
            raise UserError(f"{other} is still writing; wait for it or stop it, then start again") from None
    try:
        holder.write_text(str(os.getpid()), encoding="ascii")
        yield
    finally:
        lock.release()


def link_or_copy(source: Path, target: Path) -> None:
    """Hard-links a file, or copies it if the disk does not support links. Raises FileExistsError if `target` exists.

    An existing target is never written to, because it may be a hard link to another file, such as one in DVC's cache.
    """
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        with source.open("rb") as reader, target.open("xb") as writer:
            shutil.copyfileobj(reader, writer)


def write_text(path: Path, text: str) -> None:
    """Writes a text as UTF-8, completely or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, content: object) -> None:
    """Writes sorted, indented JSON: equal content has equal bytes, and git shows what changed."""
    write_text(path, json.dumps(content, indent=2, sort_keys=True) + "\n")


def digest(path: Path) -> str:
    """Returns the SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
