"""Front and rear of a body: lamps, grille, bumpers, number plates."""

import numpy as np

from demo_studio.atlas import (
    CHROME,
    DARK,
    GAP,
    GLOSS_BLACK,
    PLASTIC,
    Atlas,
    Material,
    ellipse,
    paint_of,
    rounded,
)
from demo_studio.cars import Car

LAMP_GLASS = Material((0.80, 0.81, 0.82), 1.2, 0.2)
LAMP_DEPTH = Material((0.40, 0.40, 0.42), 1.2, 0.2)
TAIL_LAMP = Material((0.62, 0.05, 0.06), 1.0)
TAIL_LAMP_CLEAR = Material((0.86, 0.70, 0.68), 1.0)
INDICATOR = Material((0.85, 0.42, 0.08), 1.0)
PLATE = Material((0.93, 0.94, 0.95), 0.1)
PLATE_PRINT = Material((0.12, 0.55, 0.80), 0.1)
PLATE_TEXT = Material((0.62, 0.66, 0.72), 0.1)

BOTH_SIDES = ((1, 1), (-1, 1))


def _plate(atlas: Atlas, name: str, height: float) -> None:
    middle = np.array((0, height))
    corners = np.array([[-0.16, -0.082], [0.16, -0.082], [0.16, 0.082], [-0.16, 0.082]])
    atlas.fill(name, corners * 1.04 + middle, GAP)
    atlas.fill(name, corners + middle, PLATE)
    atlas.fill(name, ellipse((-0.09, height), (0.032, 0.032)), PLATE_PRINT)
    atlas.line(name, [[-0.04, height], [0.10, height]], 0.03, PLATE_TEXT)
    atlas.line(name, [[-0.13, height - 0.062], [0.13, height - 0.062]], 0.02, PLATE_PRINT)


def _headlamps(atlas: Atlas, car: Car, lamp: float, generator: np.random.Generator) -> None:
    """Paints headlamps at height `lamp`, metres, and the part of them that reaches around to the side."""
    half, front = car.shape.width / 2, car.shape.front
    inner, drop = generator.uniform(0.42, 0.55), generator.uniform(0.05, 0.09)
    high, low = lamp + 0.06 + generator.uniform(-0.02, 0.06), lamp - drop
    shell = np.array([[half * inner, lamp + 0.03], [1.15, high], [1.15, low], [half * (inner + 0.1), low]])
    for flip in BOTH_SIDES:
        atlas.fill("front", rounded(shell * flip), LAMP_GLASS)
        for place in (0.68, 0.82):
            bulb = (flip[0] * half * place, lamp - 0.008)
            atlas.fill("front", ellipse(bulb, (0.055, 0.042)), LAMP_DEPTH)
            atlas.fill("front", ellipse(bulb, (0.032, 0.026)), CHROME)
    wrap = [
        [front + 0.3, high], [front - 0.30, high], [front - 0.58, high - 0.01],
        [front - 0.46, lamp - 0.5 * drop], [front - 0.30, low], [front + 0.3, low],
    ]  # fmt: skip
    atlas.fill("side", rounded(wrap), LAMP_GLASS)
    atlas.fill("side", ellipse((front - 0.40, lamp + 0.02), (0.05, 0.022)), INDICATOR)


def _grille(atlas: Atlas, car: Car, lamp: float, generator: np.random.Generator) -> None:
    """Paints the grille between the headlamps, with its bars and the badge."""
    low, high = lamp - generator.uniform(0.10, 0.22), lamp + 0.05
    half = car.shape.width / 2 * generator.uniform(0.34, 0.5)
    trim = CHROME if car.chrome else PLASTIC
    shape = rounded([[-half, high], [half, high], [0.8 * half, low], [-0.8 * half, low]], 3)
    middle = shape.mean(axis=0)
    atlas.fill("front", (shape - middle) * (1.04, 1.1) + middle, trim)
    atlas.fill("front", shape, DARK)
    for z in np.linspace(low, high, car.grille_bars + 2)[1:-1]:
        reach = half * (0.8 + 0.2 * (z - low) / (high - low)) - 0.03
        atlas.line("front", [[-reach, z], [reach, z]], 0.013, trim)
    atlas.fill("front", ellipse((0, lamp - 0.01), (0.075, 0.05)), CHROME)
    atlas.fill("front", ellipse((0, lamp - 0.01), (0.055, 0.035)), GLOSS_BLACK)


