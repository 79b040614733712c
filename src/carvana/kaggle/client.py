"""Downloads and submissions by Kaggle's client. Nothing else imports `kaggle`.

The client finds credentials by itself (https://www.kaggle.com/docs/api): KAGGLE_API_TOKEN or
~/.kaggle/access_token, KAGGLE_USERNAME and KAGGLE_KEY or kaggle.json, or those of `kaggle auth login`. They are
neither printed nor stored here; nor are the signed URLs of downloads.
"""

import contextlib
import io
import os
import shutil
import sys
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError as LowerError

from carvana.errors import UserError, some

COMPETITION = "carvana-image-masking-challenge"
PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"

_PARTIAL = "partial"  # the folder, beside a file, for its unfinished download
_ATTEMPTS = 4
_PATIENCE = 60.0  # seconds; for longer waits, give up and tell the user
_LOST = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError, LowerError)

Result = TypeVar("Result")


def download(names: list[str], folder: Path) -> list[Path]:
    """Downloads files of the competition, each into its own folder in `folder`; returns their paths.

    A current file is not downloaded again, and an interrupted download resumes. A download is written beside the file
    that it replaces and takes its name when it is complete, so hard links to the old file keep their content. Every zip
    is read to its end. Raises UserError if there are no valid credentials, too little disk space, an error of Kaggle or
    a damaged zip.
    """
    client = _client()
    sizes = _sizes(client)
    if unknown := [name for name in names if name not in sizes]:
        raise UserError(f"the competition has no {some(unknown)}; it has {some(sorted(sizes), 20)}")
    _require_space(folder, sum(_missing(sizes[name], folder / name) for name in names))
    return [_download(client, name, folder / name) for name in names]


def submit(file: Path, message: str) -> str:
    """Uploads a submission and returns Kaggle's message. Raises UserError unless Kaggle lists it afterwards."""
    client = _client()
    # Only once: an upload that seems to have failed may have been counted.
    with _explained("the upload"), _speechless():
        answer = client.competition_submit(str(file), message, COMPETITION, quiet=not sys.stderr.isatty())
    # The client reports this failure by its message alone.
    if answer.message == client.COMPETITION_SUBMIT_UPLOAD_FAILED_MESSAGE:
        raise UserError(f"the upload of {file.name} failed; nothing was submitted, so try again")
    listed = _patiently("the list of submissions", lambda: client.competition_submissions(COMPETITION))
    if answer.ref not in [each.ref for each in listed or []]:
        raise UserError(f"Kaggle took {file.name} ({answer.message}) but does not list it; look at {PAGE}/submissions")
    return answer.message


def submissions_left() -> int | None:
    """Returns how many more submissions Kaggle accepts today; None if it does not say."""
    client = _client()
    try:
        return client.competition_get_submission_limits(COMPETITION).num_allowed_now
    except (requests.RequestException, AttributeError):
        return None


def _client() -> Any:
    """Returns the authenticated client. Raises UserError if it finds no credentials that Kaggle accepts."""
    # The import logs in; if that fails, it prints a page of help or exits.
    with _explained("logging in"), _speechless():
        try:
            client = _client_class()()
            client.authenticate()
        except ImportError as error:
            raise UserError(f"Kaggle's client is not installed ({error}): `pip install -r requirements.txt`") from error
        except SystemExit:
            raise UserError(
                "no credentials for Kaggle. On https://www.kaggle.com/settings, under API, make a token, and put it "
                "into ~/.kaggle/access_token or into the environment as KAGGLE_API_TOKEN (an older kaggle.json, "
                f"in ~/.kaggle, and `kaggle auth login` work as well). Then accept the rules on {PAGE}/rules"
            ) from None
    return client


def _client_class() -> type:
    from kaggle.api.kaggle_api_extended import KaggleApi  # noqa: PLC0415
    from kagglesdk import KaggleClient  # noqa: PLC0415

    class Client(KaggleApi):
        def __init__(self) -> None:
            super().__init__()
            self.checked: set[Path] = set()  # files that it has downloaded and read to their ends

        def build_kaggle_client(self) -> KaggleClient:
            # Like the client's own method, but without `env`: version 2.2.4 sets it, which overrides
            # KAGGLE_API_ENVIRONMENT.
            values = self.config_values
            names = (self.CONFIG_NAME_USER, self.CONFIG_NAME_KEY, self.CONFIG_NAME_TOKEN)
            username, password, token = (values.get(name) for name in names)
            return KaggleClient(
                username=username,
                password=password,
                api_token=token,
                response_processor=self.get_response_processor(),
            )

        def download_file(self, response: requests.Response, outfile: str, *given: Any, **named: Any) -> None:
            # The client's own method overwrites `outfile`, to which data/raw and DVC's cache have hard links.
            target = Path(outfile)
            partial = target.parent / _PARTIAL / target.name
            # Not needed if an earlier process has downloaded all of it and was stopped during the check.
            if self.download_needed(response, str(partial)):
                super().download_file(response, str(partial), *given, **named)
            _require_whole(partial)
            os.replace(partial, target)
            self.checked.add(target)

    return Client


