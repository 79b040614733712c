"""The paint on a body: windows, seams, handles, roof; front and rear are in `faces`."""

import numpy as np

from demo_studio.atlas import CHROME, GAP, GLOSS_BLACK, PLASTIC, Atlas, Material, ellipse, paint_of, rounded
from demo_studio.bodies import (
    CABIN_BOXINESS,
    CABIN_WIDTH_SHARE,
    ROOF_WIDTH_SHARE,
    roof_height,
    shoulder_height,
)
from demo_studio.cars import Car, Shape
from demo_studio.faces import paint_front, paint_rear

FABRIC = Material((0.12, 0.11, 0.11), 0.02)


def _glass(brightness: float) -> Material:
    """Returns glass in front of a cabin of some brightness, 0..1."""
    return Material((0.94 * brightness, brightness, 0.99 * brightness), 1.2)


def _belt(shape: Shape, x: float) -> float:
    return float(shoulder_height(shape, np.array(x)))


def _pillar(shape: Shape, height: np.ndarray, front: bool) -> np.ndarray:
    """Returns x of the cabin's front or rear corner at given heights, metres."""
    foot = shape.windscreen_base if front else shape.rear_glass_base
    head = shape.roof_front if front else shape.roof_rear
    share = 0.5 ** (1 / CABIN_BOXINESS)
    foot_middle = (shape.windscreen_base + shape.rear_glass_base) / 2
    head_middle = (shape.roof_front + shape.roof_rear) / 2
    foot_x = foot_middle + share * (foot - foot_middle)
    head_x = head_middle + share * (head - head_middle)
    low, high = shoulder_height(shape, foot_x) - 0.03, roof_height(shape, head_x)
    return foot_x + (height - low) / (high - low) * (head_x - foot_x)


def _side_opening(shape: Shape, margin: float, rear_pillar: float) -> np.ndarray:
    """Returns the opening of the side windows, less a margin on all sides, float64 [corners, 2] in metres."""
    rise = np.linspace(0, 1, 6)
    low_front = _belt(shape, shape.windscreen_base - 0.2) + margin
    low_rear = _belt(shape, shape.rear_glass_base + 0.5) + 0.02 + margin
    high = shape.height - 0.125 - margin
    front_z, rear_z = low_front + rise * (high - low_front), high + rise * (low_rear - high)
    front_x = _pillar(shape, front_z, front=True) - 0.045 - margin
    rear_x = _pillar(shape, rear_z, front=False) + rear_pillar + margin
    top_x = np.linspace(front_x[-1], rear_x[0], 8)
    top_z = roof_height(shape, top_x) - 0.08 - margin
    x = np.concatenate([front_x[:-1], top_x, rear_x[1:]])
    z = np.concatenate([front_z[:-1], top_z, rear_z[1:]])
    return np.stack([x, z], axis=1)


def _door_seams(shape: Shape) -> tuple[float, float]:
    """Returns x of the front door's rear and front edge, metres."""
    front = shape.wheelbase / 2 - shape.tyre_radius - 0.14
    return front - (1.08 if shape.doors == 4 else 1.32), front


def _head_rest(atlas: Atlas, name: str, along: float, belt: float, half: float) -> None:
    back = np.array([[-1.6, 0.04], [1.6, 0.04], [1.2, 0.13], [-1.2, 0.13]]) * (half, 1)
    atlas.fill(name, ellipse((along, belt + 0.20), (half, 0.085)), _glass(0.10))
    atlas.fill(name, rounded(back + np.array((along, belt))), _glass(0.09))


