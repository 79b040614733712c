"""What Kaggle's API offers for this competition: its files, and submissions to it."""

from pathlib import Path
from typing import Any, TypeVar

import requests
from tqdm import tqdm

from carvana.base.errors import UserError
from carvana.competition import KAGGLE_NAME
from carvana.kaggle import http
from carvana.kaggle.http import PAGE, Refused, Unexpected

_MAYBE = f"it may have been counted: look at {PAGE}/submissions before you submit it again"

Value = TypeVar("Value")


class UncertainError(UserError):
    """The submission may have been counted, and Kaggle does not say so."""


def log_in() -> Any:
    """Returns Kaggle's API for competitions, logged in. Raises UserError if no credentials are accepted."""
    from carvana.kaggle import login  # noqa: PLC0415 - what needs no Kaggle runs without its client

    return login.log_in()


def sizes(api: Any) -> dict[str, int]:
    """Returns the size in bytes of every file of the competition, by name. Raises UserError if Kaggle refuses."""
    request = _request("ListDataFiles", page_size=100)

    def attempt() -> dict[str, int]:
        files = api.list_data_files(request).files
        return {http.shown(_of(str, file.name)): _of(int, file.total_bytes) for file in files}

    return http.patiently("the list of files", attempt)


def open_file(api: Any, name: str, headers: dict[str, str]) -> requests.Response:
    """Requests a file by a fresh address; returns the answer with an unread body. Raises RequestException."""
    response = api.download_data_file(_request("DownloadDataFile", file_name=name))
    if response.next is None:
        return response  # it is the file itself
    response.close()
    return http.send("GET", response.next.url, headers=headers)


def submissions_left() -> int | None:
    """Returns how many more submissions Kaggle accepts today; None if it does not say."""
    api = log_in()
    try:
        return _of(int, api.get_submission_limits(_request("GetSubmissionLimits")).num_allowed_now)
    except requests.RequestException:
        return None


def submit(file: Path, message: str) -> tuple[int, str]:
    """Submits a file; returns Kaggle's reference and words.

    Raises UncertainError if the answer is lost, and any other UserError if it is not submitted.
    """
    api = log_in()
    token = http.patiently("the upload", lambda: _upload(api, file), "nothing was submitted")
    return _create(api, token, message)


def _upload(api: Any, file: Path) -> str:
    """Uploads a file to a fresh address; returns the token that stands for it. Nothing is submitted by that."""
    size, modified = file.stat().st_size, int(file.stat().st_mtime)
    fields = {"file_name": file.name, "content_length": size, "last_modified_epoch_seconds": modified}
    answer = api.start_submission_upload(_request("StartSubmissionUpload", **fields))
    token = _of(str, answer.token)
    with file.open("rb") as reader, tqdm.wrapattr(reader, "read", size, desc="upload", disable=None) as counted:
        status = http.send("PUT", answer.create_url, data=counted, allow_redirects=False).status_code
    if status not in (200, 201):
        raise Unexpected(f"the storage says {status}")
    return token


def _create(api: Any, token: str, message: str) -> tuple[int, str]:
    """Submits what was uploaded. Raises UncertainError if it may have been counted, else UserError if it is refused."""
    request = _request("CreateSubmission", blob_file_tokens=token, submission_description=message)

    def attempt() -> tuple[int, str]:
        try:
            answer = api.create_submission(request)
            return _of(int, answer.ref), http.shown(answer.message)
        except requests.RequestException as error:
            if isinstance(error, Refused) and error.status < 500 and error.status != 408:
                raise
            # Not repeated: every submission that is counted uses up one of the day's.
            raise UncertainError(f"the submission: {http.explain(error)[0]}; {_MAYBE}") from None

    reference, words = http.patiently("the submission", attempt, "nothing was submitted")
    if not reference:
        raise UncertainError(f"Kaggle answers without a reference ({words or 'and without words'}); {_MAYBE}")
    return reference, words


def _of(kind: type[Value], value: Any) -> Value:
    """Returns a value that Kaggle's client takes as it comes. Raises Unexpected if it is of another type."""
    if not isinstance(value, kind):
        raise Unexpected(f"{type(value).__name__} in place of {kind.__name__}")
    return value


def _request(name: str, **fields: Any) -> Any:
    """Returns a request of Kaggle's client about this competition."""
    from kagglesdk.competitions.types import competition_api_service as types  # noqa: PLC0415 - as in log_in

    request = getattr(types, f"Api{name}Request")()
    for field, value in {"competition_name": KAGGLE_NAME, **fields}.items():
        setattr(request, field, value)
    return request
