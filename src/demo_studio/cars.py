"""The shape, colours and trim of each car, drawn from the seed."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True)
class Shape:
    """Proportions of a body in metres.

    x counts forward from the middle of the wheelbase, z up from the floor.
    """

    wheelbase: float
    front_overhang: float
    rear_overhang: float
    width: float
    height: float
    clearance: float
    tyre_radius: float
    nose_height: float
    cowl_height: float
    deck_height: float
    windscreen_base: float
    roof_front: float
    roof_rear: float
    rear_glass_base: float
    boxiness: float
    doors: int

    @property
    def front(self) -> float:
        """x of the foremost point, metres."""
        return self.wheelbase / 2 + self.front_overhang

    @property
    def rear(self) -> float:
        """x of the rearmost point, metres."""
        return -self.wheelbase / 2 - self.rear_overhang


@dataclass(frozen=True)
class Car:
    """One car: shape, paint and fittings. Colours are RGB in 0..1, as in a photo."""

    body: str
    shape: Shape
    paint: tuple[float, float, float]
    metallic: float
    bumper_paint: tuple[float, float, float] | None
    rim_paint: tuple[float, float, float]
    spokes: int
    twin_spokes: bool
    rim_share: float
    grille_bars: int
    chrome: bool
    tint: float
    roof: str
    rails: bool
    spoiler: bool
    antenna: str
    detail_seed: int


SHAPES = {
    "sedan": Shape(2.78, 0.92, 1.08, 1.84, 1.46, 0.19, 0.335, 0.77, 0.97, 1.05, 1.02, 0.20, -0.80, -1.62, 5.0, 4),
    "coupe": Shape(2.72, 0.90, 1.02, 1.84, 1.37, 0.17, 0.340, 0.74, 0.93, 1.00, 0.85, 0.02, -0.62, -1.72, 4.6, 2),
    "hatchback": Shape(2.56, 0.84, 0.70, 1.75, 1.49, 0.19, 0.315, 0.80, 0.98, 1.02, 1.02, 0.30, -1.35, -1.86, 5.0, 4),
    "wagon": Shape(2.78, 0.92, 1.08, 1.83, 1.49, 0.19, 0.335, 0.77, 0.97, 1.04, 1.02, 0.20, -1.75, -2.34, 5.2, 4),
    "suv": Shape(2.75, 0.90, 0.96, 1.90, 1.70, 0.24, 0.370, 0.98, 1.13, 1.17, 1.02, 0.32, -1.65, -2.22, 6.0, 4),
    "pickup": Shape(3.55, 0.95, 1.22, 2.00, 1.88, 0.30, 0.400, 1.04, 1.22, 1.26, 1.30, 0.65, -0.70, -0.92, 7.5, 4),
    "van": Shape(3.00, 0.95, 1.06, 1.96, 1.75, 0.20, 0.345, 0.88, 1.08, 1.10, 1.62, 0.75, -2.05, -2.42, 6.5, 4),
    "convertible": Shape(
        2.50, 0.86, 0.86, 1.80, 1.30, 0.16, 0.325, 0.71, 0.90, 0.95, 0.62, -0.02, -0.55, -1.28, 4.4, 2
    ),
}
"""Typical body of each kind."""

BODY_SHARES = {
    "sedan": 0.32, "suv": 0.23, "hatchback": 0.12, "coupe": 0.10,
    "wagon": 0.07, "pickup": 0.06, "van": 0.05, "convertible": 0.05,
}  # fmt: skip
"""Probability of each kind of body."""

PAINTS = (
    # probability, colour, share of metal flake
    (0.22, (0.93, 0.93, 0.92), 0.0),
    (0.16, (0.74, 0.75, 0.76), 0.9),
    (0.13, (0.45, 0.46, 0.48), 0.8),
    (0.19, (0.06, 0.06, 0.07), 0.1),
    (0.05, (0.66, 0.62, 0.54), 0.8),
    (0.06, (0.12, 0.18, 0.42), 0.6),
    (0.03, (0.50, 0.62, 0.76), 0.8),
    (0.08, (0.62, 0.05, 0.08), 0.4),
    (0.03, (0.80, 0.08, 0.07), 0.0),
    (0.02, (0.24, 0.34, 0.24), 0.5),
    (0.02, (0.30, 0.20, 0.15), 0.6),
    (0.01, (0.88, 0.52, 0.10), 0.2),
)


def car_generator(seed: int, car: int, purpose: int) -> np.random.Generator:
    """Returns random numbers of one car for one purpose, independent of all others."""
    return np.random.default_rng([seed, car, purpose])


def _vary(shape: Shape, generator: np.random.Generator) -> Shape:
    """Returns a body similar to the typical one of its kind."""
    length, breadth, height, small = 1 + generator.normal(0, (0.02, 0.012, 0.012, 0.03))
    return replace(
        shape,
        wheelbase=shape.wheelbase * length,
        front_overhang=shape.front_overhang * length,
        rear_overhang=shape.rear_overhang * length * (2 - small),
        width=shape.width * breadth,
        height=shape.height * height,
        tyre_radius=shape.tyre_radius * (0.5 + 0.5 * height),
        nose_height=shape.nose_height * small,
        windscreen_base=shape.windscreen_base * length + generator.normal(0, 0.03),
        roof_front=shape.roof_front * length + generator.normal(0, 0.04),
        roof_rear=shape.roof_rear * length + generator.normal(0, 0.05),
        rear_glass_base=shape.rear_glass_base * length,
        boxiness=shape.boxiness + generator.normal(0, 0.4),
    )


def draw_car(seed: int, car: int) -> Car:
    """Returns car number `car` (0 and up) of the world named by `seed`."""
    generator = car_generator(seed, car, 0)
    body = str(generator.choice(list(BODY_SHARES), p=list(BODY_SHARES.values())))
    _, paint, metallic = PAINTS[generator.choice(len(PAINTS), p=[entry[0] for entry in PAINTS])]
    shade = np.clip(np.array(paint) * generator.normal(1, 0.05) + generator.normal(0, 0.015, 3), 0.03, 0.95)
    tall = body in {"suv", "wagon", "van"}
    rim_shades = ((0.86, 0.86, 0.87), (0.74, 0.74, 0.76), (0.55, 0.55, 0.57), (0.10, 0.10, 0.11))
    roofs = ("paint", "sunroof", "glass", "black")
    return Car(
        body=body,
        shape=_vary(SHAPES[body], generator),
        paint=tuple(shade),
        metallic=metallic,
        bumper_paint=(0.16, 0.16, 0.17) if body in {"suv", "pickup"} and generator.random() < 0.5 else None,
        rim_paint=rim_shades[generator.choice(4, p=(0.45, 0.25, 0.15, 0.15))],
        spokes=int(generator.integers(5, 11)),
        twin_spokes=bool(generator.random() < 0.3),
        rim_share=generator.uniform(0.66, 0.76),
        grille_bars=int(generator.integers(1, 7)),
        chrome=bool(generator.random() < 0.5),
        tint=generator.uniform(0.25, 0.9),
        roof="fabric" if body == "convertible" else str(generator.choice(roofs, p=(0.55, 0.3, 0.1, 0.05))),
        rails=tall and bool(generator.random() < 0.6),
        spoiler=body in {"coupe", "hatchback", "sedan", "suv"} and bool(generator.random() < 0.45),
        antenna=str(generator.choice(("rod", "fin", "none"), p=(0.45, 0.4, 0.15))),
        detail_seed=int(generator.integers(2**31)),
    )
