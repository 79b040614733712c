"""The shell of a car: a lower body with wheel arches and a cabin on top of it."""

from dataclasses import dataclass

import numpy as np

from demo_studio.atlas import plan
from demo_studio.cars import Shape
from demo_studio.mesh import Mesh, box, grid, grid_normals, merge, mirrored

CABIN_BOXINESS = 7.0
CABIN_WIDTH_SHARE = 0.93
ROOF_WIDTH_SHARE = 0.70
ARCH_GAP = 0.05
WALL_SHARES = np.unique(np.concatenate([np.linspace(0, 1, 18), [0.02, 0.70, 0.73, 0.76, 0.93, 0.98]]))
DECK_SHARES = np.linspace(0, 1, 11)[1:] ** 1.3


def shoulder_height(shape: Shape, x: np.ndarray) -> np.ndarray:
    """Returns the height of the lower body's upper edge (bonnet, belt line, boot) at x, metres."""
    hood = shape.windscreen_base + 0.05
    tail = shape.deck_height - 0.05 * (shape.rear_glass_base - shape.rear)
    stations = [shape.rear, shape.rear + 0.12, shape.rear_glass_base, hood, shape.front - 0.45, shape.front]
    levels = [
        tail - 0.06, tail, shape.deck_height, shape.cowl_height,
        shape.nose_height + 0.08, shape.nose_height,
    ]  # fmt: skip
    dense = np.linspace(shape.rear - 0.5, shape.front + 0.5, 600)
    window = np.hanning(61)
    smooth = np.convolve(np.pad(np.interp(dense, stations, levels), 30, "edge"), window / window.sum(), "valid")
    return np.interp(x, dense, smooth)


def roof_height(shape: Shape, x: np.ndarray) -> np.ndarray:
    """Returns the height of the roof's edge at x, metres."""
    middle = 0.35 * shape.roof_rear + 0.65 * shape.roof_front
    span = shape.roof_front - shape.roof_rear + 0.6
    return shape.height - 0.05 - 0.16 * ((np.asarray(x) - middle) / span) ** 2


@dataclass(frozen=True)
class Outline:
    """Half of a superellipse seen from above, from the front around the left side to the rear.

    Attributes:
        x: float64 [points], metres.
        y: float64 [points], metres, 0 at both ends.
        front_corner: index of the point between front and side.
        rear_corner: index of the point between side and rear.
    """

    x: np.ndarray
    y: np.ndarray
    front_corner: int
    rear_corner: int


def outline(ends: tuple[float, float], half_width: float, exponent: float, stations: np.ndarray) -> Outline:
    """Returns the superellipse between `ends`, x of the rear and x of the front.

    `stations`, float [n], are rising points of the side between -1 and 1; points of the two ends are added.
    """
    middle, half_length = (ends[0] + ends[1]) / 2, (ends[1] - ends[0]) / 2
    corner = 0.5 ** (1 / exponent)
    across = corner * np.linspace(0, 1, 12)
    cap = (1 - across**exponent) ** (1 / exponent)
    inside = stations[(stations > -corner) & (stations < corner)]
    side = (1 - np.abs(inside) ** exponent) ** (1 / exponent)
    x = np.concatenate([cap, inside[::-1], -cap[::-1]])
    y = np.concatenate([across, side[::-1], across[::-1]])
    return Outline(middle + half_length * x, half_width * y, len(across) - 1, len(across) + len(inside))


def _side_stations(shape: Shape) -> np.ndarray:
    """Returns points of the body's side in -1..1, close together at the wheel arches."""
    arch = (shape.tyre_radius + ARCH_GAP) * np.cos(np.linspace(0, np.pi, 19))
    wheels = np.concatenate([arch - shape.wheelbase / 2, arch + shape.wheelbase / 2])
    middle, half_length = (shape.front + shape.rear) / 2, (shape.front - shape.rear) / 2
    return np.unique(np.concatenate([np.linspace(-1, 1, 28), (wheels - middle) / half_length]))


