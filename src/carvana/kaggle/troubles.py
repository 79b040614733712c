"""What can go wrong with a request to Kaggle: what has happened, what the user can do, and whether to try it again."""

import re
from typing import Any

import requests
from requests import exceptions
from urllib3.exceptions import InvalidHeader, NewConnectionError
from urllib3.util import Retry

from carvana.competition import KAGGLE_NAME

PAGE = f"https://www.kaggle.com/competitions/{KAGGLE_NAME}"
PATIENCE = 60.0  # seconds; for longer waits, give up and tell the user

_LOST = (requests.ConnectionError, requests.Timeout, exceptions.ChunkedEncodingError)


class Refused(requests.HTTPError):
    """Kaggle's API answers with an error status."""

    response: requests.Response


class StorageRefused(requests.HTTPError):
    """The storage behind a signed address answers with an error status; a fresh address may help."""

    response: requests.Response


class ProxyRefused(exceptions.ProxyError):
    """The proxy answers 407: it asks for credentials."""


class Unexpected(requests.RequestException):
    """An answer that is not of the documented form. Its message is ours, and quotes nothing of the answer."""


_RESUMES = "start again in a while, and it resumes"
_RESUMES_ONLINE = "start again when the network is back, and it resumes"
_PROXY = "compare HTTPS_PROXY=http://user:password@host:port with what your network wants"
_PROXY_FORM = "HTTPS_PROXY has the form http://host:port"
_CERTIFICATE = "behind a proxy that reads along, REQUESTS_CA_BUNDLE names the file with its certificate"

# Errors, what has happened, what the user can do, and whether another attempt can help. The first that fits counts.
_KINDS: list[tuple[Any, str, str, bool]] = [
    (ProxyRefused, "the proxy asks for credentials (407)", _PROXY, False),
    (exceptions.ProxyError, "the proxy does not connect to Kaggle", _PROXY, True),
    (exceptions.InvalidURL, "the address of the proxy, or one from Kaggle, is malformed", _PROXY_FORM, False),
    (exceptions.SSLError, "Kaggle's certificate is not accepted", _CERTIFICATE, False),
    (requests.TooManyRedirects, "Kaggle redirects again and again", _RESUMES, False),
    (StorageRefused, "Kaggle's storage answers {error.response.status_code}", _RESUMES, True),
    (Unexpected, "Kaggle's answer is not one that its client knows ({error})", _RESUMES, True),
    (_LOST, "the connection to Kaggle is lost ({kind})", _RESUMES_ONLINE, True),
    (requests.RequestException, "the request cannot be sent ({kind})", _RESUMES, False),
]

_STATUSES = {
    401: "it does not accept these credentials: make a new token on https://www.kaggle.com/settings, under API",
    403: (
        f"most likely the competition's rules are not accepted: do that on {PAGE}/rules, logged in as the same user; "
        "Kaggle also wants a verified phone number (https://www.kaggle.com/settings)"
    ),
    404: f"it knows no such competition or file; compare with {PAGE}/data",
}


def reason(error: requests.RequestException) -> str:
    """Returns what has happened, without anything secret."""
    if isinstance(error, Refused):
        words = _words(error.response)
        return f"Kaggle answers {error.response.status_code}{f': {words}' if words else ''}"
    return _kind(error)[1].format(error=error, kind=type(error).__name__)


def advice(error: requests.RequestException) -> str:
    """Returns what the user can do."""
    if not isinstance(error, Refused):
        return _kind(error)[2]
    status = error.response.status_code
    if status == 429:
        told = _told_to_wait(error.response)
        return f"too many requests: start again in {f'{told:.0f} seconds' if told else 'an hour'}"
    return _STATUSES.get(status) or (_RESUMES if status >= 500 else f"to repeat it would not help; look at {PAGE}")


def pause(error: requests.RequestException, attempt: int) -> float | None:
    """Returns the seconds to wait before another attempt, the first being 0; None if that would not help."""
    seconds = 2.0**attempt
    if not isinstance(error, Refused):
        return seconds if _kind(error)[3] else None
    told = _told_to_wait(error.response)
    seconds = seconds if told is None else told
    is_busy = error.response.status_code == 429 or error.response.status_code >= 500
    return seconds if is_busy and seconds <= PATIENCE else None


def is_surely_refused(error: requests.RequestException) -> bool:
    """Returns whether Kaggle has not acted on a request: it has refused it, or it cannot have received it."""
    if isinstance(error, Refused):
        return error.response.status_code < 500 and error.response.status_code != 408
    unsent = (exceptions.ConnectTimeout, exceptions.ProxyError, exceptions.InvalidURL)
    lower = getattr(error.args[0], "reason", None) if isinstance(error, requests.ConnectionError) and error.args else ""
    return isinstance(error, unsent) or isinstance(lower, NewConnectionError)


def content_of(response: requests.Response) -> dict[str, Any] | None:
    """Returns the JSON object that an answer is; None if it is something else."""
    try:
        content = response.json()
    except (ValueError, RecursionError, requests.RequestException):
        return None
    return content if isinstance(content, dict) else None


def _kind(error: requests.RequestException) -> tuple[Any, str, str, bool]:
    return next(kind for kind in _KINDS if isinstance(error, kind[0]))


def _told_to_wait(response: requests.Response) -> float | None:
    """Returns the seconds that Retry-After names, as a number or as a date; None if it is missing or makes no sense."""
    try:
        return Retry().parse_retry_after(response.headers.get("Retry-After", ""))
    except (InvalidHeader, ValueError, OverflowError):
        return None


def _words(response: requests.Response) -> str:
    """Returns Kaggle's own message in an error of the API, shortened, without signatures and credentials."""
    message = (content_of(response) or {}).get("message")
    if not isinstance(message, str) or response.status_code >= 500:
        return ""
    message = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", message)
    if credential := str(response.request.headers.get("Authorization", "")).partition(" ")[2]:
        message = message.replace(credential, "…")
    return "".join(letter if letter.isprintable() else " " for letter in message).strip()[:300].rstrip(" .")
