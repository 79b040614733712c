"""Kaggle's own client against a server on this machine."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, make_project, pack, repack, set_params, stage
from kaggle_server import Server

from carvana.errors import UserError
from carvana.kaggle import client

NAME = "train.zip"


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server with one zip, and the way to it for this process and for those that it starts."""
    for name in ("KAGGLE_USERNAME", "KAGGLE_KEY", "XDG_CONFIG_HOME"):
        monkeypatch.delenv(name, raising=False)
    settings = {"KAGGLE_API_ENVIRONMENT": "TEST", "KAGGLE_API_TOKEN": "good", "NO_PROXY": "localhost"}
    for name, value in (settings | {"HOME": str(tmp_path), "KAGGLE_CONFIG_DIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    pack(tmp_path / NAME, {"train/a.jpg": random.Random(0).randbytes(2 * 10**7), "train/b.jpg": b"b"})
    with Server() as server:
        server.files[NAME] = (tmp_path / NAME).read_bytes()
        yield server


@pytest.fixture
def pauses(monkeypatch):
    """The seconds that are waited, which pass at once."""
    waited = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def content(paths):
    return [path.read_bytes() for path in paths]


def test_a_download_is_whole_and_what_is_there_is_not_fetched_again(server, tmp_path):
    server.files["other.zip"] = server.files[NAME]
    for _ in range(2):
        assert content(client.download([NAME], tmp_path / "to")) == [server.files[NAME]]
    # What the client asks for before it finds the file to be there is cut off in the buffers.
    assert server.served[NAME] < 1.2 * len(server.files[NAME])
    assert not server.served["other.zip"]


@pytest.mark.parametrize("seed", range(3))
def test_a_broken_connection_goes_on_where_it_broke(server, tmp_path, pauses, seed):
    size = len(server.files[NAME])
    server.cuts = [random.Random(seed).randrange(size // 4, size // 2), size // 4]
    assert content(client.download([NAME], tmp_path / "to")) == [server.files[NAME]]
    assert not server.cuts
    # The client writes pieces of 1 MiB, and loses one at every break.
    assert server.served[NAME] < size + 2 * 2**20
    assert pauses


def test_a_damaged_zip_is_removed_and_fetched_anew(server, tmp_path):
    whole = server.files[NAME]
    for damaged in (whole[:1000] + b"?" + whole[1001:], whole[:-500]):
        server.files[NAME] = damaged
        with pytest.raises(UserError, match=r"train\.zip was damaged .* start again"):
            client.download([NAME], tmp_path / "to")
    server.files[NAME] = whole
    assert content(client.download([NAME], tmp_path / "to")) == [whole]


@pytest.mark.parametrize("seed", range(3))
def test_a_newer_file_leaves_the_bytes_of_the_older_one_alone(server, tmp_path, pauses, seed):
    """What has come is linked to data/raw, which DVC links to its cache."""
    old = server.files[NAME]
    os.link(*client.download([NAME], tmp_path / "to"), tmp_path / "cached")
    # Newer ones of the same size, a smaller and a larger one, which arrives in two pieces.
    for day, size in enumerate((len(old), len(old) // 2, 2 * len(old)), start=1):
        pack(tmp_path / NAME, {"train/a.jpg": random.Random(10 * seed + day).randbytes(size - len(old) // 9)})
        server.files[NAME] = (tmp_path / NAME).read_bytes()
        server.modified = f"Fri, {day:02d} Jan 2100 00:00:00 GMT"
        server.cuts = [len(server.files[NAME]) // 2] * (day == 3)
        assert content(client.download([NAME], tmp_path / "to")) == [server.files[NAME]]
        assert (tmp_path / "cached").read_bytes() == old
        assert not list((tmp_path / "to" / NAME / "partial").iterdir())


def test_a_damaged_newer_file_leaves_the_older_one_in_place(server, tmp_path):
    old = server.files[NAME]
    client.download([NAME], tmp_path / "to")
    server.files[NAME] = old[:1000] + b"?" + old[1001:]
    server.modified = "Fri, 01 Jan 2100 00:00:00 GMT"
    with pytest.raises(UserError, match=r"train\.zip was damaged"):
        client.download([NAME], tmp_path / "to")
    assert (tmp_path / "to" / NAME / NAME).read_bytes() == old


def test_what_came_but_was_not_yet_checked_is_not_fetched_again(server, tmp_path):
    (found,) = client.download([NAME], tmp_path / "to")
    # As a process leaves it that is killed while it checks.
    found.rename(found.parent / "partial" / NAME)
    assert content(client.download([NAME], tmp_path / "to")) == [server.files[NAME]]
    assert server.served[NAME] < 1.2 * len(server.files[NAME])


def test_what_was_damaged_since_is_removed_and_fetched_anew(server, tmp_path):
    (found,) = client.download([NAME], tmp_path / "to")
    times = (found.stat().st_atime, found.stat().st_mtime)
    found.write_bytes(b"?" * len(server.files[NAME]))
    os.utime(found, times)
    with pytest.raises(UserError, match=r"train\.zip was damaged"):
        client.download([NAME], tmp_path / "to")
    assert content(client.download([NAME], tmp_path / "to")) == [server.files[NAME]]


@pytest.mark.parametrize("call", ["ListDataFiles", "DownloadDataFile"])
@pytest.mark.parametrize(
    ("status", "headers", "complaint"),
    [
        (401, {}, "401; it does not accept these credentials: make a new token on https"),
        (403, {}, f"403; most likely the competition's rules are not accepted: do that on {client.PAGE}/rules"),
        (404, {}, f"404; it knows no such competition or file; compare with {client.PAGE}/data"),
        (429, {"Retry-After": "3600"}, "429; too many requests: start again in 3600 seconds"),
    ],
)
def test_a_refusal_says_what_to_do(server, tmp_path, pauses, call, status, headers, complaint):
    server.refusals[call] = [(status, headers)]
    with pytest.raises(UserError) as error:
        client.download([NAME], tmp_path / "to")
    assert complaint in str(error.value)
    assert not pauses, "to try again would not help"


def test_a_busy_server_is_asked_again_as_it_tells(server, tmp_path, pauses):
    server.refusals["DownloadDataFile"] = [(500, {}), (429, {"Retry-After": "7"}), (503, {})]
    assert content(client.download([NAME], tmp_path / "to")) == [server.files[NAME]]
    assert pauses == [1, 7, 4]
    server.refusals["DownloadDataFile"] = [(500, {})] * 9
    with pytest.raises(UserError, match="answers 500; start again in a while"):
        client.download([NAME], tmp_path / "again")


def test_a_slow_server_is_waited_for(server, tmp_path):
    server.bytes_a_second = 2 * 10**7
    assert content(client.download([NAME], tmp_path / "to")) == [server.files[NAME]]


def test_no_connection_is_said(server, tmp_path, pauses):
    server.shutdown()
    server.server_close()
    with pytest.raises(UserError, match=r"the connection to Kaggle is lost .* start again when the network is back"):
        client.download([NAME], tmp_path / "to")


def test_too_little_space_is_said_before_anything_is_fetched(server, tmp_path):
    server.sizes[NAME] = 10**16
    with pytest.raises(UserError, match=r"needs 10000000\.0 GB and .* make room"):
        client.download([NAME], tmp_path / "to")
    assert not server.served


def test_an_unknown_file_is_named(server, tmp_path):
    with pytest.raises(UserError, match=r"has no test\.zip; it has train\.zip"):
        client.download(["test.zip"], tmp_path / "to")


def test_a_download_killed_five_times_ends_whole_and_cheap(server, tmp_path):
    chance = random.Random(1)
    pack(tmp_path / NAME, {"train/a.jpg": chance.randbytes(8 * 10**7)})
    data = server.files[NAME] = (tmp_path / NAME).read_bytes()
    server.bytes_a_second = 5 * 10**7
    code = "import sys; from pathlib import Path\nfrom carvana.kaggle import client\n"
    code += "client.download(sys.argv[1:2], Path('to'))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}

    def start():
        return subprocess.Popen([sys.executable, "-c", code, NAME], cwd=tmp_path, env=environment)

    for _ in range(5):
        before = server.served[NAME]
        process = start()
        while server.served[NAME] == before:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(chance.uniform(0.05, 0.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "to" / NAME / NAME).exists(), "killed before it was whole"
    assert start().wait() == 0
    assert (tmp_path / "to" / NAME / NAME).read_bytes() == data
    assert server.served[NAME] < 1.2 * len(data)


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
    message = stage(project, "download", status=1)
    if way in ("none", "bad token"):
        assert "no credentials for Kaggle. On https://www.kaggle.com/settings" in message
        assert f"accept the rules on {client.PAGE}/rules" in message
    else:
        assert "the competition has no train_masks.zip" in message
        assert server.authorizations & {"Bearer good", "Basic c29tZWJvZHk6Z29vZA=="}
    assert len(message.splitlines()) == 1
    assert "good" not in message


def test_the_stage_fetches_what_the_quality_names(server, tmp_path, _competition):
    for path in _competition[0].iterdir():
        name = path.name.replace("train.zip", "train_hq.zip").replace("test.zip", "test_hq.zip")
        server.files[name] = path.read_bytes()
    project = make_project(tmp_path / "project")
    set_params(project, data_source="kaggle", data_quality="hq")
    stage(project, "download")
    for path in _competition[0].iterdir():
        assert (project / "data/raw" / path.name).read_bytes() == path.read_bytes()
    assert (project / "data/raw/test_masks.csv.zip").exists()
    assert not server.served[NAME]


def test_experiments_share_their_workspaces_download(server, tmp_path, _competition):
    """`dvc exp run --temp` and the queue run in copies of the workspace, below its .dvc/tmp/exps."""
    zips = shutil.copytree(_competition[0], tmp_path / "zips")
    # A file that is no photo, and large, so that what its buffers take does not count.
    repack(zips / NAME, lambda members: members.update({".large": random.Random(0).randbytes(2 * 10**7)}))
    server.files = {path.name: path.read_bytes() for path in zips.iterdir()}
    server.bytes_a_second = 5 * 10**6
    workspace = make_project(tmp_path / "workspace")
    set_params(workspace, data_source="kaggle")
    copies = [workspace / ".dvc/tmp/exps" / name for name in ("tmp1", "standalone/tmp2")]
    for copy in copies:
        copy.parent.mkdir(parents=True, exist_ok=True)
        make_project(copy)
        set_params(copy, data_source="kaggle")
    command = [sys.executable, "-m", "stages.download"]
    started = [subprocess.Popen(command, cwd=copy, stderr=subprocess.PIPE, text=True) for copy in copies]
    messages = [process.communicate(timeout=60)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], messages
    assert sum("waiting for another download (process" in message for message in messages) == 1
    server.bytes_a_second = None
    stage(workspace, "download")
    for name, data in server.files.items():
        for folder in (workspace, *copies):
            assert (folder / "data/raw" / name).read_bytes() == data
    assert server.served[NAME] < 1.2 * len(server.files[NAME])


def test_a_submission_arrives_with_its_message(server, tmp_path):
    (tmp_path / "submission.csv.gz").write_bytes(b"rows")
    assert client.submissions_left() == 4
    assert client.submit(tmp_path / "submission.csv.gz", "U-Net, Dice 0.99") == "Successfully submitted"
    assert server.uploads == [{"data": b"rows", "description": "U-Net, Dice 0.99"}]


@pytest.mark.parametrize(
    ("trouble", "complaint"),
    [
        ({"upload_status": 400}, "failed; nothing was submitted"),
        ({"forgets_submissions": True}, "does not list it; look at"),
        ({"refusals": {"StartSubmissionUpload": [(403, {})]}}, "rules are not accepted"),
        ({"refusals": {"CreateSubmission": [(500, {})]}}, "answers 500"),
    ],
)
def test_an_upload_that_failed_is_not_taken_for_one_that_did_not(server, tmp_path, capfd, trouble, complaint):
    for name, value in trouble.items():
        setattr(server, name, value)
    (tmp_path / "submission.csv.gz").write_bytes(b"rows")
    with pytest.raises(UserError, match=complaint) as error:
        client.submit(tmp_path / "submission.csv.gz", "message")
    assert "secret" not in str(error.value) + "".join(capfd.readouterr())
