"""Downloads that resume: what has come is kept whatever Kaggle answers, and only a continuation is added to it."""

import functools
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import requests
from tqdm import tqdm

from carvana.base.errors import UserError, reading, some
from carvana.base.files import write_json
from carvana.kaggle import client, http
from carvana.kaggle.http import Unexpected

_PLAIN = {"Accept-Encoding": "identity"}
_FILES = (".jpg", ".gif", ".csv")  # none of which is empty
_PROGRESS = 2**20  # bytes after which a broken connection is no failed attempt

Opener = Callable[[dict[str, str]], requests.Response]  # requests a file by a fresh address, with these headers


class Version(NamedTuple):
    """Which version of a file the storage has."""

    size: int
    etag: str | None


def download(names: list[str], folder: Path) -> list[Path]:
    """Downloads files of the competition, each into its own folder in `folder`; returns their paths.

    A current file is not downloaded again, and an interrupted download resumes. It is written beside the file that it
    replaces, so hard links to the old file keep their content. Every zip is read to its end. Raises UserError if there
    are no valid credentials, too little disk space, an error of Kaggle or a damaged zip.
    """
    api = client.log_in()
    sizes = client.sizes(api)
    if unknown := [name for name in names if name not in sizes]:
        raise UserError(f"the competition has no {some(unknown)}; it has {some(sorted(sizes), 20) or 'no files'}")
    folder.mkdir(parents=True, exist_ok=True)
    here = {name: sum(path.stat().st_size for path in (folder / name).rglob("*.zip")) for name in names}
    missing = sum(max(sizes[name] - here[name], 0) for name in names)
    if missing > (free := shutil.disk_usage(folder).free):
        raise UserError(f"the download needs {missing / 1e9:.1f} GB, {folder} has {free / 1e9:.1f} GB free; make room")
    return [_download(folder / name / name, functools.partial(client.open_file, api, name)) for name in names]


def _download(target: Path, opener: Opener) -> Path:
    partial = target.parent / "partial" / target.name
    while not http.patiently(target.name, lambda: _continue(target, partial, opener)):
        pass  # it has come farther
    path = partial if partial.exists() else target
    _require_whole(path, _version_file(target))
    return path.replace(target)


def _continue(target: Path, partial: Path, opener: Opener) -> bool:
    """Adds to the partial file what is missing; returns whether it is then complete, or the target is current.

    Returns False if the connection breaks after much has come. Raises RequestException in other cases; the partial
    file is left as it is if the answer is neither its continuation nor the beginning of a zip.
    """
    with opener(_PLAIN | {"Range": "bytes=0-0"}) as response:
        _, newest = _beginning(response)
    path = partial if partial.exists() else target
    came = path.stat().st_size if path.exists() and _read_version(target) == newest else 0
    if came == newest.size:
        return True
    if path == target or came > newest.size:
        came = 0
    with opener(_PLAIN | {"Range": f"bytes={came}-"}) as response:
        start, version = _beginning(response)
        if start and (start, version) != (came, newest):
            raise Unexpected("another file, or another part of it, than was requested")
        pieces = http.pieces(response)
        piece = next(pieces, b"")
        # An error page that says 200 must not replace what has come.
        if not start and not (piece and b"PK".startswith(piece[:2])):
            raise Unexpected("not a zip")
        partial.parent.mkdir(parents=True, exist_ok=True)
        with (
            partial.open("r+b" if start else "wb") as file,
            tqdm.wrapattr(file, "write", version.size, initial=start, desc=target.name, disable=None) as counted,
        ):
            if not start:
                write_json(_version_file(target), version._asdict())
            file.seek(start)
            try:
                while piece and file.tell() <= version.size:
                    counted.write(piece)
                    piece = next(pieces, b"")
            except requests.RequestException:
                if file.tell() < came + _PROGRESS:
                    raise
                return False
            if file.tell() != version.size:
                raise Unexpected(f"{file.tell()} bytes of {version.size}")
    return True


def _beginning(response: requests.Response) -> tuple[int, Version]:
    """Returns the first byte of an answer, and of which version it is. Raises Unexpected if it is no part of a file."""
    if response.status_code not in (200, 206):
        raise Unexpected(f"status {response.status_code}")
    whole = f"bytes 0-/{response.headers.get('Content-Length')}"
    place = re.fullmatch("bytes ([0-9]{1,18})-[0-9]*/([0-9]{1,18})", response.headers.get("Content-Range", whole))
    if not place:
        raise Unexpected("a file without its size")
    return int(place[1]), Version(int(place[2]), response.headers.get("ETag"))


def _version_file(target: Path) -> Path:
    """Returns where the version of the partial file is noted, or that of the target if there is no partial file."""
    return target.with_name(f"{target.name}.json")


def _read_version(target: Path) -> Version | None:
    try:
        content = json.loads(_version_file(target).read_text(encoding="utf-8"))
        return Version(content["size"], content["etag"])
    except (OSError, ValueError, TypeError, LookupError):
        return None


def _require_whole(path: Path, version_file: Path) -> None:
    """Reads a zip to its end; removes it and raises UserError if it is damaged."""
    with (
        path.open("rb") as file,
        tqdm.wrapattr(file, "read", path.stat().st_size, desc=f"check {path.name}", disable=None) as counted,
    ):
        try:
            with (
                reading(path.name, "was damaged", "it has been removed; start again to download it again"),
                zipfile.ZipFile(counted) as archive,
            ):
                # A directory without a member's size and CRC makes it empty and right.
                empty = [each.filename for each in archive.infolist() if each.file_size == 0]
                if damaged := archive.testzip() or some([name for name in empty if name.endswith(_FILES)]):
                    raise ValueError(damaged)
        except UserError:
            path.unlink()
            version_file.unlink(missing_ok=True)
            raise
