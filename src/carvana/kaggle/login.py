"""Kaggle's client `kagglesdk`, logged in, with requests that go through carvana.kaggle.http.

Not its package `kaggle`, which logs in as it is imported and exits without credentials. They are looked for in the
same places (https://www.kaggle.com/docs/api): KAGGLE_API_TOKEN or ~/.kaggle/access_token, KAGGLE_USERNAME and
KAGGLE_KEY or kaggle.json, and what `kaggle auth login` has left. They are neither printed nor stored here.
"""

import inspect
import json
import os
from pathlib import Path
from typing import Any

from kagglesdk import KaggleClient, KaggleCredentials, KaggleEnv, get_access_token_from_env
from kagglesdk.common.types.http_redirect import HttpRedirect
from kagglesdk.kaggle_env import get_endpoint, get_env
from kagglesdk.kaggle_http_client import KaggleHttpClient
from kagglesdk.security.types.oauth_service import IntrospectTokenRequest

from carvana.base.errors import UserError
from carvana.kaggle import http
from carvana.kaggle.troubles import PAGE, Refused


class Transport:
    """Sends the calls of Kaggle's client, with credentials as requests takes them.

    It stands in for the client's own KaggleHttpClient, which waits for ever and offers no way to set timeouts.
    """

    def __init__(self, credentials: Any) -> None:
        self.credentials = credentials

    def call(self, service_name: str, request_name: str, request: Any, response_type: Any) -> Any:
        """Returns Kaggle's answer as a `response_type`; that to a download is a redirect, which is not followed."""
        environment = get_env()
        address = get_endpoint(environment) + ("/v1" if environment is KaggleEnv.PROD else "/api/v1")
        parser = None if response_type is HttpRedirect else response_type.from_dict
        return http.post(f"{address}/{service_name}/{request_name}", request.to_dict(), self.credentials, parser)


if len(inspect.signature(KaggleHttpClient.call).parameters) != len(inspect.signature(Transport.call).parameters):
    raise ImportError("it sends its calls in another way")


def log_in() -> Any:
    """Returns Kaggle's API for competitions, logged in. Raises UserError if no credentials are accepted."""
    try:
        credentials = http.patiently("logging in", _find_credentials)
    except UserError:
        raise
    except Exception as error:
        # Not the original, which can quote the token.
        raise UserError(
            f"the client of Kaggle cannot log in ({type(error).__name__}); compare the files in ~/.kaggle and the "
            "variables KAGGLE_… of the environment with https://www.kaggle.com/docs/api"
        ) from None
    if credentials is None:
        raise UserError(
            "no credentials for Kaggle. On https://www.kaggle.com/settings, under API, make a token, and put it "
            "into ~/.kaggle/access_token or into the environment as KAGGLE_API_TOKEN (an older kaggle.json, "
            f"in ~/.kaggle, and `kaggle auth login` work as well). Then accept the rules on {PAGE}/rules"
        )
    return _client(credentials).competitions.competition_api_client


def _client(credentials: Any) -> KaggleClient:
    client, transport = KaggleClient(), Transport(credentials)
    client.competitions = KaggleClient.Competitions(transport)
    client.security = KaggleClient.Security(transport)
    client.users = KaggleClient.Users(transport)
    return client


def _find_credentials() -> Any:
    """Returns the first credentials that are there, and for a token valid, as requests takes them; None without."""
    token, source = get_access_token_from_env()
    if token and _is_valid(_plain(token, "~/.kaggle/access_token" if source == "access_token" else source)):
        return KaggleHttpClient.BearerAuth(token)
    name, key = _name_and_key()
    if name and key:
        return _plain(name, "KAGGLE_USERNAME or kaggle.json"), _plain(key, "KAGGLE_KEY or kaggle.json")
    left = KaggleCredentials.load(_client(None))
    token = left.get_access_token() if left else None
    return KaggleHttpClient.BearerAuth(_plain(token, "~/.kaggle/credentials.json")) if token else None


def _is_valid(token: str) -> bool:
    request = IntrospectTokenRequest()
    request.token = token
    try:
        answer = _client(KaggleHttpClient.BearerAuth(token)).security.oauth_client.introspect_token(request)
    except Refused as error:
        if error.response.status_code in (400, 403, 404):
            return False
        raise
    return bool(answer.active and answer.username)


def _name_and_key() -> list[str | None]:
    """Returns the user's name and key, each from the environment or else from kaggle.json."""
    configuration = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    folders = [os.environ.get("KAGGLE_CONFIG_DIR") or "~/.kaggle", "~/.kaggle", f"{configuration}/kaggle"]
    files = [Path(folder, "kaggle.json").expanduser() for folder in folders]
    values = json.loads(next((file.read_text(encoding="utf-8") for file in files if file.exists()), "{}"))
    return [os.environ.get(f"KAGGLE_{name.upper()}") or values.get(name) for name in ("username", "key")]


def _plain(credential: str, where: str) -> str:
    """Returns a credential that a header can carry. Raises UserError if it cannot."""
    if not (credential.isascii() and credential.isprintable() and " " not in credential):
        raise UserError(
            f"the credential in {where} has a line break, a blank or another character that none has; make it the "
            "token alone, as https://www.kaggle.com/settings shows it"
        )
    return credential