def _side_windows(atlas: Atlas, car: Car, front: Material, rear: Material, generator: np.random.Generator) -> None:
    shape = car.shape
    pillar = {"sedan": 0.10, "coupe": 0.12, "convertible": 0.22}.get(car.body, generator.uniform(0.12, 0.24))
    frame = CHROME if car.chrome else GLOSS_BLACK
    atlas.fill("side", rounded(_side_opening(shape, 0.0, pillar)), frame)
    atlas.fill("side", rounded(_side_opening(shape, 0.014, pillar)), GLOSS_BLACK)
    opening = _side_opening(shape, 0.03, pillar)
    post, _ = _door_seams(shape)
    for low, high, glass in ((post + 0.035, 9.0, front), (-9.0, post - 0.035, rear)):
        pane = opening.copy()
        pane[:, 0] = np.clip(pane[:, 0], low, high)
        atlas.fill("side", pane, _glass(0.5 * glass.colour[1]))
        # The windows on the far side are visible through this one.
        middle = pane.mean(axis=0)
        atlas.fill("side", rounded((pane - middle) * (0.78, 0.62) + middle + (0, 0.03)), glass)
    for seat in (post + 0.17, post - 0.72):
        if seat > opening[:, 0].min() + 0.25:
            _head_rest(atlas, "side", seat, _belt(shape, seat), 0.09)
    if shape.doors == 4:
        x = max(-shape.wheelbase / 2 + 0.20, opening[:, 0].min() + 0.1)
        top = float(roof_height(shape, np.array(x))) - 0.11
        atlas.line("side", [[x, _belt(shape, x) + 0.04], [x - 0.03, top]], 0.03, GLOSS_BLACK)


def _screen(atlas: Atlas, shape: Shape, name: str, shares: tuple[float, float], glass: Material) -> None:
    """Paints windscreen or rear window with its black border; `shares` of the cabin's width at foot and head."""
    low = shape.cowl_height + 0.01 if name == "front" else shape.deck_height + 0.05
    high = shape.height - 0.085
    cabin = shape.width / 2 * CABIN_WIDTH_SHARE
    foot, head = cabin * shares[0], cabin * ROOF_WIDTH_SHARE * shares[1]
    corners = np.array([[-foot, low], [foot, low], [head, high], [-head, high]])
    middle = corners.mean(axis=0)
    inner = corners - np.sign(corners - middle) * 0.025
    atlas.fill(name, rounded(corners, 1), GLOSS_BLACK)
    atlas.fill(name, rounded(inner), _glass(0.6 * glass.colour[1]))
    atlas.fill(name, rounded((inner - middle) * (0.72, 0.42) + middle + (0, 0.06)), glass)
    for side in (-0.36, 0.36):
        _head_rest(atlas, name, side, middle[1] - 0.17, 0.13)


def _fabric_roof(atlas: Atlas, shape: Shape) -> None:
    """Paints the closed roof of a convertible: all of the cabin, before its windows are painted."""
    front, rear = shape.roof_front + 0.05, shape.rear_glass_base - 0.05
    belt = _belt(shape, rear) + 0.01
    atlas.fill("top", [[front, -1.2], [front, 1.2], [rear, 1.2], [rear, -1.2]], FABRIC)
    atlas.fill("side", [[front, 2], [rear, 2], [rear, belt], [front + 0.3, belt]], FABRIC)
    atlas.band("rear", belt, 2, FABRIC)


