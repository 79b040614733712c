"""What a training says of its speed, with a terminal and without."""

import pytest

from carvana.training import pace
from carvana.training.history import Epoch


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets: `clock[0]` seconds."""
    now = [0.0]
    monkeypatch.setattr(pace, "perf_counter", lambda: now[0])
    return now


@pytest.fixture
def lines(monkeypatch):
    said = []
    monkeypatch.setattr(pace, "say", said.append)
    return said


def train(clock, epochs, seconds, done=0, **options):
    """Epochs of 100 steps of 4 photos, which take `seconds` each, and of a validation that takes 10 steps' time."""
    ours = pace.Pace(400, 120, epochs, done, **({"quiet": False} | options))
    history = [epoch(number) for number in range(1, done + 1)]
    for number in range(done + 1, epochs + 1):
        for _ in range(100):
            clock[0] += seconds
            ours.add_step(4)
        ours.end_steps()
        clock[0] += 10 * seconds
        history.append(epoch(number))
        ours.add_epoch(history)


def epoch(number):
    return Epoch(number, 0.004, 0.5 / number, 0.9, 0.25, 0.9, {1: 0.9, 2: 0.95, 3: 0.94}[number])


def test_a_log_gets_a_line_an_epoch(clock, lines):
    train(clock, 3, 0.0625)
    assert lines == [
        "epoch 1/3: loss 0.5000 (validation 0.2500), Dice at full size 0.90000 (best), learning rate 0.004, "
        "64.0 photos/s, 14 s left",
        "epoch 2/3: loss 0.2500 (validation 0.2500), Dice at full size 0.95000 (best), learning rate 0.004, "
        "64.0 photos/s, 7 s left",
        "epoch 3/3: loss 0.1667 (validation 0.2500), Dice at full size 0.94000, learning rate 0.004, "
        "64.0 photos/s, 0 s left",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_first_steps_say_how_long_all_epochs_take(clock, lines, monkeypatch, terminal):
    monkeypatch.setattr(pace, "in_terminal", lambda: terminal)
    train(clock, 3, 1.0)
    # 100 steps and a validation of 30, of which 10 steps take as long, is 110 seconds an epoch.
    assert lines[0] == "3 epochs of about 2 min: 6 min in all"
    assert len(lines) == (1 if terminal else 4)


def test_a_terminal_is_told_after_a_quick_epoch(clock, lines, monkeypatch):
    monkeypatch.setattr(pace, "in_terminal", lambda: True)
    train(clock, 3, 0.0625)
    assert lines == ["3 epochs of about 7 s: 21 s in all"]


def test_a_resumed_training_counts_the_epochs_that_are_left(clock, lines):
    train(clock, 3, 0.0625, done=2)
    assert len(lines) == 1
    assert lines[0].startswith("epoch 3/3: ")
    train(clock, 3, 1.0, done=1)
    assert lines[1] == "2 epochs of about 2 min: 4 min in all"


def test_the_other_processes_say_nothing(clock, lines):
    train(clock, 3, 1.0, quiet=True)
    assert not lines
