"""Where the cut-outs are written to, and which of them need not be made again."""

import contextlib
import json
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock, Timeout

from carvana.base.errors import UserError, some
from carvana.cutouts.sources import Photo, inode

_RECORD = ".cutout.jsonl"


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


def plan(photos: list[Photo], out: Path, suffix: str, masks: bool) -> list[Job]:
    """Returns the files in the folder `out` for every photo: `car.png` for `car.jpg`, and `car_mask.png` for its mask.

    Raises UserError if two photos would become one file, also on a disk that ignores case, or if a file would have the
    name of a folder.
    """
    jobs = []
    for photo in photos:
        path = out / photo.name.with_suffix("")
        mask = path.with_name(f"{path.name}_mask.png") if masks else None
        jobs.append(Job(photo, path.with_name(path.name + suffix), mask))
    advice = "rename one of them, or cut them out into two folders"
    owners: dict[str, Photo] = {}
    for job in jobs:
        for output in job.outputs:
            owner = owners.setdefault(_key(output), job.photo)
            if owner is not job.photo:
                raise UserError(f"{owner.where} and {job.photo.where} would both become {output}; {advice}")
    for job in jobs:
        for folder in job.cutout.parents:
            if _key(folder) in owners:
                owner = owners[_key(folder)]
                raise UserError(f"{owner.where} would become {folder}, the folder of {job.photo.where}; {advice}")
    return jobs


def refuse_to_overwrite(jobs: list[Job], sources: Iterable[Path]) -> None:
    """Raises UserError if an output is one of the files that are read, whatever link leads to it."""
    read = {inode(source): source for source in sources if source.exists()}
    for output in (output for job in jobs for output in job.outputs if output.exists()):
        if source := read.get(inode(output)):
            raise UserError(f"{output} would overwrite {source}, which is read; choose another folder with --out")


class Record:
    """Which photo each cut-out in a folder was made of: a file of JSON lines, the options first."""

    def __init__(self, file: TextIO, out: Path, options: dict[str, Any]) -> None:
        """Reads the file; empties it if the options are others. A damaged line counts as one that is not there."""
        self._file, self._out = file, out
        file.seek(0)
        first, *lines = (_parsed(line) for line in file.read().split("\n"))
        self._made = {str(line[0]): line[1:] for line in lines if isinstance(line, list) and line}
        if first != options:
            self._made = {}
            file.truncate(0)
            self._write(json.dumps(options))

    def to_make(self, jobs: list[Job]) -> list[Job]:
        """Returns the jobs whose outputs are missing, or were made of another photo or of another state of it.

        Strikes out what is known of them, because it will be wrong once they are written.
        """
        todo = [
            job
            for job in jobs
            if self._made.get(self._name(job)) != list(job.photo.version)
            or not all(output.exists() for output in job.outputs)
        ]
        self._write("".join(f"\n{json.dumps([self._name(job)])}" for job in todo if self._name(job) in self._made))
        return todo

    def add(self, job: Job) -> None:
        """Writes down that a photo's outputs were made."""
        self._write("\n" + json.dumps([self._name(job), *job.photo.version]))

    def _name(self, job: Job) -> str:
        return job.cutout.relative_to(self._out).as_posix()

    def _write(self, text: str) -> None:
        self._file.write(text)
        # At once, so that it is there after a kill.
        self._file.flush()


@contextlib.contextmanager
def recorded(out: Path, options: dict[str, Any], jobs: list[Job]) -> Iterator[Record]:
    """Yields the record of the folder `out`; other processes cannot write to the folder in the block.

    Raises UserError if another process writes to it, if `out` is a file, or if it has no record but contains a file
    with the name of an output: that file was not written by this program.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; --out takes a folder")
    path = out / _RECORD
    if not path.exists():
        foreign = [str(output) for job in jobs for output in job.outputs if output.exists()]
        if foreign:
            raise UserError(f"{some(foreign)} would be overwritten; choose another folder with --out")
    out.mkdir(parents=True, exist_ok=True)
    try:
        lock = FileLock(path.with_suffix(".lock"), fallback_to_soft=False).acquire(timeout=0)
    except Timeout:
        raise UserError(f"another process writes to {out}; wait for it, or choose another folder with --out") from None
    with lock, path.open("a+", encoding="utf-8", errors="replace") as file:
        yield Record(file, out, options)


def _key(path: Path) -> str:
    """Returns a name as the disks of macOS and Windows compare it."""
    return unicodedata.normalize("NFC", str(path)).casefold()


def _parsed(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return None
