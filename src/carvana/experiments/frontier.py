"""The frontier of speed and quality: Dice against photos a second, as a chart."""

import math
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from carvana.experiments import svg

_X, _Y = "photos per second, prediction", "mean Dice on test cars"
_CHARACTER, _LINE = 6.4, 13  # pixels of a label, about


@dataclass(frozen=True)
class Point:
    """What was measured, photos per second (above 0), and Dice in 0–1."""

    label: str
    photos_per_second: float
    dice: float


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: "_Box") -> float:
        """Returns the area in common, in pixels."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(across, 0) * max(down, 0)


def frontier(points: list[Point]) -> list[Point]:
    """Returns the points that no other beats or equals in both, the fastest first."""
    found: list[Point] = []
    for point in sorted(points, key=lambda each: (-each.photos_per_second, -each.dice)):
        if not found or point.dice > found[-1].dice:
            found.append(point)
    return found


def draw(points: list[Point]) -> str:
    """Returns the chart as an <svg>: points with labels, and a line through the frontier. There is at least one point.

    It takes the colour of the text around it. Speeds are on a logarithmic scale, as is what is missing to a Dice of 1.
    In a crowd, only the frontier's points are sure of a label; every point has its label and its values as a tooltip.
    """
    x = svg.logarithmic([point.photos_per_second for point in points])
    y = svg.towards_one([point.dice for point in points])
    best = frontier(points)
    places = {point: (svg.x_of(x.place(point.photos_per_second)), svg.y_of(y.place(point.dice))) for point in points}
    line = " ".join(f"{left},{top}" for left, top in (places[point] for point in best))
    digits = max(len(f"{tick:g}".partition(".")[2]) for tick in y.ticks)
    parts = [
        svg.frame(x, y, _X, _Y, f".{digits}f"),
        f'<polyline points="{line}" fill="none" stroke="{svg.ORANGE}" stroke-width="2" stroke-opacity=".7"/>',
    ]
    for point, (left, top) in places.items():
        colour = svg.ORANGE if point in best else svg.BLUE
        words = escape(f"{point.label}: {point.photos_per_second:,.4g} photos per second, Dice {point.dice:.4f}")
        parts.append(f'<circle cx="{left}" cy="{top}" r="4.5" fill="{colour}"><title>{words}</title></circle>')
    return svg.whole("Dice against photos per second", parts + _labels(places, best))


def document(points: list[Point]) -> str:
    """Returns the chart as an SVG file that is readable on white and on black."""
    style = "<style>svg { color: #222 } @media (prefers-color-scheme: dark) { svg { color: #ddd } }</style>"
    head, _, rest = draw(points).partition(">\n")
    return f"{head}>\n{style}\n{rest}"


def _labels(places: dict[Point, tuple[float, float]], best: list[Point]) -> list[str]:
    """Returns the labels, each beside its point, where it covers the least of points, the line and earlier labels.

    Those of `best` come first; any other is left out if it would cover something.
    """
    taken = [_Box(left - 5, top - 5, left + 5, top + 5) for left, top in places.values()]
    taken += [box for one, other in pairwise(places[point] for point in best) for box in _along(*one, *other)]
    inside = _Box(svg.LEFT, 0, svg.WIDTH, svg.HEIGHT - svg.BOTTOM)
    parts = []
    for point in [*reversed(best), *(each for each in places if each not in best)]:
        left, top = places[point]
        boxes = _beside(left, top, _CHARACTER * len(point.label))

        def covered(box: _Box) -> float:
            # What lies outside is not seen at all.
            outside = (box.right - box.left) * (box.bottom - box.top) - box.overlap(inside)
            return 4 * outside + sum(box.overlap(other) for other in taken)

        box = min(boxes, key=covered)
        if point not in best and covered(box) > 0:
            continue
        taken.append(box)
        parts.append(svg.text(round(box.left, 1), round(box.bottom - 3, 1), point.label))
    return parts


def _along(x: float, y: float, to_x: float, to_y: float) -> list[_Box]:
    """Returns small boxes on a line, so close that no label fits between them."""
    steps = math.ceil(math.hypot(to_x - x, to_y - y) / 6)
    shares = [step / steps for step in range(steps)]
    middles = [(x + (to_x - x) * share, y + (to_y - y) * share) for share in shares]
    return [_Box(across - 2, down - 2, across + 2, down + 2) for across, down in middles]


def _beside(x: float, y: float, wide: float) -> list[_Box]:
    """Returns the places for a label so wide beside a point, the preferred ones first."""
    corners = [
        (x + 8, y),
        (x + 8, y - 7),
        (x - 8 - wide, y),
        (x - wide / 2, y - 13),
        (x - wide / 2, y + 13),
        (x + 6, y - 13),
        (x - 6 - wide, y + 13),
        (x + 6, y + 13),
        (x - 6 - wide, y - 13),
    ]
    return [_Box(left, middle - _LINE / 2, left + wide, middle + _LINE / 2) for left, middle in corners]
