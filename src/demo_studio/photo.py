"""One car on its turntable: what its 16 photos share, and the photos themselves."""

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from demo_studio import raster, studio
from demo_studio.atlas import DARK
from demo_studio.bodies import cabin, lower_body
from demo_studio.cars import car_generator, draw_car
from demo_studio.fittings import fittings
from demo_studio.livery import paint
from demo_studio.mesh import merge
from demo_studio.studio import FLOOR_REACH, FLOOR_SCALE, HEIGHT, WIDTH, Studio
from demo_studio.wheels import wheels

NOISE_SPARE = 1 << 20
NOISE_SPREAD, NOISE_MIDDLE = 1.5, 8


@dataclass(frozen=True)
class Scene:
    """What all views of one car share.

    Attributes:
        studio: camera and light.
        positions: float32 [vertices, 3], metres.
        attributes: float32 [vertices, 5]: normal, atlas column and row.
        triangles: int32 [triangles, 3].
        surfaces: int32 [triangles].
        atlas: uint8 [rows, columns, 4]: RGB and the index of a finish.
        finishes: float32 [finishes, 2]: gloss and metal.
        background: uint8 [HEIGHT, WIDTH, 3].
        marks: uint8 [size, size], see `studio.floor_marks`.
    """

    studio: Studio
    positions: np.ndarray
    attributes: np.ndarray
    triangles: np.ndarray
    surfaces: np.ndarray
    atlas: np.ndarray
    finishes: np.ndarray
    background: np.ndarray
    marks: np.ndarray


def build_scene(seed: int, number: int) -> Scene:
    """Returns the scene of car `number` of the world named by `seed`."""
    car = draw_car(seed, number)
    place = studio.draw_studio(seed, number, car.shape.front - car.shape.rear)
    atlas = paint(car)
    mesh = merge([
        lower_body(car.shape, atlas.swatch(DARK)), cabin(car.shape), wheels(car, atlas), fittings(car, atlas),
    ])  # fmt: skip
    return Scene(
        studio=place,
        positions=mesh.positions,
        attributes=np.concatenate([mesh.normals, mesh.texture], axis=1),
        triangles=mesh.triangles,
        surfaces=mesh.surfaces,
        atlas=atlas.texels(),
        finishes=atlas.finishes(),
        background=studio.background(place),
        marks=studio.floor_marks(place, car.shape),
    )


@lru_cache(maxsize=1)
def _noise() -> np.ndarray:
    """Returns sensor noise around NOISE_MIDDLE, uint8, long enough for a picture from any start."""
    generator = np.random.default_rng(0)
    field = generator.standard_normal(HEIGHT * WIDTH * 3 + NOISE_SPARE, dtype=np.float32)
    field *= NOISE_SPREAD
    field += NOISE_MIDDLE + 0.5
    return field.astype(np.uint8)


def _add_noise(picture: np.ndarray, generator: np.random.Generator) -> None:
    """Adds noise to a picture, uint8 [HEIGHT, WIDTH, 3], in place, and changes its exposure slightly."""
    start, exposure = generator.integers(NOISE_SPARE), generator.integers(-1, 2)
    noise = _noise()[start : start + picture.size].reshape(picture.shape)
    cv2.add(picture, noise, dst=picture)
    cv2.subtract(picture, (float(NOISE_MIDDLE + exposure),) * 4, dst=picture)


def _light_floor(scene: Scene, turn: np.ndarray, picture: np.ndarray) -> None:
    """Draws the turntable's marks and the car's shadow on a picture, uint8 [HEIGHT, WIDTH, 3], in place."""
    to_car = np.array([[0, 1 / FLOOR_SCALE, -FLOOR_REACH], [1 / FLOOR_SCALE, 0, -FLOOR_REACH], [0, 0, 1]])
    in_studio = np.array([[*turn[0, :2], 0], [*turn[1, :2], 0], [0, 0, 1]])
    to_picture = studio.camera_matrix(scene.studio)[:, [0, 1, 3]] @ in_studio @ to_car
    size = scene.marks.shape[0]
    corners = to_picture @ np.array([[0, 0, size, size], [0, size, size, 0], [1, 1, 1, 1]])
    rows = np.clip(corners[1] / corners[2], 0, HEIGHT).astype(int)
    top, bottom = rows.min(), rows.max()
    lift = np.array([[1, 0, 0], [0, 1, -top], [0, 0, 1]])
    light = cv2.warpPerspective(
        scene.marks, lift @ to_picture, (WIDTH, bottom - top), flags=cv2.INTER_LINEAR, borderValue=255
    )
    raster.darken(picture[top:bottom], light)


def _draw_car(scene: Scene, turn: np.ndarray, picture: np.ndarray, mask: np.ndarray) -> None:
    matrix = studio.camera_matrix(scene.studio)
    projected = scene.positions @ (matrix[:, :3] @ turn).T + matrix[:, 3]
    nearness = 1 / projected[:, 2]
    places = projected[:, :2] * nearness[:, None]
    left, top = np.clip(np.floor(places.min(axis=0)).astype(int) - 1, 0, (WIDTH, HEIGHT))
    right, bottom = np.clip(np.ceil(places.max(axis=0)).astype(int) + 1, 0, (WIDTH, HEIGHT))
    corners = np.empty((len(places), 3), np.float32)
    corners[:, :2] = raster.SAMPLES * (places - (left, top))
    corners[:, 2] = nearness
    area = np.s_[top:bottom, left:right]
    eye = _eye(scene.studio, turn, (left, top))
    paint = (scene.atlas, scene.finishes)
    raster.draw(corners, scene.triangles, scene.surfaces, scene.attributes, paint, eye, picture[area], mask[area])


def _eye(place: Studio, turn: np.ndarray, corner: tuple[int, int]) -> np.ndarray:
    """Returns `eye` of `raster.draw`, the camera in the car's space, for an area of the picture."""
    rays = turn.T @ np.linalg.inv(studio.camera_matrix(place)[:, :3])
    across, down = rays[:, 0] / raster.SAMPLES, rays[:, 1] / raster.SAMPLES
    first = rays @ (*corner, 1)
    camera = turn.T @ (0.0, -place.distance, place.camera_height)
    return np.stack([camera, first, across, down, turn[0], turn[1]])


def take_photo(scene: Scene, seed: int, number: int, view: int) -> tuple[np.ndarray, np.ndarray]:
    """Renders one view of a scene.

    Args:
        scene: of car `number` of the world named by `seed`.
        seed: 0 or more.
        number: of the car.
        view: 1..16.

    Returns:
        The photo, uint8 [HEIGHT, WIDTH, 3] RGB, and the mask, uint8 [HEIGHT, WIDTH] of {0, 1}.
    """
    turn = studio.turn_of_view(view)
    picture = scene.background.copy()
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    _light_floor(scene, turn, picture)
    _draw_car(scene, turn, picture, mask)
    _add_noise(picture, car_generator(seed, number, 1 + view))
    return picture, mask
