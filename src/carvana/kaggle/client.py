"""What Kaggle's API offers for this competition: its files, and submissions to it."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm

from carvana.base.errors import UserError
from carvana.competition import KAGGLE_NAME
from carvana.kaggle import http
from carvana.kaggle.http import PAGE, Refused, Unexpected

LOOKS = 5  # at the list of submissions, where a new one can appear late
LOOK_PAUSE = 3.0  # seconds

_MAYBE = f"it may have been counted: look at {PAGE}/submissions before you submit it again"


class UncertainError(UserError):
    """The submission may have been counted, and Kaggle does not say so."""


def log_in() -> Any:
    """Returns Kaggle's API for competitions, logged in. Raises UserError if no credentials are accepted."""
    try:
        from carvana.kaggle import login  # noqa: PLC0415 - what needs no Kaggle runs without its client
    except ImportError as error:
        raise UserError(f"Kaggle's client cannot be used ({error}): `pip install -r requirements.txt`") from error
    return login.log_in()


def sizes(api: Any) -> dict[str, int]:
    """Returns the size in bytes of every file of the competition, by name. Raises UserError if Kaggle refuses."""
    request = _request("ListDataFiles", page_size=100)
    answer = http.patiently("the list of files", lambda: api.list_data_files(request))
    return {file.name: file.total_bytes for file in answer.files}


def open_file(api: Any, name: str, headers: dict[str, str]) -> requests.Response:
    """Requests a file by a fresh address; returns the answer with an unread body. Raises RequestException."""
    response = api.download_data_file(_request("DownloadDataFile", file_name=name))
    if response.next is None:
        return response  # it is the file itself
    response.close()
    return http.send("GET", response.next.url, headers=headers, stream=True)


def submissions_left() -> int | None:
    """Returns how many more submissions Kaggle accepts today; None if it does not say."""
    api = log_in()
    try:
        return api.get_submission_limits(_request("GetSubmissionLimits")).num_allowed_now
    except requests.RequestException:
        return None


def submit(file: Path, message: str, taken: Callable[[int, str], None]) -> str:
    """Submits a file; returns the status under which Kaggle lists it, `pending` or `complete`.

    Calls `taken` with Kaggle's reference and words once Kaggle has taken it, before looking for it in the list. Raises
    UncertainError if an answer is lost, or if Kaggle does not list it, and any other UserError if it is not submitted
    or cannot be scored.
    """
    api = log_in()
    token = http.patiently("the upload", lambda: _upload(api, file), "nothing was submitted")
    answer = _create(api, token, message)
    taken(answer.ref, answer.message)
    return _find(api, answer.ref)


def _upload(api: Any, file: Path) -> str:
    """Uploads a file to a fresh address; returns the token that stands for it. Nothing is submitted by that."""
    size, modified = file.stat().st_size, int(file.stat().st_mtime)
    fields = {"file_name": file.name, "content_length": size, "last_modified_epoch_seconds": modified}
    answer = api.start_submission_upload(_request("StartSubmissionUpload", **fields))
    with file.open("rb") as reader, tqdm.wrapattr(reader, "read", size, desc="upload", disable=None) as counted:
        status = http.send("PUT", answer.create_url, data=counted, allow_redirects=False).status_code
    if status not in (200, 201):
        raise Unexpected(f"the storage says {status}")
    return answer.token


def _create(api: Any, token: str, message: str) -> Any:
    """Submits what was uploaded. Raises UncertainError if it may have been counted, else UserError if it is refused."""
    request = _request("CreateSubmission", blob_file_tokens=token, submission_description=message)

    def attempt() -> Any:
        try:
            return api.create_submission(request)
        except requests.RequestException as error:
            if isinstance(error, Refused) and error.status < 500 and error.status != 408:
                raise
            # Not repeated: every submission that is counted uses up one of the day's.
            raise UncertainError(f"the submission: {http.explain(error)[0]}; {_MAYBE}") from None

    answer = http.patiently("the submission", attempt, "nothing was submitted")
    if not answer.ref:
        raise UncertainError(f"Kaggle answers without a reference ({answer.message or 'and without words'}); {_MAYBE}")
    return answer


def _find(api: Any, reference: int) -> str:
    """Returns the status under which Kaggle lists a submission. Raises UserError if that is an error."""
    request = _request("ListSubmissions", page_size=20)
    for look in range(LOOKS):
        if look:
            time.sleep(LOOK_PAUSE)
        try:
            found = {each.ref: each for each in api.list_submissions(request).submissions}[reference]
        except requests.RequestException as error:
            reason = f"does not say more ({http.explain(error)[0]})"
        except KeyError:
            reason = "does not list it"
        else:
            break
    else:
        raise UncertainError(f"Kaggle took it (reference {reference}) but {reason}; {_MAYBE}")
    if found.status.name == "ERROR":
        words = found.error_description or "it does not say why"
        raise UserError(f"Kaggle cannot score the submission: {words}; see {PAGE}/submissions")
    return found.status.name.lower()


def _request(name: str, **fields: Any) -> Any:
    """Returns a request of Kaggle's client about this competition."""
    from kagglesdk.competitions.types import competition_api_service as types  # noqa: PLC0415 - as in log_in

    request = getattr(types, f"Api{name}Request")()
    for field, value in {"competition_name": KAGGLE_NAME, **fields}.items():
        setattr(request, field, value)
    return request
