"""The studio around the car: camera, curved wall with lettering, floor with a turntable."""

# Numba infers the types of its functions.
# ruff: noqa: ANN001, ANN202

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numba
import numpy as np
from numpy.typing import ArrayLike

from demo_studio.cars import Shape, car_generator

WIDTH, HEIGHT = 1918, 1280
TABLE_RADIUS = 3.05
FLOOR_SCALE = 230
FLOOR_REACH = 3.35
LETTER_SCALE = 66
WORD = "STUDIO"
LETTER_HEIGHT, LETTER_GAP = 1.78, 0.85


@dataclass(frozen=True)
class Studio:
    """Camera, light and state of the studio for one car; metres unless stated otherwise.

    The turntable's middle is the origin, x points to the right of the picture, y away from the camera, z up.

    Attributes:
        distance: from the camera to the turntable's middle, along the floor.
        camera_height: above the floor.
        focal: focal length, pixels.
        horizon: row of the picture at the camera's height.
        centre_column: column of the picture straight ahead.
        pan: angle of the camera to the left, radians.
        wall_radius: of the round wall.
        wall_middle: x and y of the round wall's middle.
        letters_left: start of the lettering along the wall, measured from straight behind the table.
        wall_tint, floor_tint: RGB of wall and floor in 0..1, as in a photo.
        dirt: wear of the floor, 0..1.
        front_edge: whether the near edge of the floor is visible.
        seed: of the floor's marks.
    """

    distance: float
    camera_height: float
    focal: float
    horizon: float
    centre_column: float
    pan: float
    wall_radius: float
    wall_middle: tuple[float, float]
    letters_left: float
    wall_tint: tuple[float, float, float]
    floor_tint: tuple[float, float, float]
    dirt: float
    front_edge: bool
    seed: int


def draw_studio(seed: int, car: int, length: float) -> Studio:
    """Returns the studio for car number `car`, `length` metres long, of the world named by `seed`."""
    generator = car_generator(seed, car, 1)
    warm = generator.normal(0, 0.005)
    exposure = generator.normal(1, 0.02)
    wall = exposure * np.array([0.955 + warm, 0.953, 0.945 - warm])
    floor = exposure * generator.uniform(0.65, 0.76) * np.array([0.985 + warm, 1.0, 1.01 - warm])
    return Studio(
        distance=generator.normal(6.3, 0.08),
        camera_height=generator.uniform(1.60, 1.82),
        # Otherwise the longest cars would not fit into the picture.
        focal=generator.uniform(1700, 2000) * min(1.0, 5.0 / length),
        horizon=generator.uniform(260, 365),
        centre_column=959.0 + generator.normal(0, 12),
        pan=generator.normal(0, 0.012),
        wall_radius=13.0,
        wall_middle=(-0.8 + generator.normal(0, 0.15), -5.0 + generator.normal(0, 0.15)),
        letters_left=-6.25 + generator.normal(0, 0.3),
        wall_tint=tuple(wall),
        floor_tint=tuple(floor),
        dirt=generator.uniform(0.1, 1.0),
        front_edge=bool(generator.random() < 0.12),
        seed=int(generator.integers(2**31)),
    )


def camera_matrix(studio: Studio) -> np.ndarray:
    """Returns the projection of studio points, float64 [3, 4]: homogeneous metres to pixel x, y and depth in metres."""
    pitch = np.arctan2(HEIGHT / 2 - studio.horizon, studio.focal)
    ahead = np.array([-np.sin(studio.pan) * np.cos(pitch), np.cos(studio.pan) * np.cos(pitch), -np.sin(pitch)])
    right = np.array([np.cos(studio.pan), np.sin(studio.pan), 0.0])
    down = np.cross(ahead, right)
    lens = np.array([[studio.focal, 0, studio.centre_column], [0, studio.focal, HEIGHT / 2], [0, 0, 1]])
    turn = lens @ np.stack([right, down, ahead])
    place = np.array([0.0, -studio.distance, studio.camera_height])
    return np.concatenate([turn, -(turn @ place)[:, None]], axis=1)


