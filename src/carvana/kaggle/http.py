"""Requests to Kaggle and its storage: every one has timeouts, and no error quotes a credential or a signed address.

Functions that talk to Kaggle raise requests.RequestException. `patiently` tries them again, and `explained` turns what
remains into a UserError.
"""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import requests
from requests.exceptions import InvalidProxyURL
from requests.utils import select_proxy
from tqdm import tqdm
from urllib3.util import parse_url

from carvana.base.errors import UserError
from carvana.kaggle import troubles
from carvana.kaggle.troubles import Refused, StorageRefused, Unexpected

TIMEOUTS = (20.0, 120.0)  # seconds to connect or to send a piece, and to wait for the next bytes
ATTEMPTS = 4

_REDIRECTS = 5

Result = TypeVar("Result")


def send(request: requests.PreparedRequest, *, stream: bool = False) -> requests.Response:
    """Sends one request, does not follow redirects, and returns the answer whatever its status.

    With `stream`, the body is not yet read. Raises requests.RequestException and nothing else.
    """
    with _as_unexpected(), requests.Session() as session:
        url = request.url or ""
        settings = session.merge_environment_settings(url, {}, stream, None, None)
        _require_proxy(select_proxy(url, settings["proxies"]))
        return session.send(request, timeout=TIMEOUTS, allow_redirects=False, **settings)


def follow(response: requests.Response, headers: dict[str, str]) -> requests.Response:
    """Follows redirects to the storage, with additional headers; returns the answer with an unread body.

    Raises StorageRefused for an error status. Other addresses than those of http and https raise InvalidSchema.
    """
    for _ in range(_REDIRECTS):
        if response.next is None:
            break
        response.close()
        response.next.headers.update(headers)
        response = send(response.next, stream=True)
        if response.status_code >= 400:
            response.close()
            raise StorageRefused(response=response)
    else:
        raise requests.TooManyRedirects
    return response


def require_success(response: requests.Response) -> requests.Response:
    """Returns an answer of the API whose body is unread, if it is no error. Raises Refused if it is one."""
    if response.status_code >= 400:
        raise Refused(response=response)
    return response


def put(url: str, data: Any) -> None:
    """Sends a file object to an address of the storage. Raises StorageRefused unless it is accepted."""
    with _as_unexpected():
        request = requests.Request("PUT", url, data=data).prepare()
    response = send(request)
    if response.status_code not in (200, 201):
        raise StorageRefused(response=response)


def parse(response: requests.Response, parser: Callable[[dict[str, Any]], Result]) -> Result:
    """Returns what an answer of the API says. Raises Refused for an error, Unexpected if it cannot be parsed."""
    content = troubles.content_of(response)
    code = content.get("code")
    if isinstance(code, int) and code >= 400:
        response.status_code = code  # Kaggle can also write it into the body alone
    require_success(response)
    if response.status_code != 200:
        raise Unexpected(f"status {response.status_code}")
    if not content and response.text.strip() != "{}":
        raise Unexpected("not a JSON object")
    try:
        return parser(content)
    except Exception as error:  # whatever the parser raises at what is not JSON, or not of the expected form
        raise Unexpected(f"{type(error).__name__} in reading it") from None


def patiently(
    what: str, call: Callable[[], Result], may_repeat: Callable[[Exception], bool] = lambda _: True
) -> Result:
    """Returns the result of a call; repeats it after a pause if Kaggle is busy or the connection is lost."""
    for attempt in range(ATTEMPTS):
        try:
            return call()
        except requests.RequestException as error:
            pause = troubles.pause(error, attempt)
            if pause is None or attempt == ATTEMPTS - 1 or not may_repeat(error):
                raise
            tqdm.write(f"{what}: {troubles.reason(error)}; again in {pause:.0f} seconds", file=sys.stderr)
            time.sleep(pause)
    raise AssertionError


@contextlib.contextmanager
def explained(what: str, advice: str = "") -> Iterator[None]:
    """Turns errors of requests into a UserError that says what to do; `advice` comes before what it says anyway."""
    try:
        yield
    except requests.RequestException as error:
        # Without the original, which can quote a signed address or a credential.
        parts = [f"{what}: {troubles.reason(error)}", advice, troubles.advice(error)]
        raise UserError("; ".join(filter(None, parts))) from None


@contextlib.contextmanager
def _as_unexpected() -> Iterator[None]:
    """Turns what requests lets through, such as urllib3's errors at a broken address, into Unexpected."""
    try:
        yield
    except requests.RequestException:
        raise
    except Exception as error:
        raise Unexpected(type(error).__name__) from None


def _require_proxy(proxy: str | None) -> None:
    if proxy:
        try:
            host = parse_url(proxy).host
        except ValueError:
            host = None
        if not host:
            raise InvalidProxyURL
