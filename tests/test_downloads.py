"""Downloads from a server on this machine, by Kaggle's own client."""

import json
import os
import random
import subprocess
import sys
import time
import zipfile

import pytest
from competition_files import pack
from projects import ROOT, wait_until

from carvana.base.errors import UserError
from carvana.kaggle import client, downloads, http

NAME = "train.zip"


@pytest.fixture
def fetch(server, tmp_path):
    """Downloads the zip, and checks that it is the server's."""

    def work(folder="to"):
        (path,) = downloads.download([NAME], tmp_path / folder)
        assert path == tmp_path / folder / NAME / NAME
        assert path.read_bytes() == server.files[NAME]

    return work


@pytest.fixture
def partial(tmp_path):
    """Where the unfinished zip is."""
    return tmp_path / "to" / NAME / "partial" / NAME


@pytest.fixture
def put(server, partial):
    """Puts a part there, with a note of its version: by default that of the server's file."""

    def work(content, note=None):
        partial.parent.mkdir(parents=True)
        partial.write_bytes(content)
        note = note or json.dumps({"size": len(server.files[NAME]), "etag": server.tag(NAME)})
        (partial.parent.parent / f"{NAME}.json").write_text(note, encoding="ascii")

    return work


def test_a_download_is_whole_and_what_is_there_is_not_fetched_again(server, fetch):
    server.files["other.zip"] = server.files[NAME]
    for _ in range(2):
        fetch()
    # Each time, one byte tells which version there is.
    assert server.served == {NAME: len(server.files[NAME]) + 2}


def test_what_came_but_was_not_yet_checked_is_not_fetched_again(server, fetch, put):
    put(server.files[NAME])
    fetch()
    assert server.served[NAME] == 1


