"""What long work shows: a bar in a terminal, and lines in a log, where there is none."""

import sys
import time

from tqdm import tqdm

_PATIENCE = 10.0  # seconds until a log says for the first time how long the work will take
_APART = 1.0  # seconds between two lines, at least: work that is done sooner needs none


class Bar(tqdm):
    """tqdm's bar in a terminal. In a log, a line for every 10 % of the work; `quiet` shows neither."""

    def __init__(self, *, total: int, desc: str, unit: str, initial: int = 0, quiet: bool = False) -> None:
        super().__init__(total=total, desc=desc, unit=unit, initial=initial, disable=True if quiet else None)
        self._lines = _Lines(total, desc, unit.strip(), initial) if self.disable and not quiet else None

    def update(self, n: int = 1) -> None:
        """Counts another `n` as done."""
        super().update(n)
        if self._lines:
            self._lines.add(n)


class _Lines:
    """The lines for a log: one for every 10 % of the work, and an early one if the first 10 % take long."""

    def __init__(self, total: int, what: str, unit: str, done: int) -> None:
        self._total, self._what, self._unit = total, what, unit
        self._done, self._tenth = done, 10 * done // max(total, 1)
        self._begun = time.perf_counter()
        # Speed is measured from here: the time before it is that of starting workers, for one.
        self._first: tuple[float, int] | None = None
        self._last: float | None = None  # when there was a line

    def add(self, count: int) -> None:
        now = time.perf_counter()
        self._done += count
        if self._first is None:
            self._first = now, self._done
            return
        tenth = 10 * self._done // max(self._total, 1)
        waited = now - (self._last or self._first[0])
        ended = self._done == self._total and self._last is not None
        early = self._last is None and waited >= _PATIENCE
        if early or (tenth > self._tenth and (ended or waited >= _APART)):
            self._tenth, self._last = tenth, now
            say(self._line(now, *self._first))

    def _line(self, now: float, began: float, before: int) -> str:
        rate = (self._done - before) / (now - began)
        left = (self._total - self._done) / rate
        return (
            f"{self._what}: {self._done / self._total:.0%}, {self._done:,} of {self._total:,} {self._unit}, "
            f"{rate:,.1f} {self._unit}/s, {duration(left)} left of {duration(now - self._begun + left)}"
        )


def say(text: str) -> None:
    """Prints lines for the user, above the bars of a terminal."""
    tqdm.write(text)
    sys.stdout.flush()


def in_terminal() -> bool:
    """Returns whether there is a terminal in which bars can be seen."""
    return sys.stderr.isatty()


def duration(seconds: float) -> str:
    """Returns a time in words: `50 s`, `12 min`, `3 h 05 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"
