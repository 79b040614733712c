"""Kaggle's own client against a server on this machine."""

import itertools

import pytest

from carvana.base.errors import UserError
from carvana.kaggle import client, http

WORDS = "Bad token good at https://localhost/x?signature=secret.\n\x1b[31mGo away."


@pytest.mark.parametrize(
    ("status", "content", "shown"),
    [
        (400, {"code": 400, "message": WORDS}, "400: Bad token … at https://localhost/x  [31mGo away; "),
        # An error in the body alone.
        (200, {"code": 403, "message": "accept the rules"}, "answers 403: accept the rules; most likely"),
    ],
)
def test_an_error_is_shown_in_kaggles_words_without_secrets(server, status, content, shown):
    server.refusals["ListDataFiles"] = [(status, {}, content)]
    with pytest.raises(UserError) as error:
        client.sizes(client.log_in())
    assert shown in str(error.value)


@pytest.fixture
def packed(tmp_path):
    path = tmp_path / "submission.csv.gz"
    path.write_bytes(b"rows")
    return path


BUSY = (429, {"Retry-After": "3"})


@pytest.mark.parametrize(
    ("call", "trouble"),
    [
        *itertools.product(["StartSubmissionUpload", "upload"], [(503, {}), BUSY, (0, {})]),
        ("CreateSubmission", BUSY),  # the others may have been counted
    ],
)
def test_a_submission_arrives_after_one_bad_answer(server, packed, pauses, call, trouble):
    server.refusals[call] = [trouble]
    assert client.submit(packed, "U-Net, Dice 0.99") == (42, "Successfully submitted")
    assert server.uploads == [{"data": b"rows", "description": "U-Net, Dice 0.99"}]


def test_kaggles_words_are_printed_on_one_line_and_not_at_any_length(server, packed, pauses):
    server.afterwards["CreateSubmission"] = [(200, {}, {"ref": 7, "message": "\x1b[31mTaken\r\nat last" + "!" * 999})]
    assert client.submit(packed, "message") == (7, "[31mTaken  at last" + "!" * 282)


def test_a_limit_that_is_none_is_unknown(server):
    server.refusals["GetSubmissionLimits"] = [(200, {}, b"<html>"), (200, {}, {"numAllowedNow": "4"}), (500, {})]
    assert [client.submissions_left() for _ in range(4)] == [None, None, None, 4]


STRANGE = {"token": [1], "createUrl": "http://localhost:7777/upload"}
NO_MORE = (400, {}, {"code": 400, "message": "Your daily allowance: 10 hours."})


@pytest.mark.parametrize(
    ("trouble", "complaint"),
    [
        ({"refusals": {"upload": [(400, {})] * 4}}, "the upload: .*the storage says 400.; nothing was submitted"),
        ({"refusals": {"StartSubmissionUpload": [(200, {}, b"[]")] * 4}}, "the upload: .*no JSON.*; nothing was subm"),
        (
            {"refusals": {"StartSubmissionUpload": [(200, {}, STRANGE)] * 4}},
            "list in place of str.*; nothing was su",
        ),
        ({"refusals": {"StartSubmissionUpload": [(403, {})]}}, "nothing was submitted; .*rules are not accepted"),
        ({"create_url": "http://[::1?signature=secret"}, "the upload: .*; nothing was submitted"),
        ({"refusals": {"upload": [None] * 4}}, "the upload: .*Timeout.*; nothing was submitted"),
        ({"refusals": {"CreateSubmission": [NO_MORE]}}, "answers 400: Your daily allowance: 10 hours; nothing was sub"),
    ],
)
def test_what_is_refused_is_not_taken_for_a_success(server, packed, pauses, monkeypatch, capfd, trouble, complaint):
    monkeypatch.setattr(http, "TIMEOUTS", (0.3, 0.3))
    vars(server).update(trouble)
    with pytest.raises(UserError, match=complaint) as error:
        client.submit(packed, "message")
    assert not isinstance(error.value, client.UncertainError)
    assert "secret" not in str(error.value) + "".join(capfd.readouterr())


@pytest.mark.parametrize(
    "answer",
    [
        (500, {}),
        (0, {}),
        (200, {}, b"<html>"),
        (200, {}, b"null"),
        (200, {}, {"message": "Submitted"}),
        (200, {}, {"ref": [8]}),
        None,
    ],
)
def test_a_lost_answer_may_have_been_counted(server, packed, pauses, monkeypatch, answer):
    monkeypatch.setattr(http, "TIMEOUTS", (0.3, 0.3))
    server.afterwards["CreateSubmission"] = [answer] * 9
    with pytest.raises(client.UncertainError, match=f"it may have been counted: look at {client.PAGE}/submissions"):
        client.submit(packed, "message")
    assert len(server.uploads) == 1
    assert [name for name, _ in server.calls].count("CreateSubmission") == 1
