"""A user's own photos: found in files, folders and zips, and opened one by one."""

import contextlib
import io
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO

from carvana.base.errors import UserError, first_line, reading, some
from carvana.cutouts.photo_pixels import KINDS
from carvana.data.archive import MAX_MEMBER_BYTES

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True)
class Photo:
    """A photo that has not been read yet.

    `name` is its path within its folder or zip, `source` is the name of that folder or zip, `where` is its name in
    messages, and `path` is its file, or None in a zip. `open` returns its bytes as a file; it raises UserError if they
    cannot be read.
    """

    name: PurePosixPath
    source: str
    where: str
    path: Path | None
    open: Callable[[], IO[bytes]]


@dataclass(frozen=True)
class Found:
    """Photos, in the order of their sources and sorted within each, and the files that are skipped."""

    photos: list[Photo]
    skipped: list[str]


@contextlib.contextmanager
def opened(paths: Sequence[Path], out: Path) -> Iterator[Found]:
    """Finds the photos in files, in folders with their sub-folders, and in zips. The zips stay open in the block.

    A path that is a file is read whatever its name; in folders and zips the suffix decides. Hidden files and folders
    are ignored. So is the folder `out` within another folder, because it holds results. A file that two paths lead to
    is used once.

    Raises UserError if a path does not exist, a zip is damaged or holds a name twice, a name in a zip points
    outside of its folder, `out` is one of the folders, or there is no photo at all.
    """
    with contextlib.ExitStack() as stack:
        sources = [_find(path, out, stack) for path in paths]
        photos: dict[str, Photo] = {}
        for photo in (photo for source in sources for photo in source.photos):
            photos.setdefault(_place(photo), photo)
        skipped = list(dict.fromkeys(name for source in sources for name in source.skipped))
        if not photos:
            others = f"; convert these to JPEG first: {some(skipped)}" if skipped else ""
            raise UserError(f"{some([str(path) for path in paths])}: there is no photo ({KINDS}){others}")
        yield Found(list(photos.values()), skipped)


def _find(path: Path, out: Path, stack: contextlib.ExitStack) -> Found:
    if path.is_dir():
        return _in_folder(path, out)
    if not path.is_file():
        raise UserError(f"{path} is neither a photo nor a folder nor a zip; check the path")
    if path.suffix.lower() == ".zip":
        return _in_zip(stack.enter_context(_zip(path)), path)
    return Found([_on_disk(path, PurePosixPath(path.name), path.resolve().parent.name)], [])


def _place(photo: Photo) -> str:
    """Returns a key that is equal for a file found twice. Links have different keys, since each has its own name."""
    return str(photo.path.absolute()) if photo.path else photo.where


def _in_folder(root: Path, out: Path) -> Found:
    if _same(root, out):
        raise UserError(f"{out} is the folder of the photos; choose another folder for the cut-outs with --out")
    names: list[PurePosixPath] = []
    unreadable: list[str] = []
    for folder, below, files in os.walk(root, onerror=lambda error: unreadable.append(f"{error.filename}/")):
        here = Path(folder)
        below[:] = [name for name in below if not name.startswith(".") and not _same(here / name, out)]
        for path in (here / name for name in files if not name.startswith(".")):
            # Neither a pipe, which would block, nor a broken link.
            if path.is_file():
                names.append(PurePosixPath(path.relative_to(root)))
            else:
                unreadable.append(str(path))
    photos, others = _by_suffix(names)
    source = root.resolve().name
    return Found(
        [_on_disk(root / name, name, source) for name in photos],
        [str(root / name) for name in others] + unreadable,
    )


def _in_zip(archive: zipfile.ZipFile, path: Path) -> Found:
    members: dict[PurePosixPath, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = PurePosixPath(info.filename)
        # Not info.is_dir(), which fails on an empty name.
        if info.filename.endswith("/") or _is_hidden(name):
            continue
        if name in members:
            raise UserError(f"{path} holds {name} twice; rename or remove one of them")
        members[name] = info
    photos, others = _by_suffix(members)
    for name in photos:
        if name.is_absolute() or ".." in name.parts:
            raise UserError(f"{path}: {name} points outside of the folder; remove it from the zip")
    return Found(
        [_in_archive(archive, members[name], name, path) for name in photos],
        [f"{path}: {name}" for name in others],
    )


def _is_hidden(name: PurePosixPath) -> bool:
    return any(part == "__MACOSX" or (part.startswith(".") and part != "..") for part in name.parts)


def _by_suffix(names: Iterable[PurePosixPath]) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    photos: list[PurePosixPath] = []
    others: list[PurePosixPath] = []
    for name in sorted(names):
        (photos if name.suffix.lower() in SUFFIXES else others).append(name)
    return photos, others


def _same(folder: Path, out: Path) -> bool:
    return out.exists() and folder.exists() and folder.samefile(out)


def _on_disk(path: Path, name: PurePosixPath, source: str) -> Photo:
    return Photo(name, source, str(path), path, partial(open_file, path))


def open_file(path: Path) -> IO[bytes]:
    """Opens a file to read its bytes. Raises UserError, naming it, if that is not possible."""
    try:
        return path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def _in_archive(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: PurePosixPath, path: Path) -> Photo:
    where = f"{path}: {name}"
    return Photo(name, path.name, where, None, partial(_member, archive, info, where))


def _zip(path: Path) -> zipfile.ZipFile:
    with reading(path, "is damaged or not a zip file", "make or download it again"):
        return zipfile.ZipFile(path)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, where: str) -> IO[bytes]:
    if info.file_size > MAX_MEMBER_BYTES:
        raise UserError(
            f"{where} would take {info.file_size} bytes, and the limit in a zip is {MAX_MEMBER_BYTES}; "
            "unpack the zip and name the folder"
        )
    if info.flag_bits & 1:
        raise UserError(f"{where} is encrypted; unpack the zip and name the folder")
    with reading(where, "is damaged", "make or download the zip again"):
        try:
            return io.BytesIO(archive.read(info))
        except NotImplementedError as error:
            raise UserError(
                f"{where} cannot be unpacked ({first_line(error)}); unpack the zip by other means"
            ) from error
