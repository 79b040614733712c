"""What can go wrong with a request to Kaggle: whether to repeat it, what has happened, and what the user can do."""

import math
import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import requests
from requests.exceptions import ChunkedEncodingError, ConnectTimeout, InvalidProxyURL, InvalidURL, ProxyError, SSLError
from urllib3.exceptions import NewConnectionError

COMPETITION = "carvana-image-masking-challenge"
PAGE = f"https://www.kaggle.com/competitions/{COMPETITION}"
PATIENCE = 60.0  # seconds; for longer waits, give up and tell the user

_LOST = (requests.ConnectionError, requests.Timeout, ChunkedEncodingError)
_REASONS = [
    (requests.TooManyRedirects, "Kaggle redirects again and again"),
    (InvalidProxyURL, "the proxy's address is malformed"),
    (ProxyError, "the proxy does not connect to Kaggle"),
    (SSLError, "Kaggle's certificate is not accepted"),
]


class Refused(requests.HTTPError):
    """Kaggle's API answers with an error status."""


class StorageRefused(requests.HTTPError):
    """The storage behind a signed address answers with an error status; a fresh address may help."""


class Unexpected(requests.RequestException):
    """An answer that is not of the documented form. Its message is ours, and quotes nothing of the answer."""


def is_surely_refused(error: Exception) -> bool:
    """Returns whether Kaggle has not acted on a request: it has refused it, or it cannot have received it."""
    if isinstance(error, Refused):
        return 400 <= _status(error) < 500 and _status(error) != 408
    if isinstance(error, ConnectTimeout | ProxyError | InvalidURL):
        return True
    lower = getattr(error.args[0], "reason", None) if isinstance(error, requests.ConnectionError) and error.args else ""
    return isinstance(lower, NewConnectionError)


def reason(error: requests.RequestException) -> str:
    """Returns what has happened, without anything secret."""
    if isinstance(error, StorageRefused) and not _is_407(error):
        return f"Kaggle's storage answers {_status(error)}"
    if isinstance(error, Refused) and not _is_407(error):
        words = _words(error.response)
        return f"Kaggle answers {_status(error)}{f': {words}' if words else ''}"
    if isinstance(error, Unexpected):
        return f"Kaggle's answer is not one that its client knows ({error})"
    if _is_407(error):
        return "the proxy asks for credentials (407)"
    for kind, text in _REASONS:
        if isinstance(error, kind):
            return text
    what = "the connection to Kaggle is lost" if isinstance(error, _LOST) else "the request cannot be sent"
    return f"{what} ({type(error).__name__})"


def advice(error: requests.RequestException) -> str:
    """Returns what the user can do."""
    if _is_407(error) or isinstance(error, ProxyError):
        return "compare HTTPS_PROXY=http://user:password@host:port with what your network wants"
    if isinstance(error, InvalidProxyURL):
        return "HTTPS_PROXY has the form http://host:port"
    if isinstance(error, SSLError):
        return "behind a proxy that reads along, REQUESTS_CA_BUNDLE names the file with its certificate"
    if isinstance(error, Refused):
        return _advice_on_status(_status(error), _told_to_wait(error.response))
    if isinstance(error, _LOST):
        return "start again when the network is back, and it resumes"
    return "start again in a while, and it resumes"


def _advice_on_status(status: int, told: float | None) -> str:
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
        return f"too many requests: start again in {f'{told:.0f} seconds' if told else 'an hour'}"
    if status < 500:
        return f"to repeat it would not help; look at {PAGE}"
    return "start again in a while, and it resumes"


def _told_to_wait(response: requests.Response | None) -> float | None:
    """Returns the seconds that Retry-After names, as a number or as a date; None if it is missing or makes no sense."""
    text = response.headers.get("Retry-After", "") if response is not None else ""
    try:
        seconds = float(text)
    except ValueError:
        date = date_of(text)
        seconds = math.nan if date is None else max(date - datetime.now(UTC).timestamp(), 0.0)
    return seconds if math.isfinite(seconds) and seconds >= 0 else None


def date_of(text: str | None) -> float | None:
    """Returns the time of a date in HTTP's form as seconds since 1970; None if it is missing or malformed."""
    try:
        date = parsedate_to_datetime(text or "")
        # Of all zones, "-0000" alone is read as none; HTTP's dates are in UTC.
        return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def pause(error: requests.RequestException, attempt: int) -> float | None:
    """Returns the seconds to wait before another attempt; None if that would not help."""
    if isinstance(error, Refused):
        if _status(error) != 429 and _status(error) < 500:
            return None
        told = _told_to_wait(error.response)
        seconds = 2.0**attempt if told is None else told
        return seconds if seconds <= PATIENCE else None
    if _is_407(error) or isinstance(error, InvalidProxyURL | SSLError):
        return None
    return 2.0**attempt if isinstance(error, (*_LOST, StorageRefused, Unexpected)) else None


def _status(error: requests.HTTPError) -> int:
    assert error.response is not None  # both classes of errors are raised with it
    return error.response.status_code


def _is_407(error: requests.RequestException) -> bool:
    if isinstance(error, requests.HTTPError):
        return _status(error) == 407
    return isinstance(error, ProxyError) and "407" in str(error)


def _words(response: requests.Response | None) -> str:
    """Returns Kaggle's own message in an error of the API, shortened, without signatures and credentials."""
    message = content_of(response).get("message") if response is not None else None
    if response is None or not isinstance(message, str) or response.status_code >= 500:
        return ""
    message = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", message)
    credential = str(response.request.headers.get("Authorization", "")).partition(" ")[2]
    if credential:
        message = message.replace(credential, "…")
    return "".join(letter if letter.isprintable() else " " for letter in message).strip()[:300].rstrip(" .")


def content_of(response: requests.Response) -> dict[str, Any]:
    """Returns the JSON object that an answer is; an empty one if it is something else."""
    try:
        content = response.json()
    except (ValueError, RecursionError, requests.RequestException):
        return {}
    return content if isinstance(content, dict) else {}