def _sizes(client: Any) -> dict[str, int]:
    """Returns the size in bytes of every file of the competition, by name."""
    answer = _patiently("the list of files", lambda: client.competition_list_files(COMPETITION, page_size=100))
    return {file.name: file.total_bytes for file in answer.files}


def _missing(size: int, folder: Path) -> int:
    """Returns how many of a file's `size` bytes are still missing in its folder."""
    if any(path.stat().st_size >= size for path in folder.glob("*.zip")):
        return 0
    return max(size - sum(path.stat().st_size for path in (folder / _PARTIAL).glob("*.zip")), 0)


def _require_space(folder: Path, needed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise UserError(
            f"the download needs {needed / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB free; make room"
        )


def _download(client: Any, name: str, folder: Path) -> Path:
    def fetch() -> None:
        # Only the progress bar: other output may contain signed URLs.
        client.competition_download_file(COMPETITION, name, str(folder), quiet=not sys.stderr.isatty())

    folder.mkdir(parents=True, exist_ok=True)
    _patiently(name, fetch)
    found = [path for path in folder.iterdir() if path.suffix == ".zip"]
    if len(found) != 1:
        raise UserError(f"{folder} holds {len(found)} zips instead of one, the download of {name}; remove it")
    if found[0] not in client.checked:
        _require_whole(found[0])
    return found[0]


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
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        path.unlink()
        raise UserError(
            f"{path.name} was damaged ({error}) and has been removed; start again to download it again"
        ) from error


def _patiently(what: str, call: Callable[[], Result]) -> Result:
    """Returns the result of a call; tries it again after a while if Kaggle is busy or the connection is lost."""
    with _explained(what):
        for attempt in range(_ATTEMPTS):
            try:
                with _speechless():
                    return call()
            except (requests.HTTPError, *_LOST) as error:
                pause = _pause(error, attempt)
                if pause is None or attempt == _ATTEMPTS - 1:
                    raise
                tqdm.write(f"{what}: {_reason(error)}; again in {pause:.0f} seconds", file=sys.stderr)
                time.sleep(pause)
    raise AssertionError


def _pause(error: Exception, attempt: int) -> float | None:
    """Returns the seconds to wait before another attempt; None if that would not help."""
    if not isinstance(error, requests.HTTPError):
        return 2.0**attempt
    status = _response(error).status_code
    if status != 429 and status < 500:
        return None
    told = _told_to_wait(_response(error))
    pause = 2.0**attempt if told is None else told
    return pause if pause <= _PATIENCE else None


def _response(error: requests.HTTPError) -> requests.Response:
    assert error.response is not None  # requests sets it whenever it raises this error
    return error.response


def _told_to_wait(response: requests.Response) -> float | None:
    try:
        return float(response.headers["Retry-After"])
    except (KeyError, ValueError):
        return None


@contextlib.contextmanager
def _explained(what: str) -> Iterator[None]:
    """Turns errors of the connection and of Kaggle into a UserError that says what to do."""
    try:
        yield
    except requests.HTTPError as error:
        raise UserError(f"{what}: {_reason(error)}; {_advice(_response(error))}") from error
    except _LOST as error:
        raise UserError(f"{what}: {_reason(error)}; start again when the network is back, and it resumes") from error
    except ValueError as error:
        if "does not match expected size" not in str(error):
            raise
        raise UserError(f"{what} has another size than Kaggle announced; start again") from error


def _reason(error: Exception) -> str:
    # Not the error's own message: it can contain a signed URL.
    if isinstance(error, requests.HTTPError):
        return f"Kaggle answers {_response(error).status_code}"
    return f"the connection to Kaggle is lost ({type(error).__name__})"


def _advice(response: requests.Response) -> str:
    status = response.status_code
    if status == 401:
        return "it does not accept these credentials: make a new token on https://www.kaggle.com/settings, under API"
    if status == 403:
        return (
            f"most likely the competition's rules are not accepted: do that on {PAGE}/rules, logged in as the same "
            "user; Kaggle also wants a verified phone number (https://www.kaggle.com/settings)"
        )
    if status == 404:
        return f"it knows no such competition or file; compare with {PAGE}/data"
    if status == 429:
        told = _told_to_wait(response)
        return f"too many requests: start again in {f'{told:.0f} seconds' if told else 'an hour'}"
    return "start again in a while, and it resumes"


@contextlib.contextmanager
def _speechless() -> Iterator[None]:
    """Suppresses what the client prints to stdout; its progress bars go to stderr."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
