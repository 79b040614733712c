"""Requests to Kaggle and its storage, and what can go wrong: no error quotes a credential or a signed address.

`send` raises requests.RequestException and nothing else; `patiently` makes a UserError of what remains.
"""

import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
from requests.exceptions import InvalidSchema, InvalidURL, ProxyError, SSLError
from tqdm import tqdm

from carvana.base.errors import UserError
from carvana.competition import KAGGLE_NAME

PAGE = f"https://www.kaggle.com/competitions/{KAGGLE_NAME}"
TIMEOUTS = (20.0, 120.0)  # seconds to connect or to send a piece, and to wait for the next bytes
ATTEMPTS = 4
PATIENCE = 60.0  # seconds; for longer waits, give up and tell the user
LEAST, WITHIN = 2**20, 300.0  # bytes of a body that come within so many seconds, or it is given up
_PIECE = 2**18
_LONGEST = 2**22  # bytes of an answer in JSON; Kaggle's have some hundreds

_RESUMES = "start again in a while, and it resumes"

Result = TypeVar("Result")


class Refused(requests.HTTPError):
    """Kaggle's API answers with an error status, in its own words, and may say how many seconds to wait."""

    def __init__(self, status: int, words: str, wait: float | None) -> None:
        super().__init__(f"Kaggle answers {status}{f': {words}' if words else ''}")
        self.status, self.wait = status, wait


class Unexpected(requests.RequestException):
    """An answer that is not of the documented form. Its message is ours, and quotes nothing of the answer."""


def send(method: str, url: str, auth: Any = lambda request: request, **options: Any) -> requests.Response:
    """Sends a request, with timeouts; returns the answer whatever its status, and its body unread.

    Without `auth`, ~/.netrc is not read.
    """
    try:
        return requests.request(method, url, auth=auth, timeout=TIMEOUTS, stream=True, **options)
    except requests.RequestException:
        raise
    except Exception as error:  # such as urllib3's at a broken address in a redirect
        raise Unexpected(type(error).__name__) from None


def pieces(response: requests.Response) -> Iterator[bytes]:
    """Yields the body of an answer as it comes. Raises RequestException if it breaks off or hardly comes."""
    since, came = time.monotonic(), 0
    while True:
        try:
            # Not iter_content, which waits for the whole piece, however slowly it comes.
            piece = response.raw.read1(_PIECE, decode_content=True)
        except Exception as error:
            raise requests.ConnectionError(type(error).__name__) from None
        if not piece:
            return
        yield piece
        came += len(piece)
        if came >= LEAST:
            since, came = time.monotonic(), 0
        elif time.monotonic() - since > WITHIN:
            raise requests.Timeout("too slow")


def read(response: requests.Response) -> bytes:
    """Returns the whole body of an answer. Raises RequestException as `pieces` does, and if it is too long."""
    content = b""
    for piece in pieces(response):
        content += piece
        if len(content) > _LONGEST:
            raise Unexpected(f"more than {_LONGEST} bytes")
    return content


def shown(words: object) -> str:
    """Returns words of Kaggle's as they can be printed: on one line, without control characters, and not too long."""
    text = words if isinstance(words, str) else ""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()[:300].rstrip(" .")


def patiently(what: str, attempt: Callable[[], Result], advice: str = "") -> Result:
    """Returns the result of an attempt; repeats it after a pause unless Kaggle refuses it for good.

    Raises UserError that says what has happened, `advice`, and what the user can do. urllib3's Retry works one level
    lower, where it could neither ask for a fresh signed address, nor see a body that breaks off, nor say what it waits
    for without quoting the address.
    """
    for number in range(ATTEMPTS):
        try:
            return attempt()
        except requests.RequestException as error:
            reason, remedy = explain(error)
            pause = _pause(error, number)
            if pause is None or number == ATTEMPTS - 1:
                # Without the original, which can quote a signed address or a credential.
                raise UserError("; ".join(filter(None, (f"{what}: {reason}", advice, remedy)))) from None
            tqdm.write(f"{what}: {reason}; again in {pause:.0f} seconds", file=sys.stderr)
            time.sleep(pause)
    raise AssertionError


def _pause(error: requests.RequestException, attempt: int) -> float | None:
    """Returns the seconds to wait before another attempt, the first being 0; None if that would not help."""
    if not isinstance(error, Refused):
        return 2.0**attempt
    seconds = 2.0**attempt if error.wait is None else error.wait
    is_busy = error.status == 429 or error.status >= 500
    return seconds if is_busy and seconds <= PATIENCE else None


def explain(error: requests.RequestException) -> tuple[str, str]:
    """Returns what has happened, without anything secret, and what the user can do."""
    match error:
        case Refused(status=401):
            advice = "it does not accept these credentials: make a new token on https://www.kaggle.com/settings"
        case Refused(status=403):
            advice = (
                f"most likely the competition's rules are not accepted: do that on {PAGE}/rules, logged in as the same "
                "user; Kaggle also wants a verified phone number (https://www.kaggle.com/settings)"
            )
        case Refused(status=404):
            advice = f"it knows no such competition or file; compare with {PAGE}/data"
        case Refused(status=429):
            advice = f"too many requests: start again in {error.wait or 3600:.0f} seconds"
        case Refused(status=status):
            advice = _RESUMES if status >= 500 else f"to repeat it would not help; look at {PAGE}"
        case Unexpected():
            return f"Kaggle's answer is not one that its client knows ({error})", _RESUMES
        case ProxyError() | InvalidURL():
            return "the proxy does not connect to Kaggle", "HTTPS_PROXY has the form http://user:password@host:port"
        case InvalidSchema() if "SOCKS" in str(error):
            return "the proxy in ALL_PROXY or HTTPS_PROXY is one for SOCKS", "`pip install pysocks`, then start again"
        case SSLError():
            advice = "behind a proxy that reads along, REQUESTS_CA_BUNDLE names the file with its certificate"
            return "Kaggle's certificate is not accepted", advice
        case _:
            advice = "start again when the network is back, and it resumes"
            return f"the connection to Kaggle is lost ({type(error).__name__})", advice
    return str(error), advice
