"""Which files the cut-outs are written to: no two to the same file, and none over a photo."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from carvana.base.errors import UserError, reading, some
from carvana.base.files import write_json
from carvana.cutouts.photo_files import Photo

_MASK = "_mask.png"
_NOTE = ".cutout.json"


@dataclass(frozen=True)
class Job:
    """A photo, the file for its cut-out, and the file for its mask if masks are wanted."""

    photo: Photo
    cutout: Path
    mask: Path | None

    @property
    def outputs(self) -> list[Path]:
        """The files that are written."""
        return [self.cutout, self.mask] if self.mask else [self.cutout]


def plan(photos: list[Photo], folder: Path, suffix: str, masks: bool) -> list[Job]:
    """Returns the files in `folder` for every photo: `car.png` for `car.jpg`, and `car_mask.png` for its mask.

    Names that are equal, also on a disk that ignores case, are extended until they differ: by the photo's own suffix
    (`car.jpg.png`), then also by the name of its folder or zip (`holiday/car.jpg.png`). Raises UserError if they are
    still equal.
    """
    levels = [0] * len(photos)
    while True:
        names = [_names(photo, level, suffix, masks) for photo, level in zip(photos, levels, strict=True)]
        taken = _taken(names)
        meeting = [number for number, each in enumerate(names) if any(_key(name) in taken for name in each)]
        longer = [number for number in meeting if levels[number] < 2]
        if not meeting:
            break
        if not longer:
            raise UserError(
                f"{some([photos[number].where for number in meeting])} would become the same files; "
                "rename some of them, or cut them out into folders of their own"
            )
        for number in longer:
            levels[number] += 1
    paths = [[folder / name for name in each] for each in names]
    return [Job(photo, each[0], each[1] if masks else None) for photo, each in zip(photos, paths, strict=True)]


def refuse_to_overwrite(jobs: list[Job], sources: Iterable[Path]) -> None:
    """Raises UserError if an output is one of the files that are read, by its path in any letter case or by a link."""
    read: dict[object, Path] = {}
    for source in sources:
        read |= dict.fromkeys(_identities(source), source)
    for output in (output for job in jobs for output in job.outputs):
        for identity in _identities(output):
            if identity in read:
                raise UserError(
                    f"{output} would overwrite {read[identity]}, which is read; choose another folder with --out"
                )


def begin(out: Path, options: dict[str, object], jobs: list[Job]) -> int:
    """Writes changed options to a note in the folder `out`; returns the note's modification time in ns.

    Raises UserError if `out` is a file, or if it has no note but contains a file with the name of an output: that file
    was not written by this program.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out takes a folder")
    note = out / _NOTE
    if not note.exists():
        foreign = [str(output) for job in jobs for output in job.outputs if output.exists()]
        if foreign:
            raise UserError(f"{some(foreign)} would be overwritten; choose another folder with --out")
    if not note.exists() or _content(note) != options:
        write_json(note, options)
    return note.stat().st_mtime_ns


def is_done(job: Job, since: int) -> bool:
    """Returns whether a cut-out exists and is newer than the note, and so was made with its options."""
    return job.cutout.exists() and job.cutout.stat().st_mtime_ns >= since


def _names(photo: Photo, level: int, suffix: str, masks: bool) -> list[PurePosixPath]:
    name = photo.name if level else photo.name.with_suffix("")
    name = photo.source / name if level == 2 else name
    return [PurePosixPath(f"{name}{end}") for end in ([suffix, _MASK] if masks else [suffix])]


def _taken(names: list[list[PurePosixPath]]) -> set[str]:
    """Returns the names that more than one file would have, or both a file and a folder."""
    files = Counter(_key(name) for each in names for name in each)
    folders = {_key(parent) for each in names for parent in each[0].parents}
    return {name for name, count in files.items() if count > 1 or name in folders}


def _identities(path: Path) -> list[object]:
    """Returns what two paths of one file have in common: the resolved path, or the file's number on the disk."""
    identities: list[object] = [_key(path.resolve())]
    if path.exists():
        stat = path.stat()
        identities.append((stat.st_dev, stat.st_ino))
    return identities


def _key(path: PurePosixPath | Path) -> str:
    """Returns a name as the disks of macOS and Windows compare it."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _content(note: Path) -> object:
    try:
        with reading(note, "cannot be read", "cut-outs are made again"):
            return json.loads(note.read_text(encoding="utf-8"))
    except UserError:
        return None