def turn_of_view(view: int) -> np.ndarray:
    """Returns the rotation of a car's points into the studio, float64 [3, 3]; the car of view 1 faces the camera."""
    angle = (view - 1) * np.pi / 8
    forward = (-np.sin(angle), -np.cos(angle), 0.0)
    left = (np.cos(angle), -np.sin(angle), 0.0)
    return np.array([forward, left, (0.0, 0.0, 1.0)]).T


def _arc(middle: ArrayLike, radii: ArrayLike, start: float, end: float) -> np.ndarray:
    """Returns points of an arc between two angles in degrees, float64 [40, 2]."""
    angle = np.radians(np.linspace(start, end, 40))
    return np.array(middle) + np.array(radii) * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _letter_strokes(letter: str, overhang: float) -> list[np.ndarray]:
    """Returns the smooth middle lines of a letter of WORD in a box one unit high, y downward.

    `overhang` is half the thickness of the strokes; straight strokes end that far outside the box.
    """
    top, bottom = _arc((0.36, 0.25), (0.34, 0.25), -25, -270), _arc((0.36, 0.75), (0.36, 0.25), -90, 155)
    upright = np.array([[0.0, -overhang], [0.0, 1 + overhang]])
    bowl = _arc((0.38, 0.5), (0.45, 0.5), -90, 90)
    cup = _arc((0.4, 0.6), (0.4, 0.4), 180, 0)
    strokes = {
        "S": [np.concatenate([top, bottom[1:]])],
        "T": [np.array([[-overhang, 0.0], [0.82 + overhang, 0.0]]), upright + np.array([0.41, 0])],
        "U": [np.concatenate([[[0.0, -overhang]], cup, [[0.8, -overhang]]])],
        "D": [upright, np.concatenate([[[-overhang, 0.0]], bowl, [[-overhang, 1.0]]])],
        "I": [upright],
        "O": [_arc((0.5, 0.5), (0.5, 0.5), 0, 200), _arc((0.5, 0.5), (0.5, 0.5), 180, 380)],
    }
    return strokes[letter]


