import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT, make_project, set_params, stage_alone

from carvana.kaggle import client


@pytest.mark.parametrize("way", ["token", "token file", "user and key", "kaggle.json", "none", "bad token"])
def test_credentials_are_found_where_the_client_looks(server, tmp_path, monkeypatch, way):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    if way in ("token", "bad token"):
        monkeypatch.setenv("KAGGLE_API_TOKEN", "good" if way == "token" else "bad")
    elif way == "token file":
        (tmp_path / ".kaggle").mkdir()
        (tmp_path / ".kaggle/access_token").write_text("good", encoding="ascii")
    elif way == "user and key":
        monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
        monkeypatch.setenv("KAGGLE_KEY", "good")
    elif way == "kaggle.json":
        (tmp_path / "kaggle.json").write_text('{"username": "somebody", "key": "good"}', encoding="ascii")
    project = make_project(tmp_path / "project")
    set_params(project, data_source="kaggle")
    # The rest of the files is missing, which is as far as credentials lead.
    message = stage_alone(project, "download", status=1)
    if way in ("none", "bad token"):
        assert "no credentials for Kaggle. On https://www.kaggle.com/settings" in message
        assert f"accept the rules on {client.PAGE}/rules" in message
    else:
        assert "the competition has no train_masks.zip" in message
        assert server.authorizations & {"Bearer good", "Basic c29tZWJvZHk6Z29vZA=="}
    assert len(message.splitlines()) == 1
    assert "good" not in message


@pytest.mark.parametrize("way", ["token", "token file", "user and key", "word"])
def test_a_credential_of_two_lines_is_named_and_not_printed(server, tmp_path, monkeypatch, way):
    monkeypatch.delenv("KAGGLE_API_TOKEN")
    if way == "token":
        monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_secret\n")
    elif way == "word":
        monkeypatch.setenv("KAGGLE_API_TOKEN", "KGAT_sécret" + "\N{SNOWMAN}" * 300)
    elif way == "token file":
        (tmp_path / ".kaggle").mkdir()
        (tmp_path / ".kaggle/access_token").write_text("KGAT_secret\nKGAT_other\n", encoding="ascii")
    else:
        monkeypatch.setenv("KAGGLE_USERNAME", "somebody")
        monkeypatch.setenv("KAGGLE_KEY", "KGAT_secret\N{SNOWMAN}\n")
    project = make_project(tmp_path / "project")
    set_params(project, data_source="kaggle")
    message = stage_alone(project, "download", status=1)
    assert re.search("the token in .*(KAGGLE_API_TOKEN|access_token) has a line break|cannot log in", message), message
    assert len(message.splitlines()) == 1
    assert "cret" not in message


def test_the_import_sends_nothing(tmp_path):
    """Kaggle's client logs in as it is imported, in production, whatever KAGGLE_API_ENVIRONMENT says."""
    code = """
import os, socket
def refuse(*_, **__):
    os._exit(3)  # unlike an exception, the import cannot catch it
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from carvana.kaggle import client, http, login
login._client_class()
print("nothing sent")
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "KAGGLE_API_TOKEN": "good", "HOME": str(tmp_path)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "nothing sent\n", done.stderr