def _skirt(shape: Shape, x: np.ndarray) -> np.ndarray:
    """Returns the height of the body's lower edge (sills and bumpers) at x without wheel arches, metres."""
    to_end = np.minimum(shape.front - x, x - shape.rear)
    return shape.clearance + 0.05 * np.clip(1 - to_end / 0.5, 0, 1)


def _arches(shape: Shape, x: np.ndarray) -> np.ndarray:
    """Returns the height of the wheel arches at x, metres; 0 between them."""
    radius = shape.tyre_radius + ARCH_GAP
    height = np.zeros_like(x)
    for axle in (-shape.wheelbase / 2, shape.wheelbase / 2):
        rise = np.sqrt(np.clip(radius**2 - (x - axle) ** 2, 0, None))
        height = np.maximum(height, np.where(rise > 0, shape.tyre_radius + rise, 0))
    return height


def _side_profile(level: np.ndarray) -> np.ndarray:
    """Returns the share of the full half-width at a level between sill (0) and shoulder (1)."""
    levels = [0.0, 0.05, 0.12, 0.22, 0.40, 0.60, 0.715, 0.745, 0.80, 0.90, 0.95, 0.98, 1.0]
    shares = [0.930, 0.955, 0.957, 0.972, 0.985, 0.994, 1.0, 0.993, 0.989, 0.978, 0.965, 0.945, 0.915]
    return np.interp(level, levels, shares)


def _end_setback(level: np.ndarray) -> np.ndarray:
    """Returns how far nose and tail are behind the bumper at a level between sill and shoulder, metres."""
    levels = [0.0, 0.12, 0.35, 0.52, 0.60, 0.85, 0.95, 1.0]
    return np.interp(level, levels, [0.10, 0.03, 0.0, 0.012, 0.045, 0.085, 0.12, 0.19])


def _lower_points(shape: Shape, half: Outline, lowest: np.ndarray) -> np.ndarray:
    """Returns points of the lower body's left half: rows from the lower edge up and over to the middle.

    `lowest`, metres, has one value for each column; points that would be lower are raised to it.
    """
    low, high = _skirt(shape, half.x), shoulder_height(shape, half.x)
    z = np.maximum(low + WALL_SHARES[:, None] * (high - low), lowest)
    level = (z - shape.clearance) / (high - shape.clearance)
    middle, reach = (shape.front + shape.rear) / 2, (shape.front - shape.rear) / 2
    toward_end = (half.x - middle) / reach
    x = half.x - np.sign(toward_end) * np.abs(toward_end) ** 8 * _end_setback(level)
    y = half.y * _side_profile(level) + _arch_flare(shape, half.x, z)
    wall = np.stack([x, y, z], axis=-1)

    inward = DECK_SHARES[:, None]
    deck_x = x[-1] + inward * 0.96 * (middle - x[-1])
    deck_y = y[-1] * (1 - inward)
    crown = 0.045 * (1 - (deck_y / (shape.width / 2)) ** 2)
    edge_crown = 0.045 * (1 - (y[-1] / (shape.width / 2)) ** 2)
    ease = np.minimum(1, 3 * inward)
    deck_z = shoulder_height(shape, deck_x) + crown - edge_crown * (1 - ease) + 0.012 * ease
    return np.concatenate([wall, np.stack([deck_x, deck_y, deck_z], axis=-1)])


def _lower_normals(shape: Shape, half: Outline, points: np.ndarray) -> np.ndarray:
    """Returns normals of `_lower_points`, computed without wheel arches, whose edges would bend them."""
    whole = _lower_points(shape, half, np.zeros_like(half.x))
    normals = grid_normals(whole)
    wall = len(WALL_SHARES)
    for column in range(len(half.x)):
        for axis in range(3):
            normals[:wall, column, axis] = np.interp(
                points[:wall, column, 2], whole[:wall, column, 2], normals[:wall, column, axis]
            )
    return normals


