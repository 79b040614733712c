"""What a user sees of long work, with a terminal and without."""

import contextlib
import os
import pty
import termios

import pytest
import tqdm.std

from carvana.base.console import Bar, duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets: `clock[0]` seconds."""
    now = [0.0]
    monkeypatch.setattr(tqdm.std, "time", lambda: now[0])
    return now


def work(clock, photos, seconds, **options):
    """Counts `photos` that take `seconds` each."""
    with Bar(total=photos, desc="resize", unit=" photos", **options) as bar:
        for _ in range(options.get("initial", 0), photos):
            clock[0] += seconds
            bar.update()


def test_a_log_gets_a_line_now_and_then(clock, capfd):
    work(clock, 640, 0.125)
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert lines[0] == "resize: 25%, 160 of 640 photos,  8.00 photos/s, 00:20 gone, 01:00 left"
    assert [line.split(", ")[0] for line in lines[1:4]] == ["resize: 50%", "resize: 75%", "resize: 100%"]
    assert not err


def test_quick_work_and_the_other_processes_say_nothing(clock, capfd):
    work(clock, 1000, 0.0005)
    work(clock, 1000, 1.0, quiet=True)
    assert capfd.readouterr() == ("", "")


def test_work_that_was_done_before_counts_but_not_for_the_speed(clock, capfd):
    work(clock, 100, 2.0, initial=50)
    assert capfd.readouterr().out.startswith("resize: 60%, 60 of 100 photos,  2.00s/ photos, 00:20 gone, 01:20 left")


def test_a_terminal_has_a_bar_and_no_lines(capfd, monkeypatch):
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 80))
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        work([0.0], 1000, 0.0)
    shown = b""
    with contextlib.suppress(OSError):  # so ends what a closed terminal holds
        while piece := os.read(reader, 10_000):
            shown += piece
    os.close(reader)
    assert b"resize" in shown
    assert b"1000/1000" in shown
    assert not capfd.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.4, "0 s"), (99, "99 s"), (100, "2 min"), (5939, "99 min"), (11_100, "3 h 05 min")]
)
def test_a_time_in_words(seconds, words):
    assert duration(seconds) == words
