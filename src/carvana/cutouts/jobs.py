"""Which photos are cut out, into which files, and which of these are there already."""

import contextlib
import hashlib
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from carvana.base.errors import UserError, some
from carvana.data.any_photo import KINDS, SUFFIXES

SOFTWARE, PROGRAM = 0x0131, "carvana"  # EXIF's tag for the program that wrote a file, and this one


@dataclass(frozen=True)
class Job:
    """A photo, and the files that are made of it: its cut-out, and its mask if masks are wanted.

    `made_of` is a digest of what these depend on: the photo's path, size and time, and the options.
    """

    photo: Path
    outputs: list[Path]
    made_of: str


def find(paths: Sequence[Path], out: Path) -> tuple[dict[Path, Path], list[str]]:
    """Returns photos in files, and in folders with their sub-folders, each with its name there; and what it skips.

    A path that is a file is read whatever its name; in folders the suffix decides. Hidden files and folders are
    ignored, and so is `out`, because it holds results. Linked folders are read, once each.

    Raises UserError if a path does not exist or is a zip, if `out` is one of the folders, or if there is no photo.
    """
    photos: dict[Path, Path] = {}
    skipped: list[str] = []
    for path in paths:
        if path.is_file():
            if path.suffix.lower() == ".zip":
                raise UserError(f"{path} is a zip; unpack it and name the folder")
            photos.setdefault(path, Path(path.name))
            continue
        if not path.is_dir():
            raise UserError(f"{path} is neither a photo nor a folder; check the path")
        if path.resolve() == out.resolve():
            raise UserError(f"{out} is the folder of the photos; choose another folder for the cut-outs with --out")
        for file in sorted(_files(path, out, skipped)):
            # Not a pipe, which would block, nor a broken link.
            if file.suffix.lower() in SUFFIXES and file.is_file():
                photos.setdefault(file, file.relative_to(path))
            else:
                skipped.append(str(file))
    if not photos:
        raise UserError(f"{some([*map(str, paths)])}: there is no photo ({KINDS}); convert other kinds to JPEG first")
    return photos, skipped


def plan(photos: dict[Path, Path], out: Path, suffix: str, masks: bool, options: str) -> list[Job]:
    """Returns the job of every photo: `out/car.png` is made of `car.jpg`, and `out/car_mask.png` is its mask.

    Raises UserError if two photos would become one file, also on a disk that ignores case.
    """
    jobs: list[Job] = []
    owners: dict[str, Path] = {}
    for photo, name in photos.items():
        cutout = out / name.with_suffix(suffix)
        outputs = [cutout, cutout.with_name(f"{cutout.stem}_mask.png")] if masks else [cutout]
        for output in outputs:
            # As the disks of macOS and Windows compare names.
            owner = owners.setdefault(unicodedata.normalize("NFC", str(output)).casefold(), photo)
            if owner != photo:
                advice = "rename one of them, or cut them out into two folders"
                raise UserError(f"{owner} and {photo} would both become {output}; {advice}")
        status = photo.stat()
        depends_on = repr((photo.absolute(), status.st_size, status.st_mtime_ns, options))
        jobs.append(Job(photo, outputs, hashlib.sha256(depends_on.encode()).hexdigest()))
    return jobs


def missing(jobs: list[Job]) -> list[Job]:
    """Returns the jobs whose files are missing, or were made of something else.

    Raises UserError if one of the files exists and was not written by this program, or is itself one of the photos.
    """
    photos = {job.photo.resolve() for job in jobs}
    there = {output: read_made_of(output) for job in jobs for output in job.outputs if output.exists()}
    if foreign := [str(path) for path, made_of in there.items() if made_of is None or path.resolve() in photos]:
        raise UserError(f"{some(foreign)} would be overwritten; choose another folder with --out")
    return [job for job in jobs if any(there.get(output) != job.made_of for output in job.outputs)]


def read_made_of(output: Path) -> str | None:
    """Returns what a file was made of, as its EXIF says; None if this program did not write it."""
    with contextlib.suppress(Exception), Image.open(output, formats=["PNG", "WEBP"]) as picture:
        program, _, made_of = str(picture.getexif()[SOFTWARE]).partition(" ")
        return made_of if program == PROGRAM else None
    return None


def _files(root: Path, out: Path, skipped: list[str]) -> Iterator[Path]:
    """Yields the files of a folder and its sub-folders, each folder once, and not those of `out`."""
    seen = {out.resolve()}

    def skip(error: OSError) -> None:
        skipped.append(f"{error.filename} ({error.strerror})")

    for path, below, names in os.walk(root, onerror=skip, followlinks=True):
        folder = Path(path)
        if folder.resolve() in seen:
            below.clear()
            continue
        seen.add(folder.resolve())
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield from (folder / name for name in names if not name.startswith("."))
