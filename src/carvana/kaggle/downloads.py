"""Downloads that resume: what has come is kept whatever Kaggle answers, and only a continuation is added to it."""

import functools
import json
import os
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import requests
from tqdm import tqdm

from carvana.base.errors import UserError, some
from carvana.base.files import can_link, whole_file
from carvana.kaggle import client, http, troubles
from carvana.kaggle.troubles import Unexpected

_PARTIAL = "partial"  # the folder, beside a file, for its unfinished download
_PIECE = 2**18
_PROGRESS = 2**20  # bytes after which a broken connection is no failed attempt
_NUMBER = "([0-9]{1,18})"
_PLAIN = {"Accept-Encoding": "identity"}

Opener = Callable[[dict[str, str]], requests.Response]  # requests a file by a fresh address, with these headers


class Version(NamedTuple):
    """Which version of a file the storage has; None for what it does not say."""

    size: int | None
    etag: str | None
    modified: str | None

    def may_be(self, other: "Version") -> bool:
        """Returns whether nothing that both say differs."""
        return all(mine == theirs or None in (mine, theirs) for mine, theirs in zip(self, other, strict=True))


def download(names: list[str], folder: Path) -> list[Path]:
    """Downloads files of the competition, each into its own folder in `folder`; returns their paths.

    A current file is not downloaded again, and an interrupted download resumes. A download is written beside the file
    that it replaces and takes its name when it is complete, so hard links to the old file keep their content. Every zip
    is read to its end. Raises UserError if there are no valid credentials, too little disk space, an error of Kaggle or
    a damaged zip.
    """
    api = client.log_in()
    sizes = client.sizes(api)
    if unknown := [name for name in names if name not in sizes]:
        raise UserError(f"the competition has no {some(unknown)}; it has {some(sorted(sizes), 20) or 'no files'}")
    _require_space(folder, sum(_missing(sizes[name], folder / name) for name in names))
    return [_download(name, folder / name, functools.partial(client.open_file, api, name)) for name in names]


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
    if not partial.exists() and http.patiently(name, lambda: _is_current(target, opener)):
        _require_whole(target)
        return target
    partial.parent.mkdir(parents=True, exist_ok=True)
    while not http.patiently(name, lambda: _continue(partial, opener)):
        pass  # it has come farther
    _require_whole(partial)
    os.replace(partial, target)
    os.replace(_version_file(partial), _version_file(target))
    return target


def _is_current(target: Path, opener: Opener) -> bool:
    """Returns whether a complete file is of the storage's version, as far as that is known, and of its size."""
    if not target.exists():
        return False
    with opener(_PLAIN | {"Range": "bytes=0-0"}) as response:
        version = _version(response, 0)
    known = _read_version(target)
    return version.size == target.stat().st_size and (known is None or version.may_be(known))


def _continue(partial: Path, opener: Opener) -> bool:
    """Adds to a partial file what is missing; returns whether it is then complete.

    Returns False if the connection breaks after the file has grown. Raises RequestException in other cases; the
    partial file is left as it is if the answer is neither its continuation nor the beginning of a zip.
    """
    known = _read_version(partial)
    came = partial.stat().st_size if partial.exists() else 0
    if known and came == known.size:
        return True
    if known and not 0 < came < (known.size or 0):
        known = None  # there is nothing that could be continued
    with _open(partial, opener, known, came) as response:
        start = came if known and response.status_code == 206 else 0
        version = _version(response, start)
        if known and start and not version.may_be(known):
            _version_file(partial).unlink()
            raise Unexpected("the file has changed meanwhile")
        broken = _append(partial, version, start, response)
    complete = partial.stat().st_size
    if complete == version.size or (version.size is None and not broken):
        return True
    if complete < came + _PROGRESS:
        raise broken or Unexpected(f"it ends after {complete} of {version.size} bytes")
    return False


def _open(partial: Path, opener: Opener, known: Version | None, first: int) -> requests.Response:
    """Requests a file from byte `first` on, if it is still the known version; the whole file if none is known."""
    if not known:
        return opener(_PLAIN)
    # A weak ETag must not stand in If-Range.
    strong = known.etag if known.etag and not known.etag.startswith("W/") else None
    unchanged = strong or known.modified
    try:
        return opener(_PLAIN | {"Range": f"bytes={first}-"} | ({"If-Range": unchanged} if unchanged else {}))
    except troubles.StorageRefused as error:
        if error.response.status_code == 416:
            _version_file(partial).unlink()  # another, shorter file: the next attempt begins anew
        raise


def _version(response: requests.Response, first: int) -> Version:
    """Returns the version of an answer. Raises Unexpected unless it is a whole file or begins at byte `first`."""
    if response.status_code == 206:
        place = re.fullmatch(f"bytes {_NUMBER}-{_NUMBER}/{_NUMBER}", response.headers.get("Content-Range", ""))
        if not place or int(place[1]) != first or not first <= int(place[2]) < int(place[3]):
            raise Unexpected("another part of the file than was requested")
        size = place[3]
    elif response.status_code == 200:
        size = response.headers.get("Content-Length", "")
    else:
        raise Unexpected(f"status {response.status_code}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise Unexpected("a compressed file")
    number = int(size) if re.fullmatch(_NUMBER, size) else None
    return Version(number, response.headers.get("ETag"), response.headers.get("Last-Modified"))


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
            temporary.write_text(json.dumps(version._asdict()), encoding="utf-8")
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


def _version_file(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _read_version(path: Path) -> Version | None:
    """Returns the version that a file, partial or whole, belongs to; None if it is unknown."""
    try:
        return Version(**json.loads(_version_file(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _require_whole(path: Path) -> None:
    """Reads a zip to its end; removes it and raises UserError if it is damaged."""
    bar = {"desc": f"check {path.name}", "unit": "B", "unit_scale": True, "disable": None}
    try:
        with (
            path.open("rb") as file,
            tqdm.wrapattr(file, "read", path.stat().st_size, **bar) as counted,
            zipfile.ZipFile(counted) as archive,
        ):
            damaged = archive.testzip()
    except Exception as error:  # zipfile and its decompressors raise a dozen kinds at damaged bytes
        if isinstance(error, OSError) and error.errno is not None:
            raise
        damaged = str(error) or type(error).__name__
    if damaged is not None:
        path.unlink()
        raise UserError(f"{path.name} was damaged ({damaged}) and has been removed; start again to download it again")
