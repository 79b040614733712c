"""Wheels: tyre, rim with gaps between its spokes, brake disc."""

import numpy as np

from demo_studio.atlas import RUBBER, STEEL, Atlas, Material
from demo_studio.cars import Car
from demo_studio.mesh import Mesh, grid, merge, mirrored, moved

TYRE_WIDTH_SHARE = 0.64


def _lathe(profile: np.ndarray, texture: np.ndarray, sides: int = 40) -> Mesh:
    """Returns a surface of revolution about the y axis, from a profile of (radius, y), float [points, 2] in metres."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    radius, y = profile[:, :1], profile[:, 1:]
    points = np.stack([radius * np.cos(angle), np.broadcast_to(y, (len(y), len(angle))), radius * np.sin(angle)], -1)
    slope = np.gradient(profile, axis=0)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    out, along = slope[:, 1:], -slope[:, :1]
    normals = np.stack([out * np.cos(angle), np.broadcast_to(along, (len(y), len(angle))), out * np.sin(angle)], -1)
    return grid(points, texture, normals)


def _spoke(angle: float, hub: float, rim: float, width: float, texture: np.ndarray) -> Mesh:
    """Returns one spoke from the hub's to the rim's radius, metres, with rounded flanks."""
    out = np.linspace(hub * 0.7, rim, 5)[:, None]
    across = np.array([-1.0, -0.75, 0.0, 0.75, 1.0])
    half_width = width / 2 * np.linspace(1.15, 0.85, 5)[:, None]
    depth = -0.045 * np.abs(across) ** 6 - 0.02 * np.sin(np.pi * (out - hub) / (rim - hub) * 0.5) + 0.01
    side = across * half_width
    cos, sin = np.cos(angle), np.sin(angle)
    return grid(np.stack([out * cos - side * sin, depth, out * sin + side * cos], axis=-1), texture)


def _spoke_angles(car: Car) -> np.ndarray:
    if not car.twin_spokes:
        return np.arange(car.spokes) * 2 * np.pi / car.spokes
    pairs = np.arange(5) * 2 * np.pi / 5
    return np.concatenate([pairs - 0.17, pairs + 0.17])


def wheel(car: Car, atlas: Atlas) -> Mesh:
    """Returns the front left wheel around its hub; its outer face points along +y."""
    radius = car.shape.tyre_radius
    half = radius * TYRE_WIDTH_SHARE / 2
    rim = radius * car.rim_share
    rubber = atlas.swatch(RUBBER)
    metal = atlas.swatch(Material(car.rim_paint, 0.6, 0.3))
    shade = atlas.swatch(Material((0.16, 0.16, 0.165), 0.1, 0.1))
    steel = atlas.swatch(STEEL)
    # Profiles are pairs of radius and y.
    side = np.array([[rim, 0.8], [0.86 * radius, 1.02], [0.97 * radius, 0.86], [radius, 0.6]]) * (1, half)
    tyre = np.concatenate([side * (1, -1), side[::-1]])
    lip = np.array([[1.0, 0.8], [0.99, 0.84], [0.94, 0.82], [0.92, 0.7]]) * (rim, half)
    barrel = np.array([[0.92, 0.7], [0.90, 0.1], [0.93, -0.8]]) * (rim, half)
    face = half * 0.72
    hub = np.array([[0.24, -0.05], [0.23, 0.0], [0.14, 0.012], [0.005, 0.016]]) * (rim, 1)
    brake = np.array([[0.1, -0.03], [0.85, -0.03], [0.85, 0.0], [0.16, 0.0]]) * (rim, 1)
    count = 10 if car.twin_spokes else car.spokes
    width = rim * min(0.30, 2.05 / count)
    parts = [
        _lathe(tyre, rubber),
        _lathe(lip, metal),
        _lathe(barrel, shade),
        moved(_lathe(hub, metal, 24), (0, face, 0)),
        moved(_lathe(brake, steel, 32), (0, half * 0.05, 0)),
    ]
    parts += [moved(_spoke(angle, rim * 0.2, rim * 0.95, width, metal), (0, face, 0)) for angle in _spoke_angles(car)]
    return merge(parts)


def wheels(car: Car, atlas: Atlas) -> Mesh:
    """Returns all four wheels in place."""
    shape = car.shape
    one = wheel(car, atlas)
    track = shape.width / 2 * 0.985 - shape.tyre_radius * TYRE_WIDTH_SHARE / 2
    left = [moved(one, (x, track, shape.tyre_radius)) for x in (shape.wheelbase / 2, -shape.wheelbase / 2)]
    return merge(left + [mirrored(part) for part in left])