def paint_front(atlas: Atlas, car: Car, generator: np.random.Generator) -> None:
    """Paints the front of a car below its windscreen."""
    half, low = car.shape.width / 2, car.shape.clearance
    lamp = car.shape.nose_height - generator.uniform(0.07, 0.11)
    if car.bumper_paint:
        atlas.band("front", 0, low + 0.28, Material(car.bumper_paint, 0.2))
    intake = np.array([[-0.55, 0.26], [0.55, 0.26], [0.64, 0.12], [-0.64, 0.12]]) * (half, 1) + (0, low)
    atlas.fill("front", rounded(intake), DARK)
    atlas.band("front", 0, low + 0.085, PLASTIC)
    for side in (-1, 1):
        fog_lamp = (side * half * 0.72, low + 0.20)
        atlas.fill("front", ellipse(fog_lamp, (0.10, 0.055)), DARK)
        atlas.fill("front", ellipse(fog_lamp, (0.045, 0.04)), LAMP_GLASS)
    _headlamps(atlas, car, lamp, generator)
    _grille(atlas, car, lamp, generator)
    _plate(atlas, "front", low + 0.24)


def _tail_lamps(atlas: Atlas, car: Car, lamp: float, generator: np.random.Generator) -> None:
    """Paints tail lamps at height `lamp`, metres, and the part of them that reaches around to the side."""
    half, rear = car.shape.width / 2, car.shape.rear
    has_boot = car.shape.rear_glass_base - rear > 0.3
    tall = generator.uniform(0.06, 0.10) if has_boot else generator.uniform(0.10, 0.17)
    inner = half * generator.uniform(0.45, 0.68)
    middle = (0, lamp)
    shell = np.array([[inner, 0.8 * tall], [1.15, tall], [1.15, -tall], [inner + 0.08, -0.8 * tall]])
    clear = np.array([[inner + 0.09, 0.3], [0.9 * half, 0.3], [0.9 * half, -0.1], [inner + 0.09, -0.1]])
    for flip in BOTH_SIDES:
        atlas.fill("rear", rounded((shell + middle) * flip), TAIL_LAMP)
        atlas.fill("rear", rounded((clear * (1, tall) + middle) * flip), TAIL_LAMP_CLEAR)
    wrap = np.array([[-0.3, 1], [0.28, 1], [0.52, 0.7], [0.44, -0.4], [0.28, -1], [-0.3, -1]])
    atlas.fill("side", rounded(wrap * (1, tall) + (rear, lamp)), TAIL_LAMP)


def paint_rear(atlas: Atlas, car: Car, generator: np.random.Generator) -> None:
    """Paints the rear of a car below its rear window."""
    shape = car.shape
    half, low = shape.width / 2, shape.clearance
    lamp = shape.deck_height - generator.uniform(0.13, 0.2)
    bumper = low + 0.34
    if car.bumper_paint:
        atlas.band("rear", 0, bumper, Material(car.bumper_paint, 0.2))
    atlas.band("rear", 0, low + 0.13, PLASTIC)
    for side in (-1, 1):
        atlas.line("rear", [[side * half * 0.80, bumper], [side * half * 0.72, lamp]], 0.005, GAP)
        exhaust = (side * half * 0.62, low + 0.07)
        atlas.fill("rear", ellipse(exhaust, (0.06, 0.035)), CHROME)
        atlas.fill("rear", ellipse(exhaust, (0.045, 0.025)), DARK)
    _tail_lamps(atlas, car, lamp, generator)
    atlas.line("rear", [[-half, bumper], [half, bumper]], 0.006, GAP)
    _plate(atlas, "rear", max((bumper + lamp) / 2, bumper + 0.1))
    trim = CHROME if car.chrome else paint_of(car)
    atlas.line("rear", [[-0.3, lamp + 0.04], [0.3, lamp + 0.04]], 0.02, trim)
    brake_lamp = shape.height - 0.09
    atlas.line("rear", [[-0.2, brake_lamp], [0.2, brake_lamp]], 0.02, TAIL_LAMP)