def _doors(atlas: Atlas, car: Car) -> None:
    shape = car.shape
    post, front = _door_seams(shape)
    axle, sill, belt = -shape.wheelbase / 2, shape.clearance + 0.10, _belt(shape, post)
    arch = shape.tyre_radius + 0.12
    rear = max(axle, shape.rear_glass_base + 0.15)
    edge = [[front + 0.05, belt], [front, belt - 0.25], [front, sill], [max(axle + arch, rear), sill]]
    atlas.line("side", edge, 0.005, GAP)
    atlas.line("side", [[post - 0.03, belt + 0.03], [post, belt - 0.15], [post, sill]], 0.005, GAP)
    if rear > axle + arch:
        atlas.line("side", [[rear, sill], [rear, belt + 0.02]], 0.005, GAP)
    elif shape.doors == 4:
        angle = np.linspace(0.25, 1.45, 9)
        curve = np.stack([axle + arch * np.cos(angle), shape.tyre_radius + arch * np.sin(angle)], axis=1)
        atlas.line("side", [*curve, (axle + 0.06, belt + 0.02)], 0.005, GAP)
    handle = CHROME if car.chrome else paint_of(car)
    for x in (post + 0.13, rear + 0.16)[: shape.doors // 2]:
        z = belt - 0.13
        atlas.fill("side", ellipse((x, z), (0.06, 0.035)), Material(tuple(0.45 * np.array(car.paint)), 0.6))
        atlas.line("side", [[x - 0.10, z], [x + 0.08, z - 0.004]], 0.022, GAP)
        atlas.line("side", [[x - 0.10, z + 0.010], [x + 0.08, z + 0.006]], 0.017, handle)


def _side(atlas: Atlas, car: Car) -> None:
    """Paints seams and cladding of the side below the windows."""
    shape = car.shape
    low, nose, rear = shape.clearance, shape.front - 0.62, shape.rear
    atlas.band("side", 0, low + 0.04, PLASTIC)
    if car.bumper_paint:
        cladding, radius = Material(car.bumper_paint, 0.2), shape.tyre_radius + 0.12
        for axle in (-shape.wheelbase / 2, shape.wheelbase / 2):
            atlas.fill("side", ellipse((axle, shape.tyre_radius), (radius, radius)), cladding)
        atlas.band("side", 0, low + 0.10, cladding)
        atlas.fill("side", [[4.0, 0.0], [4.0, low + 0.28], [nose + 0.04, low + 0.28], [nose, 0.0]], cladding)
        atlas.fill("side", [[-4.0, 0.0], [-4.0, low + 0.34], [rear + 0.42, low + 0.34], [rear + 0.5, 0.0]], cladding)
        atlas.band("side", 0, low + 0.04, PLASTIC)
    bumper = [[nose, shape.nose_height], [nose + 0.1, shape.nose_height - 0.2], [nose, low + 0.1]]
    atlas.line("side", bumper, 0.005, GAP)
    atlas.line("side", [[rear + 0.55, shape.deck_height - 0.2], [rear + 0.4, low + 0.2]], 0.005, GAP)
    _doors(atlas, car)


def _rectangle(front: float, rear: float, half: float) -> np.ndarray:
    """Returns the corners of a rectangle on the top plan, metres."""
    return np.array([[front, -half], [front, half], [rear, half], [rear, -half]])


def _top(atlas: Atlas, car: Car) -> None:
    shape = car.shape
    cowl, half = shape.windscreen_base, shape.width / 2
    atlas.fill("top", _rectangle(cowl + 0.03, cowl - 0.2, 0.8), PLASTIC)
    # The bonnet is seen at a flat angle, at which a thin dark line would break into dots.
    soft_gap = Material(tuple(0.6 * np.array(car.paint)), 1.0, 0.5 * car.metallic)
    for side in (-half, half):
        atlas.line("top", [[cowl - 0.1, 0.84 * side], [shape.front - 0.2, 0.70 * side]], 0.012, soft_gap)
    if car.roof == "sunroof":
        pane = _rectangle(shape.roof_front - 0.18, shape.roof_front - 0.70, 0.42)
        atlas.fill("top", rounded(pane), GLOSS_BLACK)
    elif car.roof == "glass":
        pane = _rectangle(shape.roof_front - 0.18, shape.roof_rear + 0.25, 0.42)
        atlas.fill("top", rounded(pane), GLOSS_BLACK)
    elif car.roof == "black":
        atlas.fill("top", _rectangle(shape.roof_front + 0.1, shape.roof_rear - 0.1, 1.0), GLOSS_BLACK)
    if car.body == "pickup":
        atlas.fill("top", rounded(_rectangle(shape.rear_glass_base + 0.2, shape.rear + 0.1, 0.82), 1), FABRIC)


def paint(car: Car) -> Atlas:
    """Returns the atlas of a car, without the swatches of its fittings."""
    generator = np.random.default_rng(car.detail_seed)
    atlas = Atlas(paint_of(car))
    _top(atlas, car)
    _side(atlas, car)
    if car.body == "convertible":
        _fabric_roof(atlas, car.shape)
    front, rear = _glass(0.32), _glass(0.31 - 0.24 * car.tint)
    _side_windows(atlas, car, front, rear, generator)
    _screen(atlas, car.shape, "front", (0.89, 0.86), front)
    _screen(atlas, car.shape, "rear", (0.80, 0.82), rear)
    paint_front(atlas, car, generator)
    paint_rear(atlas, car, generator)
    return atlas
