"""Downloads that resume: what has come is kept whatever Kaggle answers, and only a continuation is added to it."""

import functools
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import requests
from tqdm import tqdm

from carvana.base.errors import UserError, some
from carvana.base.files import can_link, whole_file
from carvana.kaggle import client, http, login, troubles
from carvana.kaggle.troubles import Unexpected

_PARTIAL = "partial"  # the folder, beside a file, for its unfinished download
_PIECE = 2**18
_PROGRESS = 2**20  # bytes after which a broken connection is no failed attempt
_PLAIN = {"Accept-Encoding": "identity"}

Opener = Callable[[dict[str, str]], requests.Response]  # requests a file by a fresh address, with these headers


@dataclass(frozen=True)
class Version:
    """Which version of a file the storage has; None for what it does not say."""

    size: int | None
    etag: str | None
    modified: str | None

    def may_be(self, other: "Version | None") -> bool:
        """Returns whether nothing that both say differs."""
        return other is not None and all(
            mine == theirs or None in (mine, theirs)
            for mine, theirs in zip(asdict(self).values(), asdict(other).values(), strict=True)
        )


def download(names: list[str], folder: Path) -> list[Path]:
    """Downloads files of the competition, each into its own folder in `folder`; returns their paths.

    A current file is not downloaded again, and an interrupted download resumes. A download is written beside the file
    that it replaces and takes its name when it is complete, so hard links to the old file keep their content. Every zip
    is read to its end. Raises UserError if there are no valid credentials, too little disk space, an error of Kaggle or
    a damaged zip.
    """
    api = login.log_in()
    sizes = client.sizes(api)
    if unknown := [name for name in names if name not in sizes]:
        raise UserError(f"the competition has no {some(unknown)}; it has {some(sorted(sizes), 20) or 'no files'}")
    _require_space(folder, sum(_missing(sizes[name], folder / name) for name in names))
    return [_download(name, folder / name, _opener(api, name)) for name in names]


def _opener(api: object, name: str) -> Opener:
    return lambda headers: client.open_file(api, name, headers)


def _missing(size: int, folder: Path) -> int:
    """Returns how many of a file's `size` bytes are still missing in its folder."""
    if any(path.stat().st_size >= size for path in folder.glob("*.zip")):
        return 0
    return max(size - sum(path.stat().st_size for path in (folder / _PARTIAL).glob("*.zip")), 0)


def _require_space(folder: Path, needed: int) -> None:
    """Raises UserError if the disk is too small for the downloads, data/raw and DVC's cache."""
    folder.mkdir(parents=True, exist_ok=True)
    # With hard links, they share their bytes.
    copies = 1 if can_link(folder) else 3
    free = shutil.disk_usage(folder).free
    if copies * needed > free:
        raise UserError(
            f"the download needs {copies * needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; make room"
        )


def _download(name: str, folder: Path, opener: Opener) -> Path:
    target, partial = folder / name, folder / _PARTIAL / name
    with http.explained(name):
        if not partial.exists() and http.patiently(name, lambda: _is_current(target, opener)):
            _require_whole(target)
            return target
        partial.parent.mkdir(parents=True, exist_ok=True)
        reached: int | None = 0
        while reached is not None:
            reached = http.patiently(name, functools.partial(_continue, partial, opener, reached))
    _require_whole(partial)
    os.replace(partial, target)
    _version_file(partial).unlink(missing_ok=True)
    return target


def _is_current(target: Path, opener: Opener) -> bool:
    """Returns whether a complete file has the size and the date of the one in the storage."""
    if not target.exists():
        return False
    with opener(_PLAIN | {"Range": "bytes=0-0"}) as response:
        version = _version(response, 0)
    modified, status = troubles.date_of(version.modified), target.stat()
    return version.size == status.st_size and (modified is None or modified <= status.st_mtime)


