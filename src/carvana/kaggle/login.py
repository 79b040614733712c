"""Kaggle's client `kagglesdk`, logged in, with requests that go through carvana.kaggle.http.

Not its package `kaggle`, which logs in as it is imported and exits without credentials. They are looked for in the
same places (https://www.kaggle.com/docs/api): KAGGLE_API_TOKEN or ~/.kaggle/access_token, KAGGLE_USERNAME and
KAGGLE_KEY or kaggle.json, and what `kaggle auth login` has left. They are neither printed nor stored here.
"""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
from kagglesdk import KaggleClient, KaggleCredentials, KaggleEnv, get_access_token_from_env
from kagglesdk.common.types.http_redirect import HttpRedirect
from kagglesdk.kaggle_env import get_endpoint, get_env
from kagglesdk.kaggle_http_client import KaggleHttpClient

from carvana.base.errors import UserError
from carvana.kaggle import http
from carvana.kaggle.http import Refused, Unexpected


@dataclass
class Transport:
    """Sends the calls of Kaggle's client, whose own KaggleHttpClient has no timeouts; credentials are for requests."""

    credentials: Any

    def call(self, service_name: str, request_name: str, request: Any, response_type: Any) -> Any:
        """Returns Kaggle's answer as a `response_type`, or that to a download as it is. Raises RequestException."""
        is_prod = get_env() is KaggleEnv.PROD
        address = f"{get_endpoint(get_env())}{'' if is_prod else '/api'}/v1/{service_name}/{request_name}"
        is_download = response_type is HttpRedirect
        # Kaggle's own client has this User-Agent.
        options = {"headers": {"User-Agent": ""}, "allow_redirects": False}
        response = http.send("POST", address, self.credentials, json=request.to_dict(), **options)
        if is_download and response.status_code < 400:
            return response
        content = http.read(response)
        try:
            answer = json.loads(content)
        except (ValueError, RecursionError):
            answer = None
        fields = answer if isinstance(answer, dict) else {}
        # Kaggle can also write the status of an error into the body alone.
        code = fields.get("code")
        status = code if isinstance(code, int) and code >= 400 else response.status_code
        if status >= 400:
            wait = response.headers.get("Retry-After", "")
            words = _shown(fields.get("message"), response.request)
            raise Refused(status, words, float(wait) if wait.isdecimal() else None)
        if answer is not fields:
            raise Unexpected("no JSON object")
        try:
            return response_type.from_dict(answer)
        except Exception as error:  # whatever the client raises at what is not of the expected form
            raise Unexpected(f"{type(error).__name__} in reading it") from None


def _shown(message: Any, request: requests.PreparedRequest) -> str:
    """Returns Kaggle's own message in an error, shortened, without signatures and credentials."""
    words = re.sub(r"(https?://[^\s?]*)\?\S*", r"\1", message if isinstance(message, str) else "")
    if credential := str(request.headers.get("Authorization", "")).partition(" ")[2]:
        words = words.replace(credential, "…")
    return http.shown(words)


def log_in() -> Any:
    """Returns Kaggle's API for competitions, with credentials. Raises UserError if there are none."""
    try:
        credentials = http.patiently("logging in", _find_credentials)
    except UserError:
        raise
    except Exception as error:
        # Not the original, which can quote the token.
        raise UserError(
            f"the credentials for Kaggle cannot be used ({type(error).__name__}): compare the files in ~/.kaggle and "
            "KAGGLE_… of the environment with https://www.kaggle.com/docs/api; a token is one line without a blank"
        ) from None
    if credentials is None:
        raise UserError(
            "no credentials for Kaggle. On https://www.kaggle.com/settings, under API, make a token, and put it "
            "into ~/.kaggle/access_token or into the environment as KAGGLE_API_TOKEN (an older kaggle.json, "
            f"in ~/.kaggle, and `kaggle auth login` work as well). Then accept the rules on {http.PAGE}/rules"
        )
    return KaggleClient.Competitions(Transport(credentials)).competition_api_client


def _find_credentials() -> Any:
    """Returns the first that are there, as requests takes them; None without. Raises ValueError at strange letters."""
    found = next(filter(all, _credentials()), None)
    if found and not all(re.fullmatch("[!-~]+", each) for each in found):
        raise ValueError
    return KaggleHttpClient.BearerAuth(*found) if found and len(found) == 1 else found


def _credentials() -> Iterator[tuple[str, ...]]:
    """Yields what the places have, tokens or a name and a key; None for what is missing."""
    yield get_access_token_from_env()[:1]
    folders = [os.environ.get("KAGGLE_CONFIG_DIR") or "~/.kaggle", "~/.config/kaggle"]
    files = [Path(folder, "kaggle.json").expanduser() for folder in folders]
    values = json.loads(next((file.read_text(encoding="utf-8") for file in files if file.exists()), "{}"))
    yield tuple(os.environ.get(f"KAGGLE_{name.upper()}") or values.get(name) for name in ("username", "key"))
    client = KaggleClient()
    client.users = KaggleClient.Users(Transport(None))
    if kept := KaggleCredentials.load(client):
        yield (kept.get_access_token(),)
