"""Which files the cut-outs of photos become: never two in one file, and never one in place of a photo."""

import json
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from carvana.cutouts.photo_files import Photo
from carvana.errors import UserError, some
from carvana.files import write_json

_MASK = "_mask.png"
_NOTE = ".cutout.json"


@dataclass(frozen=True)
class Job:
    """A photo, and the files of its cut-out and of its mask if one is wanted."""

    photo: Photo
    cutout: Path
    mask: Path | None

    @property
    def outputs(self) -> list[Path]:
        """The files that are written."""
        return [self.cutout, self.mask] if self.mask else [self.cutout]


def plan(photos: list[Photo], folder: Path, suffix: str, masks: bool) -> list[Job]:
    """The files of every photo in `folder`: `car.jpg` becomes `car.png`, and its mask `car_mask.png`.

    Names that are the same, also on a disk that ignores case, become longer until they differ: by the photo's own
    suffix (`car.jpg.png`), then by the name of its folder or zip as well (`holiday/car.jpg.png`). Raises UserError if
    they are still the same.
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
    """Raises UserError if an output is one of the files that are read, by its path in any case, or through a link."""
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
    """Notes the options in the folder `out` if they have changed; the time of the note in ns, as the disk has it.

    Raises UserError if `out` is a file, or has no note and yet a file of the name of an output: it is not ours.
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
    """Whether a cut-out is there, and made with these options: one from before them may have outlived a kill."""
    return job.cutout.exists() and job.cutout.stat().st_mtime_ns >= since


def _names(photo: Photo, level: int, suffix: str, masks: bool) -> list[PurePosixPath]:
    name = photo.name if level else photo.name.with_suffix("")
    name = photo.source / name if level == 2 else name
    return [PurePosixPath(f"{name}{end}") for end in ([suffix, _MASK] if masks else [suffix])]


def _taken(names: list[list[PurePosixPath]]) -> set[str]:
    """The names that more than one file would have, or a file and a folder."""
    files = Counter(_key(name) for each in names for name in each)
    folders = {_key(parent) for each in names for parent in each[0].parents}
    return {name for name, count in files.items() if count > 1 or name in folders}


def _identities(path: Path) -> list[object]:
    """What two paths of one file have in common: their letters behind all links, or the file's number on the disk."""
    identities: list[object] = [_key(path.resolve())]
    if path.exists():
        stat = path.stat()
        identities.append((stat.st_dev, stat.st_ino))
    return identities


def _key(path: PurePosixPath | Path) -> str:
    """A name as the disks of macOS and Windows compare it."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _content(note: Path) -> object:
    try:
        return json.loads(note.read_text(encoding="utf-8"))
    except ValueError:
        return None
