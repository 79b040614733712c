"""Credentials, wherever Kaggle's client keeps them, against a server on this machine."""

import json

import pytest

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
        ({"USERNAME": "somebody", "KEY": "good"}, {"kaggle.json": "{}"}),
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


def test_without_credentials_it_is_said_how_to_get_some(server, tmp_path, monkeypatch):
    put(tmp_path, monkeypatch, {}, {})
    with pytest.raises(UserError, match=r"^no credentials for Kaggle\. On https://www\.kaggle\.com/settings") as error:
        client.log_in()
    assert f"accept the rules on {client.PAGE}/rules" in str(error.value)


@pytest.mark.parametrize(
    ("environment", "files", "kind"),
    [
        ({"API_TOKEN": "KGAT_secret\n"}, {}, "ValueError"),
        ({"USERNAME": "somebody", "KEY": "KGAT_secret\N{SNOWMAN}"}, {}, "ValueError"),
        ({"API_TOKEN": "KGAT_secret" + "\N{SNOWMAN}" * 300}, {}, "OSError"),
        ({}, {"kaggle.json": '{"key": secret'}, "JSONDecodeError"),
    ],
)
def test_a_malformed_credential_is_said_and_not_printed(server, tmp_path, monkeypatch, environment, files, kind):
    put(tmp_path, monkeypatch, environment, files)
    with pytest.raises(UserError, match=rf"cannot be used .{kind}.: compare .* a token is one line without") as error:
        client.log_in()
    assert "secret" not in str(error.value)
    assert error.value.__cause__ is None
    assert not server.calls
