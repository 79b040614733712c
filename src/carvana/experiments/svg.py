"""The parts that charts drawn by hand share: scales with round ticks, and a frame with titles and units.

Charts take the colour of the text around them and have no background.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 420, 310
LEFT, RIGHT, TOP, BOTTOM = 60, 12, 12, 44  # margins in pixels, for ticks and titles

_NARROWEST = 1e-5  # span of a scale; no Dice is rounded to less
_MOST_TICKS = 8
_ROUNDING = 1 + 1e-9  # 1 - 0.99 is a little more than 0.01

BLUE, ORANGE, GREY = "#0072b2", "#d55e00", "#888"  # visible on white and on black


@dataclass(frozen=True)
class Scale:
    """A line of round numbers, from the first tick to the last; `place` returns where on it a value is, 0 to 1."""

    ticks: list[float]
    place: Callable[[float], float]


def linear(values: list[float], steps: int = 5) -> Scale:
    """Returns a scale on which all values are, with about so many steps of 1, 2 or 5 times a power of ten."""
    low, high = min(values), max(values)
    rough = max(high - low or abs(high) / 10, _NARROWEST) / steps
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    last = max(last, first + 1)
    ticks = [round(number * step, 12) for number in range(first, last + 1)]
    return Scale(ticks, lambda value: (value - ticks[0]) / (ticks[-1] - ticks[0]))


def logarithmic(values: list[float]) -> Scale:
    """Returns a scale on which equal distances are equal ratios, with ticks at 1, 2 and 5 times powers of ten."""
    ticks = _ticks(values, (1, 2, 5))
    return Scale(ticks, lambda value: math.log(value / ticks[0]) / math.log(ticks[-1] / ticks[0]))


def towards_one(values: list[float]) -> Scale:
    """Returns a scale for values up to 1 on which equal distances are equal ratios of what is missing to 1.

    The closer to 1, the wider the scale: from 0.98 to 0.99 it is as far as from 0.99 to 0.995.
    """

    def missing(value: float) -> float:
        return max(1 - value, _NARROWEST)

    finest_first = ((1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,))
    choices = [_ticks(list(map(missing, values)), factors) for factors in finest_first]
    ticks = next(each for each in choices if len(each) <= _MOST_TICKS)
    span = math.log(ticks[-1] / ticks[0])
    return Scale(
        [round(1 - tick, 12) for tick in ticks[::-1]], lambda value: math.log(ticks[-1] / missing(value)) / span
    )


def _ticks(values: list[float], factors: tuple[float, ...]) -> list[float]:
    """Returns factors of powers of ten, from the last that is not above all values to the first that is not below."""
    low, high = min(values), max(values)
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    around = [factor * 10.0**power for power in powers for factor in factors]
    first = max(tick for tick in around if tick <= low * _ROUNDING)
    last = min(tick for tick in around if tick * _ROUNDING >= high and tick > first)
    return [tick for tick in around if first <= tick <= last]


def x_of(place: float) -> float:
    """Returns the pixel of a place on the horizontal axis."""
    return round(LEFT + place * (WIDTH - LEFT - RIGHT), 1)


def y_of(place: float) -> float:
    """Returns the pixel of a place on the vertical axis, which leads upwards."""
    return round(HEIGHT - BOTTOM - place * (HEIGHT - TOP - BOTTOM), 1)


def frame(x: Scale, y: Scale, x_title: str, y_title: str, y_format: str = "g") -> str:
    """Returns both axes with their ticks and titles, and the grid."""
    parts = []
    for tick in x.ticks:
        at = x_of(x.place(tick))
        parts.append(f'<path d="M{at} {TOP}V{HEIGHT - BOTTOM}" stroke="{GREY}" stroke-opacity=".3"/>')
        parts.append(text(at, HEIGHT - BOTTOM + 16, f"{tick:,.10g}", "middle"))
    for tick in y.ticks:
        at = y_of(y.place(tick))
        parts.append(f'<path d="M{LEFT} {at}H{WIDTH - RIGHT}" stroke="{GREY}" stroke-opacity=".3"/>')
        parts.append(text(LEFT - 6, at + 4, format(tick, y_format), "end"))
    middle = (HEIGHT - BOTTOM + TOP) / 2
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_title, "middle"))
    parts.append(f'<g transform="rotate(-90 12 {middle})">{text(12, middle + 2, y_title, "middle")}</g>')
    return "\n".join(parts)


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Returns a line of text that starts, ends or has its middle at a point."""
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(words)}</text>'


def whole(title: str, parts: list[str]) -> str:
    """Returns the parts as an <svg>; the title is for those who do not see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        f'role="img" aria-label="{escape(title)}" fill="currentColor" font-family="system-ui, Arial, sans-serif" '
        f'font-size="12">\n' + "\n".join(parts) + "\n</svg>\n"
    )
