"""Photos and masks by name, read from one of Kaggle's zips without unpacking it to disk."""

import hashlib
import zipfile
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Self

from carvana.base.errors import UserError, reading, some
from carvana.competition import is_photo, photo_of

# Kaggle's largest photos have about 1 MB; a member beyond this is a mistake or a zip bomb.
MAX_MEMBER_BYTES = 64 * 2**20


class Archive:
    """A zip of photos or masks, read by name without a folder. Threads may share one; each process opens its own.

    Raises UserError if the zip is missing, incomplete, or holds a name twice.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path, "is not a complete zip file", "download it again", "`dvc repro download` makes it"):
            self._zip = zipfile.ZipFile(path)
        self._members: dict[str, zipfile.ZipInfo] = {}
        for info in self._zip.infolist():
            member = PurePosixPath(info.filename)
            # Not info.is_dir(), which fails on an empty name.
            if info.filename.endswith("/") or member.name.startswith(".") or member.parts[:1] == ("__MACOSX",):
                continue
            if member.name in self._members:
                raise UserError(f"{path} holds {member.name} twice; remove one of them")
            self._members[member.name] = info

    @property
    def photos(self) -> list[str]:
        """The members' names, sorted. Raises UserError if one of them is not of the form `<car>_<view>.jpg`."""
        return self._of_form("<car>_<view>.jpg", is_photo)

    @property
    def masks(self) -> list[str]:
        """The members' names, sorted. Raises UserError if one of them is not of the form `<car>_<view>_mask.gif`."""
        return self._of_form(
            "<car>_<view>_mask.gif", lambda name: name.endswith("_mask.gif") and is_photo(photo_of(name))
        )

    def _of_form(self, form: str, is_of_form: Callable[[str], bool]) -> list[str]:
        names = sorted(self._members)
        if strange := [name for name in names if not is_of_form(name)]:
            raise UserError(
                f"{self.path} holds {some(strange)}, not of the form {form} "
                f"(car: 12 hexadecimal digits, view: 01 to 16); remove such members"
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
            return self._zip.read(info)

    def digest(self) -> str:
        """Returns a digest of the members' names, sizes and CRCs: it identifies the content without reading it."""
        rows = sorted((name, info.file_size, info.CRC) for name, info in self._members.items())
        return hashlib.sha256(repr(rows).encode()).hexdigest()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()
