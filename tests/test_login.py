"""Credentials, wherever Kaggle's client keeps them, against a server on this machine."""

import json
import sys

import pytest
from kagglesdk import kaggle_http_client

import carvana.kaggle
from carvana.base.errors import UserError
from carvana.kaggle import client

TOKEN_FILE = ".kaggle/access_token"
LOGIN = {"refresh_token": "more", "access_token": "good", "access_token_expiration": "2100-01-01T00:00:00+00:00"}


def put(tmp_path, monkeypatch, environment, files):
    """Sets variables without KAGGLE_ before their names, and writes files of the user's home."""
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    for name, value in environment.items():
        monkeypatch.setenv(f"KAGGLE_{name}", value)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("environment", "files"),
    [
        ({"API_TOKEN": "good"}, {TOKEN_FILE: "bad"}),
        ({}, {TOKEN_FILE: "good"}),
        ({"USERNAME": "somebody", "KEY": "good"}, {TOKEN_FILE: "bad"}),
        ({"KEY": "good"}, {"kaggle.json": '{"username": "somebody", "key": "old"}'}),
        ({}, {"kaggle.json": '{"username": "somebody", "key": "good"}'}),
        ({}, {".kaggle/credentials.json": json.dumps(LOGIN)}),
        ({}, {".kaggle/credentials.json": json.dumps({"refresh_token": "more"})}),
    ],
)
def test_credentials_are_found_where_the_client_keeps_them(server, tmp_path, monkeypatch, environment, files):
    put(tmp_path, monkeypatch, environment, files)
    assert client.sizes(client.log_in())
    assert server.authorization in ("Bearer good", "Basic c29tZWJvZHk6Z29vZA==")


@pytest.mark.parametrize("environment", [{}, {"API_TOKEN": "bad"}])
@pytest.mark.parametrize("status", [200, 404])
def test_without_credentials_it_is_said_how_to_get_some(server, tmp_path, monkeypatch, environment, status):
    put(tmp_path, monkeypatch, environment, {})
    server.refusals["IntrospectToken"] = [(status, {})] * (status != 200)
    with pytest.raises(UserError, match=r"^no credentials for Kaggle\. On https://www\.kaggle\.com/settings") as error:
        client.log_in()
    assert f"accept the rules on {client.PAGE}/rules" in str(error.value)


@pytest.mark.parametrize(
    ("environment", "files", "complaint"),
    [
        ({"API_TOKEN": "KGAT_secret\n"}, {}, "the credential in KAGGLE_API_TOKEN has a line break"),
        ({}, {TOKEN_FILE: "KGAT_secret\nKGAT_other\n"}, "the credential in ~/.kaggle/access_token has a line break"),
        ({"USERNAME": "somebody", "KEY": "KGAT_secret\N{SNOWMAN}"}, {}, "the credential in KAGGLE_KEY or kaggle.json"),
        ({"API_TOKEN": "KGAT_secret" + "\N{SNOWMAN}" * 300}, {}, "cannot log in .OSError.; compare the files"),
        ({}, {"kaggle.json": '{"key": secret'}, "cannot log in .JSONDecodeError.; compare the files"),
    ],
)
def test_a_malformed_credential_is_named_and_not_printed(server, tmp_path, monkeypatch, environment, files, complaint):
    put(tmp_path, monkeypatch, environment, files)
    with pytest.raises(UserError, match=complaint) as error:
        client.log_in()
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None
    assert not server.calls


@pytest.mark.parametrize("change", ["missing", "other"])
def test_a_client_that_is_missing_or_of_another_version_is_named(monkeypatch, change):
    monkeypatch.delitem(sys.modules, "carvana.kaggle.login", raising=False)
    monkeypatch.delattr(carvana.kaggle, "login", raising=False)
    if change == "missing":
        monkeypatch.setitem(sys.modules, "kagglesdk", None)
    else:
        monkeypatch.setattr(kaggle_http_client.KaggleHttpClient, "call", lambda _, request: request)
    with pytest.raises(UserError, match=r"Kaggle's client is missing or of a version .* `pip install"):
        client.log_in()
