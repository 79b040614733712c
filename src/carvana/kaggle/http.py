"""Requests to Kaggle and its storage: every one has timeouts, and no error quotes a credential or a signed address.

Functions that talk to Kaggle raise requests.RequestException. `patiently` tries them again, and turns what remains
into a UserError.
"""

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
from requests.exceptions import ProxyError
from tqdm import tqdm

from carvana.base.errors import UserError
from carvana.kaggle import troubles
from carvana.kaggle.troubles import ProxyRefused, Refused, StorageRefused, Unexpected

TIMEOUTS = (20.0, 120.0)  # seconds to connect or to send a piece, and to wait for the next bytes
ATTEMPTS = 4

_AS_THE_CLIENT = {"User-Agent": ""}  # Kaggle's own client names itself so

Result = TypeVar("Result")


def post(url: str, content: dict[str, Any], credentials: Any, parser: Callable[[dict[str, Any]], Any] | None) -> Any:
    """Calls Kaggle's API, and returns what `parser` makes of the JSON object that it answers.

    Without a parser, returns the answer itself, with an unread body; a redirect is not followed. Raises Refused for an
    error, and Unexpected if the answer cannot be parsed.
    """
    options = {"json": content, "auth": credentials, "headers": _AS_THE_CLIENT}
    response = _send("POST", url, **options, stream=parser is None, allow_redirects=False)
    answer = troubles.content_of(response) if parser else None
    if answer and isinstance(answer.get("code"), int) and answer["code"] >= 400:
        response.status_code = answer["code"]  # Kaggle can also write it into the body alone
    if response.status_code >= 400:
        raise Refused(response=response)
    if parser is None:
        return response
    if response.status_code != 200 or answer is None:
        raise Unexpected(f"status {response.status_code} without a JSON object")
    try:
        return parser(answer)
    except Exception as error:  # whatever the parser raises at what is not of the expected form
        raise Unexpected(f"{type(error).__name__} in reading it") from None


def get(url: str, headers: dict[str, str]) -> requests.Response:
    """Requests a file from the storage; returns the answer with an unread body. Raises StorageRefused for an error."""
    response = _send("GET", url, headers=headers, auth=_no_credentials, stream=True)
    if response.status_code >= 400:
        response.close()
        raise StorageRefused(response=response)
    return response


def put(url: str, data: Any) -> None:
    """Sends a file object to an address of the storage. Raises StorageRefused unless it is accepted."""
    response = _send("PUT", url, data=data, auth=_no_credentials, allow_redirects=False)
    if response.status_code not in (200, 201):
        raise StorageRefused(response=response)


def _send(method: str, url: str, **options: Any) -> requests.Response:
    """Sends a request; returns the answer whatever its status. Raises requests.RequestException and nothing else."""
    try:
        response = requests.request(method, url, timeout=TIMEOUTS, **options)
    except ProxyError as error:
        raise (ProxyRefused if "failed: 407" in str(error) else error) from None
    except requests.RequestException:
        raise
    except Exception as error:  # such as urllib3's at a broken address in a redirect
        raise Unexpected(type(error).__name__) from None
    if response.status_code == 407:
        raise ProxyRefused
    return response


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from adding those of ~/.netrc: the storage's addresses are signed."""
    return request


def patiently(what: str, attempt: Callable[[], Result], advice: str = "") -> Result:
    """Returns the result of an attempt; repeats it after a pause if Kaggle is busy or the connection is lost.

    Raises UserError that says what has happened, `advice`, and what the user can do. urllib3's Retry works one level
    lower, where it could neither ask for a fresh signed address, nor see a body that breaks off, nor say what it waits
    for without quoting the address.
    """
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except requests.RequestException as error:
            reason, pause = f"{what}: {troubles.reason(error)}", troubles.pause(error, number)
            if pause is None or number == ATTEMPTS - 1:
                # Without the original, which can quote a signed address or a credential.
                raise UserError("; ".join(filter(None, (reason, advice, troubles.advice(error))))) from None
            tqdm.write(f"{reason}; again in {pause:.0f} seconds", file=sys.stderr)
            time.sleep(pause)
    raise AssertionError