def _thick(path: np.ndarray, thickness: float) -> np.ndarray:
    """Returns the outline of a stroke with flat ends, float64 [2 points, 2], from its middle line."""
    direction = np.gradient(path, axis=0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    aside = direction[:, ::-1] * (-1, 1) * thickness / 2
    return np.concatenate([path + aside, (path - aside)[::-1]])


@lru_cache(maxsize=1)
def _lettering() -> np.ndarray:
    """Returns the lettering's coverage of the wall: uint8 [rows, columns], the last row at the floor."""
    picture = np.zeros((round(2.0 * LETTER_SCALE), round(14.0 * LETTER_SCALE)), np.uint8)
    left = 0.2
    for place, letter in enumerate(WORD):
        thickness = 0.15 if place < len(WORD) / 2 else 0.42
        size = LETTER_HEIGHT - thickness
        strokes = _letter_strokes(letter, thickness / 2 / size)
        for stroke in strokes:
            middle = stroke * size + (left + thickness / 2, 2.0 - 0.06 - LETTER_HEIGHT + thickness / 2)
            outline = np.round(_thick(middle, thickness) * LETTER_SCALE * 16).astype(np.int32)
            cv2.fillPoly(picture, [outline], 255, cv2.LINE_AA, 4)
        left += max(stroke[:, 0].max() for stroke in strokes) * size + thickness + LETTER_GAP
    return picture


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _bilinear(picture, row, column):
    """Returns a picture, uint8 [rows, columns], interpolated between its pixels; 0 outside."""
    if not (0 <= row < picture.shape[0] - 1 and 0 <= column < picture.shape[1] - 1):
        return 0.0
    i, j = int(row), int(column)
    s, t = row - i, column - j
    above = picture[i, j] * (1 - t) + picture[i, j + 1] * t
    below = picture[i + 1, j] * (1 - t) + picture[i + 1, j + 1] * t
    return above * (1 - s) + below * s


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _paint_background(numbers, rays, letters, stains, picture):
    """Fills picture, uint8 [rows, columns, 3], ray by ray; for `numbers` see `background`."""
    camera_y, camera_z, middle_x, middle_y, radius, letters_left, edge_y = numbers[:7]
    from_x, from_y = -middle_x, camera_y - middle_y
    for row in range(picture.shape[0]):
        for column in range(picture.shape[1]):
            x = rays[0, 0] * (column + 0.5) + rays[0, 1] * (row + 0.5) + rays[0, 2]
            y = rays[1, 0] * (column + 0.5) + rays[1, 1] * (row + 0.5) + rays[1, 2]
            z = rays[2, 0] * (column + 0.5) + rays[2, 1] * (row + 0.5) + rays[2, 2]
            a, b = x * x + y * y, from_x * x + from_y * y
            c = from_x * from_x + from_y * from_y - radius * radius
            reach = (np.sqrt(b * b - a * c) - b) / a
            height = camera_z + reach * z
            # The wall meets the floor within a pixel or two.
            on_wall = min(max(height / 0.03 + 0.5, 0.0), 1.0)
            light, stain, cover = 0.0, 0.0, 0.0
            if on_wall < 1:
                reach = -camera_z / z
                floor_x, floor_y = reach * x, camera_y + reach * y
                away = np.sqrt(floor_x * floor_x + floor_y * floor_y)
                light = 1 + 0.012 * floor_y + 0.012 * min(max(away - 2.5, 0.0), 4.0)
                stain = _bilinear(stains, (floor_y + 8) * 24, (floor_x + 8) * 24) / 255
                stain *= max(0.0, 1 - away / 4)
                # Far away, the ring is thinner than a pixel: it is drawn wider and fainter.
                width = max(0.014, 0.0009 * reach * reach)
                line = min(abs(away - TABLE_RADIUS) / width, 1.0)
                light *= 1 - 0.45 * (0.014 / width) * (1 - line * line)
                if floor_y < edge_y:
                    light, stain = (1.45, 0.0) if floor_y < edge_y - 0.04 else (1.0, 3.0)
            if on_wall > 0:
                along = radius * np.arctan2(from_x + reach * x, from_y + reach * y)
                letter_row = letters.shape[0] - height * LETTER_SCALE
                cover = _bilinear(letters, letter_row, (along - letters_left) * LETTER_SCALE) / 255
                bright = 0.985 + 0.02 / (1 + height * height) - 0.0005 * along * along
            for channel in range(3):
                colour = numbers[10 + channel] * light * (1 - stain * (0.02 + 0.06 * channel))
                if on_wall > 0:
                    wall = numbers[7 + channel] * bright
                    wall += cover * (0.38 + 0.01 * channel - wall)
                    colour += on_wall * (wall - colour)
                picture[row, column, channel] = min(255.0, 255 * colour + 0.5)


def background(studio: Studio) -> np.ndarray:
    """Returns the studio without car and turntable marks: uint8 [HEIGHT, WIDTH, 3] RGB."""
    # The edge is near the lower end of the picture.
    nearest = studio.camera_height * studio.focal / (HEIGHT - 45 - studio.horizon)
    edge_y = nearest - studio.distance if studio.front_edge else -99.0
    numbers = np.array([
        -studio.distance, studio.camera_height, *studio.wall_middle, studio.wall_radius,
        studio.letters_left, edge_y, *studio.wall_tint, *studio.floor_tint,
    ])  # fmt: skip
    blotches = np.random.default_rng(studio.seed).normal(0, 1, (384, 384)).astype(np.float32)
    blotches = cv2.GaussianBlur(blotches, (0, 0), 14)
    stains = np.clip(255 * studio.dirt * (0.5 + 0.4 * blotches / blotches.std()), 0, 255).astype(np.uint8)
    # The camera is focused on the car and slightly blurs the background: half the size is enough.
    picture = np.empty((HEIGHT // 2, WIDTH // 2, 3), np.uint8)
    rays = np.linalg.inv(camera_matrix(studio)[:, :3]) @ np.diag([2.0, 2.0, 1.0])
    _paint_background(numbers, rays, _lettering(), stains, picture)
    return cv2.resize(picture, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)


def floor_marks(studio: Studio, shape: Shape) -> np.ndarray:
    """Draws what turns with the car: seams, smudges, the car's shadow.

    Returns:
        uint8 [size, size]: 255 leaves the floor as it is, lower values darken it. Rows run along the car's x, columns
        along its y, FLOOR_SCALE pixels per metre, with the turntable's middle at the centre.
    """
    generator = np.random.default_rng(studio.seed + 1)
    size = 2 * round(FLOOR_REACH * FLOOR_SCALE)
    marks = np.full((size, size), 255, np.uint8)

    def pixels(points: ArrayLike) -> np.ndarray:
        return np.round((np.asarray(points) + FLOOR_REACH) * FLOOR_SCALE * 16).astype(np.int32)

    start = generator.uniform(0, np.pi)
    for angle in start + np.arange(6) * np.pi / 3:
        ray = np.array([np.cos(angle), np.sin(angle)])
        cv2.polylines(marks, [pixels([0.65 * ray, TABLE_RADIUS * ray])], False, 175, 1, cv2.LINE_AA, 4)
    ring = np.linspace(0, 2 * np.pi, 90)
    cv2.polylines(marks, [pixels(0.65 * np.stack([np.cos(ring), np.sin(ring)], 1))], True, 170, 1, cv2.LINE_AA, 4)
    for _ in range(round(60 * studio.dirt)):
        place, reach = generator.uniform(-2.7, 2.7, 2), generator.uniform(0.003, 0.02)
        spot = place + reach * generator.uniform(0.2, 1, (7, 1)) * _arc((0, 0), (1, 1), 0, 300)[::6]
        cv2.fillPoly(marks, [pixels(spot)], int(generator.integers(120, 235)), cv2.LINE_AA, 4)
    tracks = np.zeros_like(marks)
    for _ in range(round(8 * studio.dirt)):
        path = _arc(generator.uniform(-3, 3, 2), generator.uniform(1, 6, 2), *generator.uniform(0, 360, 2))
        cv2.polylines(tracks, [pixels(path)], False, int(generator.integers(2, 9)), 40, cv2.LINE_AA, 4)
    marks = cv2.subtract(marks, cv2.blur(tracks, (9, 9)))
    shadow = cv2.resize(_shadow(shape, size // 6), (size, size), interpolation=cv2.INTER_LINEAR)
    return cv2.multiply(marks, shadow, dtype=cv2.CV_8U)


def _shadow(shape: Shape, size: int) -> np.ndarray:
    """Returns the light that remains on the floor around a car, float32 [size, size] in 0..1."""
    scale = size / (2 * FLOOR_REACH)

    def blurred(area: np.ndarray, spread: float) -> np.ndarray:
        return cv2.GaussianBlur(area, (0, 0), spread * scale)

    def filled(x: tuple[float, float], y: tuple[float, float]) -> np.ndarray:
        area = np.zeros((size, size), np.float32)
        rows = np.round((np.array(x) + FLOOR_REACH) * scale).astype(int)
        columns = np.round((np.array(y) + FLOOR_REACH) * scale).astype(int)
        area[rows[0] : rows[1], columns[0] : columns[1]] = 1
        return area

    half = shape.width / 2
    body = filled((shape.rear + 0.08, shape.front - 0.1), (-half + 0.05, half - 0.05))
    inner = filled((shape.rear + 0.35, shape.front - 0.35), (-half + 0.2, half - 0.2))
    tyres = np.zeros((size, size), np.float32)
    for axle in (-shape.wheelbase / 2, shape.wheelbase / 2):
        for side in (-1, 1):
            y = side * (half - 0.12)
            tyres += filled((axle - 0.16, axle + 0.16), (y - 0.11, y + 0.11))
    light = 1 - 0.30 * blurred(inner, 0.28) - 0.42 * blurred(body, 0.09)
    return light * (1 - 0.6 * np.clip(blurred(tyres, 0.045), 0, 1))
