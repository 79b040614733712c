"""A user's own photos: found in files, folders and zips, and opened one by one."""

import contextlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from carvana.base.errors import UserError, reading, some
from carvana.data.any_photo import KINDS, SUFFIXES, open_file
from carvana.data.archive import MAX_MEMBER_BYTES


@dataclass(frozen=True)
class Photo:
    """A photo that has not been read yet.

    `name` is its path within its folder or zip, `where` is its name in messages, and `path` is its file or its zip.
    `version` tells it from every other photo and from its own earlier states: path, size and time, or in a zip the
    checksum. `open` returns its bytes as a file; it raises UserError if they cannot be read.
    """

    name: PurePosixPath
    where: str
    path: Path
    version: tuple[str | int, ...]
    open: Callable[[], IO[bytes]]


@contextlib.contextmanager
def opened(paths: Sequence[Path], out: Path) -> Iterator[tuple[list[Photo], list[str]]]:
    """Yields the photos in files, in folders with their sub-folders, and in zips, and the names of files that it skips.

    The zips stay open in the block. A path that is a file is read whatever its name; in folders and zips the suffix
    decides. Hidden files and folders are ignored. So is the folder `out` within another folder, because it holds
    results. A file that two paths lead to is used once, and so is a folder that links lead to.

    Raises UserError if a path does not exist, a zip is damaged, a name in a zip points outside of its folder, `out` is
    one of the folders, or there is no photo at all.
    """
    photos: dict[tuple[str | int, ...], Photo] = {}
    skipped: dict[str, None] = {}
    with contextlib.ExitStack() as stack:
        for path in paths:
            if path.is_dir():
                found = _in_folder(path, out, skipped)
            elif not path.is_file():
                raise UserError(f"{path} is neither a photo nor a folder nor a zip; check the path")
            elif path.suffix.lower() == ".zip":
                with reading(path, "is damaged or not a zip file", "make or download it again"):
                    archive = stack.enter_context(zipfile.ZipFile(path))
                found = _in_zip(archive, path, skipped)
            else:
                found = [_on_disk(path, path.name)]
            for photo in found:
                photos.setdefault(photo.version, photo)
        if not photos:
            others = f"; convert these to JPEG first: {some(list(skipped))}" if skipped else ""
            raise UserError(f"{some([str(path) for path in paths])}: there is no photo ({KINDS}){others}")
        yield list(photos.values()), list(skipped)


def _in_folder(root: Path, out: Path, skipped: dict[str, None]) -> list[Photo]:
    if out.exists() and root.samefile(out):
        raise UserError(f"{out} is the folder of the photos; choose another folder for the cut-outs with --out")
    photos: list[Photo] = []
    # Links are followed, and one may lead to a folder around it.
    seen = {inode(folder) for folder in (root, out) if folder.exists()}

    def unreadable(error: OSError) -> None:
        skipped[f"{error.filename} ({error.strerror})"] = None

    for folder, below, names in os.walk(root, onerror=unreadable, followlinks=True):
        for path in (Path(folder, name) for name in sorted(names) if not name.startswith(".")):
            # Neither a pipe, which would block, nor a broken link.
            if path.suffix.lower() in SUFFIXES and path.is_file():
                photos.append(_on_disk(path, path.relative_to(root)))
            else:
                skipped[str(path)] = None
        # Links come first, so that a folder takes the place of a link beside it that leads to it.
        below.sort(key=lambda name: not Path(folder, name).is_symlink())
        inner = {inode(Path(folder, name)): name for name in below if not name.startswith(".")}
        below[:] = sorted(name for number, name in inner.items() if number not in seen)
        seen |= inner.keys()
    return sorted(photos, key=lambda photo: photo.name)


def _in_zip(archive: zipfile.ZipFile, path: Path, skipped: dict[str, None]) -> list[Photo]:
    photos: list[Photo] = []
    for info in archive.infolist():
        # Some programs on Windows write its own separator.
        written = info.filename.replace("\\", "/")
        name = PurePosixPath(written)
        where = f"{path}: {name}"
        # Not info.is_dir(), which fails on an empty name.
        if written.endswith("/") or _is_hidden(name):
            continue
        if name.suffix.lower() not in SUFFIXES:
            skipped[where] = None
            continue
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{where} points outside of the folder; remove it from the zip")
        version = (str(path.absolute()), str(name), info.file_size, info.CRC)
        photos.append(Photo(name, where, path, version, partial(_member, archive, info, where)))
    return sorted(photos, key=lambda photo: photo.name)


def inode(path: Path) -> tuple[int, int]:
    """Returns what all paths of one file or folder have in common, whatever links lead to it."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in name.parts)


def _on_disk(path: Path, name: str | Path) -> Photo:
    status = path.stat()
    version = (str(path.absolute()), status.st_size, status.st_mtime_ns)
    return Photo(PurePosixPath(name), str(path), path, version, partial(open_file, path))


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> IO[bytes]:
    if info.file_size > MAX_MEMBER_BYTES:
        raise UserError(
            f"{where} would take {info.file_size} bytes, and the limit in a zip is {MAX_MEMBER_BYTES}; "
            "unpack the zip and name the folder"
        )
    if info.flag_bits & 1:
        raise UserError(f"{where} is encrypted; unpack the zip and name the folder")
    # It may be damaged, or packed by a method that Python does not know; the reason says which.
    with reading(where, "cannot be unpacked", "unpack the zip by other means and name the folder"):
        return io.BytesIO(archive.read(info))
