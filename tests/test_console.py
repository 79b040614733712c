"""What a user sees of long work, with a terminal and without."""

import contextlib
import os
import pty
import termios

import pytest

from carvana.base import console
from carvana.base.console import Bar, duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets: `clock[0]` seconds."""
    now = [0.0]
    monkeypatch.setattr(console.time, "perf_counter", lambda: now[0])
    return now


def work(clock, photos, seconds, **options):
    """Counts `photos` that take `seconds` each."""
    with Bar(total=photos, desc="resize", unit=" photos", **options) as bar:
        for _ in range(options.get("initial", 0), photos):
            clock[0] += seconds
            bar.update()


def test_a_log_gets_a_line_for_every_tenth_of_the_work(clock, capfd):
    work(clock, 640, 0.125)
    out, err = capfd.readouterr()
    lines = out.splitlines()
    assert [line.split(", ")[0] for line in lines] == [f"resize: {tenth}0%" for tenth in range(1, 11)]
    assert lines[1] == "resize: 20%, 128 of 640 photos, 8.0 photos/s, 64 s left of 80 s"
    assert lines[-1].endswith("0 s left of 80 s")
    assert not err


def test_long_work_says_after_seconds_how_long_it_takes_and_then_waits_for_its_tenths(clock, capfd):
    work(clock, 100_000, 0.125)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "resize: 0%, 81 of 100,000 photos, 8.0 photos/s, 3 h 28 min left of 3 h 28 min"
    assert [line.split(", ")[0] for line in lines[1:]] == [f"resize: {tenth}0%" for tenth in range(1, 11)]


def test_quick_work_and_the_other_processes_say_nothing(clock, capfd):
    work(clock, 1000, 0.0005)
    work(clock, 1000, 1.0, quiet=True)
    assert capfd.readouterr() == ("", "")


def test_lines_of_quick_work_are_a_second_apart_and_end_with_its_end(clock, capfd):
    work(clock, 100, 0.03125)
    lines = capfd.readouterr().out.splitlines()
    assert [line.split(", ")[0] for line in lines] == ["resize: 33%", "resize: 65%", "resize: 97%", "resize: 100%"]


def test_the_speed_is_not_that_of_photos_that_arrive_together(clock, capfd):
    with Bar(total=100, desc="resize", unit=" photos") as bar:
        for _ in range(5):
            clock[0] += 4.0
            for _ in range(2):
                bar.update(10)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "resize: 30%, 30 of 100 photos, 5.0 photos/s, 14 s left of 22 s"


def test_work_that_was_done_before_counts_but_not_for_the_speed(clock, capfd):
    work(clock, 100, 2.0, initial=50)
    lines = capfd.readouterr().out.splitlines()
    assert lines[1].startswith("resize: 60%, 60 of 100 photos, 0.5 photos/s, 80 s left")


def test_a_terminal_has_a_bar_and_no_lines(clock, capfd, monkeypatch):
    reader, writer = pty.openpty()
    termios.tcsetwinsize(writer, (24, 80))
    with os.fdopen(writer, "w") as terminal:
        monkeypatch.setattr("sys.stderr", terminal)
        work(clock, 1000, 0.125)
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