def test_a_broken_connection_goes_on_where_it_broke(server, fetch, pauses):
    size = len(server.files[NAME])
    server.cuts = [size // 3, size // 4]
    fetch()
    assert not server.cuts
    # A break loses less than a piece of 256 KiB, and what is in the buffers.
    assert server.served[NAME] < size + 2**20
    assert not pauses, "what brings something is no failed attempt"


PAGE = b"<html>Sorry, we are down.</html>" * 10


@pytest.mark.parametrize("status", [503, 403, 200, 302])
def test_an_error_page_is_never_taken_for_a_continuation(server, fetch, put, partial, pauses, status):
    part = server.files[NAME][:3_000_000]
    put(part)
    server.refusals["files"] = [(status, {}, PAGE)] * 9
    with pytest.raises(UserError, match=r"train\.zip: Kaggle's answer .* start again in a while, and it resumes"):
        fetch()
    assert partial.read_bytes() == part
    server.refusals.clear()
    fetch()
    assert server.served[NAME] == len(server.files[NAME]) - len(part) + 1


def test_a_server_that_begins_anew_and_breaks_off_each_time_is_given_up(server, fetch, pauses):
    server.ranges = False
    server.cuts = [len(server.files[NAME]) // 2] * 99
    with pytest.raises(UserError, match=r"train\.zip: the connection to Kaggle is lost .ConnectionError"):
        fetch()
    assert pauses == [1, 2, 4]


@pytest.mark.parametrize("note", [None, '{"size": 8000268, "etag": "another"}', '{"size": 8000268}', "[1]", "{"])
def test_what_cannot_be_continued_is_begun_anew(fetch, put, note):
    """A part that is too long, one of another version, and those of an unknown one."""
    put(b"PK" * (2_000_000 if note else 5_000_000), note)
    fetch()


def test_a_file_that_changes_between_two_requests_is_not_mixed(server, fetch, put, pauses, monkeypatch, train_zip):
    old, opened = train_zip[:1000] + b"?" + train_zip[1001:], client.open_file
    server.files[NAME] = old
    put(old[:2000])
    asked = []

    def open_file(api, name, headers):
        asked.append(headers["Range"])
        server.files[NAME] = old if len(asked) == 1 else train_zip
        return opened(api, name, headers)

    monkeypatch.setattr(client, "open_file", open_file)
    fetch()
    assert asked == ["bytes=0-0", "bytes=2000-", "bytes=0-0", "bytes=0-"]
    assert pauses == [1]


def test_another_part_than_was_requested_is_not_added(server, fetch, put, pauses):
    put(server.files[NAME][:2000])
    server.offsets = [-7, 7]
    fetch()
    assert pauses == [1, 2]


@pytest.mark.parametrize(
    ("call", "troubles", "waited"),
    [
        ("files", [(0, {}), (403, {}, b"<Code>ExpiredToken</Code>"), (503, {})], [1, 2, 4]),
        ("DownloadDataFile", [(500, {}), (429, {"Retry-After": "7"}), (503, {"Retry-After": "nan"})], [1, 7, 4]),
    ],
)
def test_what_passes_is_tried_again_by_a_fresh_address(server, fetch, pauses, call, troubles, waited):
    server.refusals[call] = list(troubles)
    fetch()
    assert [name for name, _ in server.calls].count("DownloadDataFile") == 3 + 2
    assert pauses == waited


def test_a_body_that_hardly_comes_is_given_up(server, fetch, monkeypatch):
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    monkeypatch.setattr(http, "WITHIN", 0.3)
    server.piece, server.bytes_a_second = 1, 50
    with pytest.raises(UserError, match=r"train\.zip: the connection to Kaggle is lost .Timeout"):
        fetch()
    server.piece, server.bytes_a_second = 2**20, 10 * 2**20
    fetch()


def test_a_body_without_an_end_is_not_taken(server, fetch, partial, pauses):
    server.surplus = b"more" * 10**7
    with pytest.raises(
        UserError, match=rf"train\.zip: Kaggle's answer is not one .*\d+ bytes of {len(server.files[NAME])}"
    ):
        fetch()
    assert partial.stat().st_size < len(server.files[NAME]) + 2**20
    server.surplus = b""
    fetch()


def test_silence_ends(server, fetch, pauses, monkeypatch):
    monkeypatch.setattr(http, "TIMEOUTS", (0.2, 0.2))
    server.hangs, server.cuts = True, [len(server.files[NAME]) // 3]
    fetch()
    monkeypatch.setattr(http, "ATTEMPTS", 1)
    for call in ("files", "DownloadDataFile", "ListDataFiles"):
        server.refusals = {call: [None]}
        with pytest.raises(UserError, match=r"connection to Kaggle is lost .*Timeout.* when the network is back"):
            fetch(call)


@pytest.mark.parametrize(
    ("location", "complaint"),
    [
        ("file:///etc/passwd?signature=secret", "is lost .InvalidSchema"),
        ("http://[::1?signature=secret", "not one that its client knows"),
        ("http://localhost:99999/?signature=secret", "not one that its client knows"),
        ("http://localhost:7777/circle?signature=secret", "is lost .TooManyRedirects"),
    ],
)
def test_an_address_that_cannot_be_used_is_said_and_not_printed(server, fetch, pauses, capfd, location, complaint):
    elsewhere = [(302, {"Location": location}, b"")]
    server.refusals = {"DownloadDataFile": elsewhere * 4, "files": elsewhere * 200}
    with pytest.raises(UserError, match=rf"train\.zip: .*{complaint}") as error:
        fetch()
    assert "secret" not in str(error.value) + "".join(capfd.readouterr())
    assert error.value.__cause__ is None
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    ("proxy", "status", "complaint"),
    [
        *((proxy, 407, "proxy does not connect") for proxy in ("http://", "http://[::1", "http://127.0.0.1:1")),
        ("http://localhost:7777", 407, "proxy does not connect to Kaggle; HTTPS_PROXY has the form http://user:pass"),
        ("socks5h://127.0.0.1:1", 407, "ALL_PROXY or HTTPS_PROXY is one for SOCKS; `pip install pysocks`"),
        # A proxy behind which there is no certificate at all.
        ("http://localhost:7777", 200, "certificate is not accepted; behind a proxy that reads along, REQUESTS_CA_"),
    ],
)
def test_a_proxy_that_does_not_work_is_named(server, fetch, pauses, monkeypatch, proxy, status, complaint):
    server.tunnel_status = status
    monkeypatch.setenv("https_proxy", proxy)
    monkeypatch.setenv("KAGGLE_API_ENVIRONMENT", "PROD")
    with pytest.raises(UserError, match=f"the list of files: .*{complaint}"):
        fetch()


def test_an_unknown_file_is_named(server, tmp_path):
    for served in ("train.zip", "no files"):
        with pytest.raises(UserError, match=rf"has no test\.zip; it has {served}"):
            downloads.download(["test.zip"], tmp_path)
        server.files.clear()


LISTS = [b"null", b"[]", b'{"files": [null]}', b'{"files": [{"name": "train.zip", "totalBytes": "8"}]}', b"[" * 10**5]


@pytest.mark.parametrize("body", [PAGE, *LISTS, b" " * 2**23, b"\xff"])
def test_a_list_that_is_none_is_said(server, fetch, pauses, body):
    server.refusals["ListDataFiles"] = [(200, {}, body)] * 4
    with pytest.raises(UserError, match="the list of files: Kaggle's answer is not one that its client knows"):
        fetch()
    assert pauses == [1, 2, 4]


def test_too_little_space_is_said_before_anything_is_fetched(server, fetch):
    server.sizes[NAME] = 10**16
    with pytest.raises(UserError, match=r"needs 10000000\.0 GB, .* make room"):
        fetch()
    assert not server.served


def test_a_damaged_zip_is_removed_and_fetched_anew(server, fetch, tmp_path):
    fetch()
    path = tmp_path / "to" / NAME / NAME
    path.write_bytes(b"?" * len(server.files[NAME]))
    with pytest.raises(UserError, match=r"train\.zip was damaged .* start again"):
        fetch()
    assert not path.exists()
    fetch()


def test_a_zip_with_any_damage_to_its_directory_is_removed(tmp_path):
    path, photo = tmp_path / NAME, b"photo" * 99
    pack(path, {"train/": b"", "train/a.jpg": photo})
    whole = path.read_bytes()
    flipped = [
        (place, bytes([whole[place] ^ 1 << bit])) for place in range(len(whole) - 22, len(whole)) for bit in range(8)
    ]
    # The entry's CRC and sizes.
    for place, other in [*flipped, (whole.rindex(b"PK\x01\x02") + 16, bytes(12))]:
        path.write_bytes(whole[:place] + other + whole[place + len(other) :])
        try:
            downloads._require_whole(path, tmp_path / "version")
        except UserError as error:
            assert str(error).startswith("train.zip was damaged (")
            assert not path.exists()
        else:
            with zipfile.ZipFile(path) as archive:
                assert archive.read("train/a.jpg") == photo


def test_a_newer_file_leaves_the_bytes_of_the_older_one_alone(server, fetch, tmp_path, partial, pauses):
    """What has come is linked to data/raw, which DVC links to its cache."""
    old = server.files[NAME]
    fetch()
    os.link(tmp_path / "to" / NAME / NAME, tmp_path / "cached")
    # One of the same size, a smaller one, and a larger one, which arrives in two pieces.
    for size, cuts in ((len(old), 0), (len(old) // 2, 0), (2 * len(old), 1)):
        pack(tmp_path / NAME, {"train/a.jpg": random.Random(size).randbytes(size - 120)})
        data = (tmp_path / NAME).read_bytes()
        before = (tmp_path / "to" / NAME / NAME).read_bytes()
        server.files[NAME] = data[:1000] + b"?" + data[1001:]
        with pytest.raises(UserError, match=r"train\.zip was damaged"):
            fetch()
        assert (tmp_path / "to" / NAME / NAME).read_bytes() == before
        server.files[NAME] = data
        server.cuts = [len(data) // 2] * cuts
        fetch()
        assert (tmp_path / "cached").read_bytes() == old
        assert not list(partial.parent.iterdir())


@pytest.mark.parametrize("call", ["ListDataFiles", "DownloadDataFile"])
@pytest.mark.parametrize(
    ("status", "headers", "complaint"),
    [
        (401, {}, "401: no; it does not accept these credentials: make a new token on https"),
        (403, {}, f"403: no; most likely the competition's rules are not accepted: do that on {client.PAGE}/rules"),
        (404, {}, f"404: no; it knows no such competition or file; compare with {client.PAGE}/data"),
        (429, {"Retry-After": "3600"}, "429: no; too many requests: start again in 3600 seconds"),
        (400, {}, f"400: no; to repeat it would not help; look at {client.PAGE}"),
    ],
)
def test_a_refusal_says_what_to_do(server, fetch, pauses, call, status, headers, complaint):
    server.refusals[call] = [(status, headers)]
    with pytest.raises(UserError) as error:
        fetch()
    assert complaint in str(error.value)
    assert not pauses, "to try again would not help"


def test_a_download_killed_again_and_again_ends_whole_and_cheap(server, tmp_path):
    chance = random.Random(1)
    pack(tmp_path / NAME, {"train/a.jpg": chance.randbytes(4 * 10**7)})
    data = server.files[NAME] = (tmp_path / NAME).read_bytes()
    server.bytes_a_second = 4 * 10**7
    code = "import sys; from pathlib import Path\nfrom carvana.kaggle import downloads\n"
    code += "downloads.download(sys.argv[1:2], Path('to'))"
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}

    def start():
        return subprocess.Popen([sys.executable, "-c", code, NAME], cwd=tmp_path, env=environment)

    for _ in range(3):
        before = server.served[NAME]
        process = start()
        wait_until(lambda before=before: server.served[NAME] > before + 2**16, process, step=0.01)
        time.sleep(chance.uniform(0.05, 0.2))
        process.kill()
        process.wait()
    assert not (tmp_path / "to" / NAME / NAME).exists(), "killed before it was whole"
    assert start().wait() == 0
    assert (tmp_path / "to" / NAME / NAME).read_bytes() == data
    assert server.served[NAME] < 1.2 * len(data)