def _continue(partial: Path, opener: Opener, reached: int) -> int | None:
    """Adds to a partial file what is missing; returns None if it is then complete.

    Returns its size if the connection breaks after the file has become larger than ever; `reached` is its largest size
    so far. Raises RequestException in other cases; the partial file is left as it is if the answer is neither its
    continuation nor the beginning of a zip.
    """
    known = _read_version(partial)
    came = partial.stat().st_size if partial.exists() else 0
    if known and came == known.size:
        return None
    first = came if known and known.size and came < known.size else 0
    with _open(partial, opener, known, first) as response:
        version = _version(response, first)
        if first and response.status_code == 206 and not version.may_be(known):
            _version_file(partial).unlink()
            raise Unexpected("the file has changed meanwhile")
        start = first if response.status_code == 206 else 0
        broken = _append(partial, version, start, response)
    complete = partial.stat().st_size
    if complete == version.size or (version.size is None and not broken):
        if (modified := troubles.date_of(version.modified)) is not None:
            os.utime(partial, (modified, modified))
        return None
    if complete < max(first, reached) + _PROGRESS:
        raise broken or Unexpected(f"it ends after {complete} of {version.size} bytes")
    return complete


def _open(partial: Path, opener: Opener, known: Version | None, first: int) -> requests.Response:
    """Requests a file from byte `first` on, if it is still the known version."""
    if not known or not first:
        return opener(_PLAIN)
    # A weak ETag must not stand in If-Range.
    strong = known.etag if known.etag and not known.etag.startswith("W/") else None
    unchanged = strong or known.modified
    try:
        return opener(_PLAIN | {"Range": f"bytes={first}-"} | ({"If-Range": unchanged} if unchanged else {}))
    except troubles.StorageRefused as error:
        if error.response is not None and error.response.status_code == 416:
            _version_file(partial).unlink()  # another, shorter file: the next attempt begins anew
        raise


def _version(response: requests.Response, first: int) -> Version:
    """Returns the version of an answer. Raises Unexpected unless it is a whole file or begins at byte `first`."""
    size: int | None
    if response.status_code == 206:
        place = re.fullmatch(
            r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18})", response.headers.get("Content-Range", "")
        )
        if not place or int(place[1]) != first or not first <= int(place[2]) < int(place[3]):
            raise Unexpected("another part of the file than was requested")
        size = int(place[3])
    elif response.status_code == 200:
        length = response.headers.get("Content-Length", "")
        size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
    else:
        raise Unexpected(f"status {response.status_code}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Unexpected("a compressed file")
    return Version(size, response.headers.get("ETag"), response.headers.get("Last-Modified"))


def _append(
    partial: Path, version: Version, start: int, response: requests.Response
) -> requests.RequestException | None:
    """Writes an answer's body at the end of the partial file, or from its start; returns the error that ended it."""
    pieces = response.iter_content(_PIECE)
    piece = next(pieces, b"")
    if not start:
        # An error page that says 200 must not replace what has come.
        if not piece.startswith(b"PK"):
            raise Unexpected("not a zip")
        partial.unlink(missing_ok=True)
        with whole_file(_version_file(partial)) as temporary:
            temporary.write_text(json.dumps(asdict(version)), encoding="utf-8")
    bar = {"desc": partial.name, "unit": "B", "unit_scale": True, "disable": None}
    with partial.open("ab") as file, tqdm(total=version.size, initial=start, **bar) as progress:
        try:
            while piece:
                file.write(piece)
                progress.update(len(piece))
                piece = next(pieces, b"")
        except requests.RequestException as error:
            return error
    return None


def _version_file(partial: Path) -> Path:
    return partial.with_name(f"{partial.name}.json")


def _read_version(partial: Path) -> Version | None:
    """Returns the version that a partial file belongs to; None if it is unknown."""
    try:
        return Version(**json.loads(_version_file(partial).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _require_whole(path: Path) -> None:
    """Reads a zip to its end; removes it and raises UserError if it is damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            size = sum(member.file_size for member in members)
            with tqdm(total=size, desc=f"check {path.name}", unit="B", unit_scale=True, disable=None) as bar:
                for member in members:
                    with archive.open(member) as file:
                        while piece := file.read(2**20):
                            bar.update(len(piece))
    except Exception as error:  # zipfile and its decompressors raise a dozen kinds at damaged bytes
        if isinstance(error, OSError) and error.errno is not None:
            raise
        path.unlink()
        raise UserError(
            f"{path.name} was damaged ({error}) and has been removed; start again to download it again"
        ) from error
