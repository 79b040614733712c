"""What long work shows: a bar in a terminal, and a line now and then in a log, where there is none."""

import io
import sys
from collections.abc import Mapping

from tqdm import tqdm

_APART = 20.0  # seconds between two lines of a log; work that is done sooner needs none
_LINE = "{desc}: {percentage:.0f}%, {n:.0f} of {total:.0f}{unit}, {rate_fmt}, {elapsed} gone, {remaining} left{postfix}"
_BAR = "{l_bar}{bar}| {n:.0f}/{total:.0f} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class Bar(tqdm):
    """tqdm's bar in a terminal, and its words as lines in a log; `quiet` shows neither."""

    def __init__(self, *, total: float, desc: str, unit: str, initial: float = 0, quiet: bool = False) -> None:
        log = {"file": _Log(), "mininterval": _APART, "miniters": 1, "delay": _APART, "bar_format": _LINE}
        how = {"bar_format": _BAR} if sys.stderr.isatty() else log
        super().__init__(total=total, desc=desc, unit=unit, initial=initial, disable=quiet, **how)


class _Log(io.StringIO):
    """Prints what a bar writes as lines, where a terminal would write one line again and again."""

    def write(self, text: str) -> int:
        if line := text.strip():
            print(line, flush=True)
        return len(text)


def say(text: str) -> None:
    """Prints lines for the user, above the bars of a terminal."""
    tqdm.write(text)
    sys.stdout.flush()


def dice_of(role: str, scores: Mapping[str, float]) -> str:
    """Returns the Dice of an evaluation on the cars of a role, in words; `scores` are those of evaluate.json."""
    dice = f"{scores['dice']:.4f} (worst {scores['dice_worst']:.4f})"
    return f"Dice at 1918×1280 on {scores['images']} photos of unseen {role} cars: {dice}"


def score_of(leaderboard: Mapping[str, float]) -> str:
    """Returns the score of a submission in words; `leaderboard` is that of leaderboard.json."""
    if "dice" not in leaderboard:
        return "Score of the submission: not known here; Kaggle tells"
    return f"Score of the submission on {leaderboard['images']} test photos: {leaderboard['dice']:.4f}"


def duration(seconds: float) -> str:
    """Returns a time in words: `50 s`, `12 min`, `3 h 05 min`."""
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02d} min"


def aligned(lines: list[list[str]]) -> str:
    """Returns a table as text: the first and the last column on the left of theirs, the others on the right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if 0 < number < len(line) - 1 else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
