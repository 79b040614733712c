"""Kaggle's client, logged in, with requests that go through carvana.kaggle.http. Nothing else imports `kaggle`.

The client finds credentials by itself (https://www.kaggle.com/docs/api): KAGGLE_API_TOKEN or
~/.kaggle/access_token, KAGGLE_USERNAME and KAGGLE_KEY or kaggle.json, or those of `kaggle auth login`. They are
neither printed nor stored here.
"""

import contextlib
import functools
import io
from collections.abc import Iterator
from typing import Any

import requests

from carvana.base.errors import UserError
from carvana.kaggle import http
from carvana.kaggle.troubles import PAGE


def log_in() -> Any:
    """Returns Kaggle's API for competitions, logged in. Raises UserError if no credentials are accepted."""
    with _speechless():  # without credentials, the client prints a page of help and exits
        try:
            return _logged_in()
        except ImportError as error:
            raise UserError(f"Kaggle's client is not installed ({error}): `pip install -r requirements.txt`") from error
        except SystemExit:
            raise UserError(
                "no credentials for Kaggle. On https://www.kaggle.com/settings, under API, make a token, and put it "
                "into ~/.kaggle/access_token or into the environment as KAGGLE_API_TOKEN (an older kaggle.json, "
                f"in ~/.kaggle, and `kaggle auth login` work as well). Then accept the rules on {PAGE}/rules"
            ) from None
        except UserError:
            raise
        except Exception as error:
            # Not the original, which can quote the token.
            raise UserError(
                f"the client of Kaggle cannot log in ({type(error).__name__}); compare the files in ~/.kaggle and the "
                "variables KAGGLE_… of the environment with https://www.kaggle.com/docs/api"
            ) from None


def _logged_in() -> Any:
    from kagglesdk.security.types.oauth_service import IntrospectTokenRequest  # noqa: PLC0415

    client = _client_class()()
    _require_one_line_of_token()
    with http.explained("logging in"):
        http.patiently("logging in", client.authenticate)
    kaggle = client.build_kaggle_client()
    # A credential that no header can carry fails here, not at the first call.
    _prepared(kaggle.http_client(), "", "", IntrospectTokenRequest())
    return kaggle.competitions.competition_api_client


def _client_class() -> type:
    from kagglesdk import KaggleClient  # noqa: PLC0415
    from kagglesdk.kaggle_http_client import KaggleHttpClient  # noqa: PLC0415

    with _offline(KaggleHttpClient):
        from kaggle.api.kaggle_api_extended import KaggleApi  # noqa: PLC0415

    class Client(KaggleApi):
        def build_kaggle_client(self) -> KaggleClient:
            # Like the client's own method, but without `env`: version 2.2.4 sets it, which overrides
            # KAGGLE_API_ENVIRONMENT.
            values = self.config_values
            names = (self.CONFIG_NAME_USER, self.CONFIG_NAME_KEY, self.CONFIG_NAME_TOKEN)
            username, password, token = (values.get(name) for name in names)
            client = KaggleClient(username=username, password=password, api_token=token)
            # The client's own method waits for ever.
            client.http_client().call = functools.partial(_call, client.http_client())
            return client

    return Client


def _call(library: Any, service: str, name: str, request: Any, kind: Any) -> Any:
    """Calls Kaggle's API in place of KaggleHttpClient.call; a redirect is returned, not followed."""
    from kagglesdk.common.types.http_redirect import HttpRedirect  # noqa: PLC0415

    prepared = _prepared(library, service, name, request)
    if kind is HttpRedirect:
        return http.require_success(http.send(prepared, stream=True))
    return http.parse(http.send(prepared), kind.from_dict if kind else dict)


def _prepared(library: Any, service: str, name: str, request: Any) -> requests.PreparedRequest:
    library._init_session()  # finds the credentials
    return library._prepare_request(service, name, request)


@contextlib.contextmanager
def _offline(http_client: Any) -> Iterator[None]:
    """Lets no request through: the import of `kaggle` logs in at its production host, whatever the environment says."""

    def refuse(*_: Any) -> None:
        raise ConnectionError

    call, http_client.call = http_client.call, refuse
    try:
        yield
    finally:
        http_client.call = call


def _require_one_line_of_token() -> None:
    from kagglesdk.kaggle_env import get_access_token_from_env  # noqa: PLC0415

    token, source = get_access_token_from_env()
    if token and not (token.isascii() and token.isprintable() and " " not in token):
        where = "~/.kaggle/access_token" if source == "access_token" else source
        raise UserError(
            f"the token in {where} has a line break, a blank or another character that no token has; make it the "
            "token alone, as https://www.kaggle.com/settings shows it"
        )


@contextlib.contextmanager
def _speechless() -> Iterator[None]:
    """Suppresses what the client prints to stdout."""
    with contextlib.redirect_stdout(io.StringIO()):
        yield
