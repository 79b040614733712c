"""Everything that protrudes from a body: mirrors, antenna, roof rails, spoiler, wipers."""

import numpy as np

from demo_studio.atlas import CHROME, GLOSS_BLACK, PLASTIC, Atlas, paint_of
from demo_studio.bodies import CABIN_WIDTH_SHARE, ROOF_WIDTH_SHARE, roof_height, shoulder_height
from demo_studio.cars import Car
from demo_studio.mesh import Mesh, grid, merge, mirrored, tube

Point = tuple[float, float, float]


def _ellipsoid(centre: Point, radii: Point, texture: np.ndarray) -> Mesh:
    """Returns a slightly boxy ellipsoid, metres, in the paint at atlas pixel `texture`."""
    polar, around = np.linspace(0, np.pi, 11)[:, None], np.linspace(0, 2 * np.pi, 21)
    across = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)
    unit = np.stack(np.broadcast_arrays(*across), axis=-1)
    normals = unit / np.array(radii)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    boxy = np.sign(unit) * np.abs(unit) ** 0.75
    return grid(np.array(centre) + np.array(radii) * boxy, texture, normals)


def _mirrors(car: Car, atlas: Atlas) -> list[Mesh]:
    shape = car.shape
    x, y = shape.windscreen_base - 0.42, shape.width / 2
    z = float(shoulder_height(shape, np.array(x))) + 0.10
    size = 1.35 if car.body == "pickup" else 1.0
    paint, black = atlas.swatch(paint_of(car)), atlas.swatch(GLOSS_BLACK)
    foot = np.array([[x, y - 0.12, z - 0.09], [x + 0.01, y + 0.03, z - 0.05]])
    parts = [
        _ellipsoid((x, y + 0.10 * size, z), (0.055, 0.115 * size, 0.075 * size), paint),
        _ellipsoid((x - 0.012, y + 0.10 * size, z), (0.052, 0.10 * size, 0.062 * size), black),
        tube(foot, 0.025, black),
    ]
    return parts + [mirrored(part) for part in parts]


def _antenna(car: Car, atlas: Atlas) -> list[Mesh]:
    x = car.shape.roof_rear + 0.12
    z = float(roof_height(car.shape, np.array(x))) + 0.04
    foot = np.array([x, 0.0, z])
    if car.antenna == "fin":
        path = foot + np.array([[0.12, 0, -0.01], [0.04, 0, 0.02], [-0.04, 0, 0.04], [-0.08, 0, 0.055]])
        return [tube(path, np.array([0.010, 0.024, 0.026, 0.010]), atlas.swatch(paint_of(car)))]
    if car.antenna == "rod":
        path = foot + np.array([[0.0, 0, -0.02], [-0.02, 0, 0.03], [-0.16, 0, 0.24]])
        return [tube(path, np.array([0.022, 0.008, 0.0045]), atlas.swatch(PLASTIC))]
    return []


def _rails(car: Car, atlas: Atlas) -> list[Mesh]:
    shape = car.shape
    x = np.linspace(shape.roof_front - 0.12, shape.roof_rear + 0.08, 14)
    rise = np.minimum(1, np.minimum(np.arange(14), np.arange(14)[::-1]) / 2)
    z = roof_height(shape, x) - 0.01 + 0.06 * rise
    y = np.full_like(x, shape.width / 2 * CABIN_WIDTH_SHARE * ROOF_WIDTH_SHARE * 0.97)
    paint = atlas.swatch(CHROME if car.chrome else PLASTIC)
    rail = tube(np.stack([x, y, z], axis=1), 0.017, paint)
    return [rail, mirrored(rail)]


def _spoiler(car: Car, atlas: Atlas) -> list[Mesh]:
    """Returns a spoiler on the boot, or above the rear window if the car has no boot."""
    shape = car.shape
    if shape.rear_glass_base - shape.rear < 0.35:
        half = shape.width / 2 * 0.48
        x, z = shape.roof_rear, float(roof_height(shape, np.array(shape.roof_rear))) + 0.03
        chord = np.array([[0.16, 0.005], [-0.16, -0.005], [-0.18, -0.02], [-0.02, -0.08]])
    else:
        half = shape.width / 2 * 0.70
        x, z = shape.rear + 0.10, float(shoulder_height(shape, np.array(shape.rear + 0.2))) + 0.03
        chord = np.array([[0.13, -0.01], [-0.02, 0.035], [-0.03, 0.02], [0.0, -0.03]])
    share = np.linspace(-1, 1, 13)
    rows = x + chord[:, :1] + 0.08 * share**2, half * share, z + chord[:, 1:] - 0.03 * share**4
    return [grid(np.stack(np.broadcast_arrays(*rows), axis=-1), atlas.swatch(paint_of(car)))]


def _wipers(car: Car, atlas: Atlas) -> list[Mesh]:
    foot = np.array([car.shape.windscreen_base - 0.02, 0.0, car.shape.cowl_height + 0.05])
    blade = foot + np.array([[0.0, 0.0, 0.0], [-0.04, 0.3, 0.02], [-0.08, 0.62, 0.035]])
    paint = atlas.swatch(PLASTIC)
    return [tube(blade + np.array([0.0, shift, 0.0]), 0.008, paint) for shift in (-0.62, 0.0)]


def fittings(car: Car, atlas: Atlas) -> Mesh:
    """Returns all fittings of a car as one mesh."""
    parts = _mirrors(car, atlas) + _antenna(car, atlas) + _wipers(car, atlas)
    if car.rails:
        parts += _rails(car, atlas)
    if car.spoiler:
        parts += _spoiler(car, atlas)
    return merge(parts)
