"""The paint atlas: one picture for each car, with everything that is flat on its body.

The body is unfolded into four plans, seen from the side, the top, the front and the rear; plain swatches paint all
other parts. Every texel has a colour and a finish.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike

from demo_studio.cars import Car

SCALE = 256
"""Texels per metre."""

HEIGHT, WIDTH = 1640, 1640
SUBPIXEL_BITS = 4

# Middle column and floor row of each plan; x grows to the right in the side and top plans.
_ORIGINS = {"side": (800, 545), "top": (800, 850), "front": (310, 1620), "rear": (920, 1620)}
_REACHES = {"side": 3.1, "top": 3.1, "front": 1.18, "rear": 1.18}
_SWATCH_COLUMN, _SWATCH_ROW, _SWATCH_SIZE = 1300, 1170, 24


@dataclass(frozen=True)
class Material:
    """The look of a surface.

    Attributes:
        colour: RGB in 0..1 as in a photo.
        gloss: share of the clear coat's reflection, 0..1.
        metal: share of light that is reflected in the material's own colour, 0..1.
    """

    colour: tuple[float, float, float]
    gloss: float = 0.0
    metal: float = 0.0


RUBBER = Material((0.20, 0.20, 0.205), 0.15)
PLASTIC = Material((0.13, 0.13, 0.135), 0.25)
DARK = Material((0.035, 0.035, 0.035))
GAP = Material((0.06, 0.06, 0.06), 0.1)
CHROME = Material((0.80, 0.81, 0.83), 1.5, 0.25)
STEEL = Material((0.42, 0.41, 0.40), 0.2, 0.4)
GLOSS_BLACK = Material((0.07, 0.07, 0.07), 1.0)


def paint_of(car: Car) -> Material:
    """Returns the car's body paint."""
    return Material(car.paint, 1.0, 0.5 * car.metallic)


def plan(name: str, along: np.ndarray, up: np.ndarray) -> np.ndarray:
    """Returns the atlas pixels of points on a plan.

    Args:
        name: "side" (x, z), "top" (x, y), "front" or "rear" (y, z).
        along: first coordinate, metres.
        up: second coordinate, metres, same shape.

    Returns:
        float64 [..., 2]: column and row.
    """
    column, row = _ORIGINS[name]
    return np.stack([column + SCALE * np.asarray(along), row - SCALE * np.asarray(up)], axis=-1)


class Atlas:
    """A picture to paint materials on, filled with `ground`."""

    def __init__(self, ground: Material) -> None:
        self._finishes: dict[tuple[float, float], int] = {}
        self._swatches = 0
        *colour, finish = self._value(ground)
        self._colour = np.empty((HEIGHT, WIDTH, 3), np.uint8)
        self._finish = np.full((HEIGHT, WIDTH), finish, np.uint8)
        cv2.rectangle(self._colour, (0, 0), (WIDTH, HEIGHT), colour, cv2.FILLED)

    def texels(self) -> np.ndarray:
        """Returns the picture so far: uint8 [HEIGHT, WIDTH, 4], RGB as in a photo and the index of a finish."""
        return cv2.merge([self._colour, self._finish])

    def finishes(self) -> np.ndarray:
        """Returns gloss and metal of all finishes: float32 [finishes, 2]."""
        return np.array(list(self._finishes), np.float32)

    def _value(self, material: Material) -> list[int]:
        finish = self._finishes.setdefault((material.gloss, material.metal), len(self._finishes))
        return [*(round(255 * min(max(part, 0), 1)) for part in material.colour), finish]

    def swatch(self, material: Material) -> np.ndarray:
        """Paints the next free swatch; returns the atlas pixel at its centre, float64 [2]."""
        column = _SWATCH_COLUMN + _SWATCH_SIZE * (self._swatches % 12)
        row = _SWATCH_ROW + _SWATCH_SIZE * (self._swatches // 12)
        self._swatches += 1
        area = np.s_[row : row + _SWATCH_SIZE, column : column + _SWATCH_SIZE]
        value = self._value(material)
        self._colour[area], self._finish[area] = value[:3], value[3]
        return np.array([column, row]) + _SWATCH_SIZE / 2

    def fill(self, name: str, outline: ArrayLike, material: Material) -> None:
        """Fills a polygon, float [corners, 2] in metres, on a plan."""
        corners, value = self._fixed_point(name, outline), self._value(material)
        # Only colours may blend along the edges: the mean of two indices would be the index of a third finish.
        cv2.fillPoly(self._finish, [corners], value[3], cv2.LINE_8, SUBPIXEL_BITS)
        cv2.fillPoly(self._colour, [corners], value[:3], cv2.LINE_AA, SUBPIXEL_BITS)

    def band(self, name: str, low: float, high: float, material: Material) -> None:
        """Fills the full width of a plan between two heights, metres."""
        reach = _REACHES[name]
        self.fill(name, [[-reach, low], [reach, low], [reach, high], [-reach, high]], material)

    def line(self, name: str, path: ArrayLike, width: float, material: Material) -> None:
        """Draws an open path, float [points, 2] in metres, `width` metres wide, on a plan."""
        points, value = self._fixed_point(name, path), self._value(material)
        thickness = max(1, round(width * SCALE))
        cv2.polylines(self._finish, [points], False, value[3], thickness, cv2.LINE_8, SUBPIXEL_BITS)
        cv2.polylines(self._colour, [points], False, value[:3], thickness, cv2.LINE_AA, SUBPIXEL_BITS)

    @staticmethod
    def _fixed_point(name: str, path: ArrayLike) -> np.ndarray:
        path = np.asarray(path, float)
        # In OpenCV, whole numbers are pixel centres; in the atlas, they are pixel corners.
        pixels = plan(name, path[:, 0], path[:, 1]) - 0.5
        return np.round(pixels * 2**SUBPIXEL_BITS).astype(np.int32)


def rounded(outline: ArrayLike, times: int = 2) -> np.ndarray:
    """Returns a closed polygon with its corners cut `times` times: float [corners, 2] to [more, 2]."""
    outline = np.asarray(outline, float)
    for _ in range(times):
        following = np.roll(outline, -1, axis=0)
        cut = np.stack([0.8 * outline + 0.2 * following, 0.2 * outline + 0.8 * following], axis=1)
        outline = cut.reshape(-1, 2)
    return outline


def ellipse(centre: tuple[float, float], radii: tuple[float, float], corners: int = 32) -> np.ndarray:
    """Returns an ellipse as a closed polygon, float [corners, 2]."""
    angle = np.linspace(0, 2 * np.pi, corners, endpoint=False)
    return np.array(centre) + np.array(radii) * np.stack([np.cos(angle), np.sin(angle)], axis=1)