def _arch_flare(shape: Shape, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns how far the wings bulge out around the wheel arches, metres."""
    flare = np.zeros_like(z)
    for axle in (-shape.wheelbase / 2, shape.wheelbase / 2):
        distance = np.hypot(x - axle, z - shape.tyre_radius) - shape.tyre_radius - ARCH_GAP
        flare += 0.012 * np.exp(-((distance / 0.11) ** 2))
    return flare


def _patches(points: np.ndarray, normals: np.ndarray, half: Outline, wall_rows: int) -> list[Mesh]:
    """Returns the parts of a half shell, one for each plan of the atlas."""
    parts = []
    columns = (
        ("front", slice(0, half.front_corner + 1), 1),
        ("side", slice(half.front_corner, half.rear_corner + 1), 0),
        ("rear", slice(half.rear_corner, None), 1),
    )
    for name, column, first_axis in columns:
        part = points[:wall_rows, column]
        texture = plan(name, part[..., first_axis], part[..., 2])
        parts.append(grid(part, texture, normals[:wall_rows, column]))
    top = points[wall_rows - 1 :]
    parts.append(grid(top, plan("top", top[..., 0], top[..., 1]), normals[wall_rows - 1 :]))
    return parts


def _underside(shape: Shape, edge: np.ndarray, dark: np.ndarray) -> list[Mesh]:
    """Returns the inner lips of sills and arches, and a block for floor pan, engine and boot between the wheels."""
    inner = edge * (0.94, 0.62, 1.0)
    low = (shape.rear * 0.9, -shape.width / 2 * 0.60, shape.clearance + 0.04)
    high = (shape.front * 0.9, shape.width / 2 * 0.60, shape.nose_height - 0.05)
    lip = grid(np.stack([inner, edge]), dark)
    return [lip, mirrored(lip), box(low, high, dark)]


def lower_body(shape: Shape, dark: np.ndarray) -> Mesh:
    """Returns wings, doors up to the belt line, bumpers, bonnet, boot; `dark` is the underside's atlas pixel."""
    half = outline((shape.rear, shape.front), shape.width / 2, shape.boxiness, _side_stations(shape))
    points = _lower_points(shape, half, _arches(shape, half.x))
    parts = _patches(points, _lower_normals(shape, half, points), half, len(WALL_SHARES))
    return merge(parts + [mirrored(part) for part in parts] + _underside(shape, points[0], dark))


def cabin(shape: Shape) -> Mesh:
    """Returns windscreen, side windows, rear window and roof as one shell."""
    stations = np.linspace(-1, 1, 24)
    half_width = shape.width / 2 * CABIN_WIDTH_SHARE
    foot = outline((shape.rear_glass_base, shape.windscreen_base), half_width, CABIN_BOXINESS, stations)
    roof_width = half_width * ROOF_WIDTH_SHARE * (1.07 if shape.boxiness > 5.5 else 1.0)
    head = outline((shape.roof_rear, shape.roof_front), roof_width, CABIN_BOXINESS, stations)
    rise = np.linspace(0, 1, 10)[:, None]
    bulge = np.sin(np.pi * rise)
    x = foot.x + rise * (head.x - foot.x) + 0.05 * bulge * np.sign(head.x) * (np.abs(head.y) < roof_width * 0.9)
    y = foot.y + rise * (head.y - foot.y) + 0.045 * bulge * foot.y
    bottom = shoulder_height(shape, foot.x) - 0.03
    z = bottom + rise * (roof_height(shape, head.x) - bottom)
    wall = np.stack([x, y, z], axis=-1)

    inward = np.linspace(0, 1, 9)[1:, None] ** 1.4
    middle = (shape.roof_front + shape.roof_rear) / 2
    roof_x = head.x + inward * 0.97 * (middle - head.x)
    roof_y = head.y * (1 - inward)
    crown = 0.06 * np.minimum(1, 2.5 * inward) ** 0.6
    roof = np.stack([roof_x, roof_y, roof_height(shape, roof_x) + crown], axis=-1)
    points = np.concatenate([wall, roof])
    parts = _patches(points, grid_normals(points), foot, len(wall))
    return merge(parts + [mirrored(part) for part in parts])
