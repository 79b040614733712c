"""Photos and masks by name, read from one of Kaggle's zips without unpacking it to disk."""

import gzip
import hashlib
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from carvana.base.errors import UserError, reading, some
from carvana.competition import is_photo, photo_of

# Kaggle's largest photos have about 1 MB; a member beyond this is a mistake or a zip bomb.
MAX_MEMBER_BYTES = 64 * 2**20


def open_csv(path: Path, stack: ExitStack) -> Any:
    """Opens a `.csv`, a `.csv.gz`, or a zip with one CSV. Raises UserError unless the zip has one."""
    if path.suffix == ".zip":
        archive = stack.enter_context(zipfile.ZipFile(path))
        members = [info for name, info in _files(archive.infolist()) if name.lower().endswith(".csv")]
        if len(members) != 1:
            raise UserError(f"{path} holds {len(members)} CSV files; there must be one")
        return stack.enter_context(archive.open(members[0]))
    return stack.enter_context(gzip.open(path) if path.suffix == ".gz" else path.open("rb"))


def _files(members: Iterable[zipfile.ZipInfo]) -> Iterator[tuple[str, zipfile.ZipInfo]]:
    """Yields the members that are files, with their names without folders, but not those that a system has added."""
    for info in members:
        # Some programs of Windows write backslashes.
        *folders, name = info.filename.replace("\\", "/").split("/")
        if name and "__MACOSX" not in folders and not is_of_system(name):
            yield name, info


def is_of_system(name: str) -> bool:
    """Returns whether a file is one that Windows or macOS adds to a folder, such as Thumbs.db or .DS_Store."""
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")


class Archive:
    """A zip, or a folder, of photos or masks by name. Threads may share one; each process opens its own.

    Names are without folders and in lower case, and those of PNG masks end in .gif, as those of Kaggle's masks do.
    Raises UserError if the zip is missing, incomplete, or holds a name twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._members: dict[str, zipfile.ZipInfo] = {}
        with reading(path, "is not a complete zip file", "download it again", "`dvc repro download` makes it"):
            self._zip = None if path.is_dir() else zipfile.ZipFile(path)
            members = self._zip.infolist() if self._zip else map(_as_member, filter(Path.is_file, path.iterdir()))
            for name, info in _files(members):
                known = re.sub(r"_mask\.png$", "_mask.gif", name.lower())
                if known in self._members:
                    both = f"{self._members[known].filename} and {info.filename}"
                    raise UserError(f"{path} holds {both}, which are one picture; move one of them elsewhere")
                self._members[known] = info

    @property
    def photos(self) -> list[str]:
        """The members' names, sorted. Raises UserError if one of them is not of the form `<car>_<view>.jpg`."""
        return self._of_form("<car>_<view>.jpg", is_photo)

    @property
    def masks(self) -> list[str]:
        """The members' names, sorted. Raises UserError if one of them is not of the form `<car>_<view>_mask.gif`."""
        return self._of_form(
            "<car>_<view>_mask.gif (or .png)", lambda name: name.endswith("_mask.gif") and is_photo(photo_of(name))
        )

    def _of_form(self, form: str, is_of_form: Callable[[str], bool]) -> list[str]:
        names = sorted(self._members)
        if strange := [name for name in names if not is_of_form(name)]:
            raise UserError(
                f"{self.path} holds {some(strange)}, not of the form {form} "
                f"(car: 12 hexadecimal digits, view: 01 to 16); rename such files, or move them elsewhere"
            )
        return names

    def read(self, name: str) -> bytes:
        """Returns a member's bytes, checked by their CRC. Raises UserError if it cannot be read."""
        info = self._members.get(name)
        if info is None:
            raise UserError(f"{self.path} has no {name}")
        if info.file_size > MAX_MEMBER_BYTES:
            raise UserError(f"{self.path}: {name} would take {info.file_size} bytes; the limit is {MAX_MEMBER_BYTES}")
        with reading(f"{self.path}: {name}", "is damaged", "download the zip again"):
            return self._zip.read(info) if self._zip else (self.path / info.filename).read_bytes()

    def digest(self) -> str:
        """Returns a digest of the members' names, sizes and CRCs: it identifies the content without reading it."""
        rows = sorted((name, info.file_size, info.CRC) for name, info in self._members.items())
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._zip:
            self._zip.close()


def _as_member(file: Path) -> zipfile.ZipInfo:
    return zipfile.ZipInfo.from_file(file, file.name, strict_timestamps=False)
