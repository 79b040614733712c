"""Compiled kernels: which triangle each sample shows, and its light."""

# Numba infers the types of its functions.
# ruff: noqa: ANN001, ANN201, ANN202

import numba
import numpy as np

SAMPLES = 2
"""Samples per pixel along each axis."""

BAND_ROWS = 32

CEILING_LIGHT = 3.2


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _find_visible(corners, triangles, spans, first_row, depth, seen):
    """Draws the triangles that face the camera into a depth buffer.

    Args:
        corners: float32 [vertices, 3] as `draw` takes.
        triangles: int32 [triangles, 3] as `draw` takes.
        spans: int32 [triangles, 2] from `_fit_planes`.
        first_row: sample row of the buffers' first row.
        depth: float32 [rows, columns], filled with 0; receives 1 / depth, which is larger for nearer triangles.
        seen: int32 [rows, columns], filled with -1; receives the index of the nearest triangle.
    """
    rows, columns = depth.shape
    for index in range(len(triangles)):
        top, bottom = max(0, spans[index, 0] - first_row), min(rows - 1, spans[index, 1] - first_row)
        if top > bottom:
            continue
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        ax, ay, az = corners[a, 0], corners[a, 1], corners[a, 2]
        bx, by, bz = corners[b, 0], corners[b, 1], corners[b, 2]
        cx, cy, cz = corners[c, 0], corners[c, 1], corners[c, 2]
        area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
        slope_x = ((bz - az) * (cy - ay) - (cz - az) * (by - ay)) / area
        slope_y = ((cz - az) * (bx - ax) - (bz - az) * (cx - ax)) / area
        for row in range(top, bottom + 1):
            y = first_row + row + 0.5
            left, right = np.float32(1e9), np.float32(-1e9)
            for px, py, qx, qy in ((ax, ay, bx, by), (bx, by, cx, cy), (cx, cy, ax, ay)):
                if (py <= y) != (qy <= y):
                    x = px + (y - py) * (qx - px) / (qy - py)
                    left, right = min(left, x), max(right, x)
            first = max(0, int(np.ceil(left - 0.5)))
            last = min(columns - 1, int(np.floor(right - 0.5)))
            nearness = az + (first + 0.5 - ax) * slope_x + (y - ay) * slope_y
            for column in range(first, last + 1):
                if nearness > depth[row, column]:
                    depth[row, column] = nearness
                    seen[row, column] = index
                nearness += slope_x


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _step(low, high, value):
    share = min(max((value - low) / (high - low), 0.0), 1.0)
    return share * share * (3 - 2 * share)


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _studio_light(x, y, z):
    """Returns linear light from a direction of the studio: x right, y away from the camera, z up."""
    if z < 0:
        # The floor darkens toward the car's own shadow.
        return 0.36 - 0.30 * _step(0.0, 0.5, -z) + 0.14 * _step(-0.10, 0.0, z)
    wall = 0.80 - 0.30 * _step(-0.2, 0.9, -y)
    if z < 0.08:
        return wall
    across, along = abs(x / z), abs(y / z - 0.3)
    panel = _step(3.0, 2.0, across) * _step(1.8, 1.2, along) * _step(0.1, 0.35, abs(along - 0.85))
    return wall + (CEILING_LIGHT - wall) * panel


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _blend(atlas, i, j, channel, weights):
    """Returns the weighted mean of a channel of four neighbouring texels, 0..1."""
    a, b, c, d = weights
    return (
        a * atlas[i, j, channel] + b * atlas[i, j + 1, channel]
        + c * atlas[i + 1, j, channel] + d * atlas[i + 1, j + 1, channel]
    ) * np.float32(1 / 255)  # fmt: skip


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _texel(atlas, column, row):
    """Returns interpolated linear red, green, blue, 0..1, and the nearest finish."""
    column = min(max(column - 0.5, 0.0), atlas.shape[1] - 2.0)
    row = min(max(row - 0.5, 0.0), atlas.shape[0] - 2.0)
    i, j = int(row), int(column)
    s, t = row - i, column - j
    weights = ((1 - s) * (1 - t), (1 - s) * t, s * (1 - t), s * t)
    red, green = _blend(atlas, i, j, 0, weights), _blend(atlas, i, j, 1, weights)
    blue = _blend(atlas, i, j, 2, weights)
    return red * red, green * green, blue * blue, atlas[i + (s > 0.5), j + (t > 0.5), 3]


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _fit_planes(corners, triangles, vertices):
    """Fits planes over the picture to 1 / depth and attributes / depth of each triangle.

    Args:
        corners: float32 [vertices, 3] as `draw` takes.
        triangles: int32 [triangles, 3].
        vertices: float32 [vertices, 5]: normal, atlas column and row.

    Returns:
        float32 [triangles, 20]: column and row of the first corner, then for 1 / depth and for each attribute
        the value there, its change per column and its change per row; and int32 [triangles, 2], the first and the
        last sample row, in the wrong order for triangles that face away from the camera.
    """
    planes = np.empty((len(triangles), 20), np.float32)
    spans = np.empty((len(triangles), 2), np.int32)
    for index in range(len(triangles)):
        a, b, c = triangles[index, 0], triangles[index, 1], triangles[index, 2]
        bx, by = corners[b, 0] - corners[a, 0], corners[b, 1] - corners[a, 1]
        cx, cy = corners[c, 0] - corners[a, 0], corners[c, 1] - corners[a, 1]
        area = bx * cy - by * cx
        # Rows count downward, so that a counter-clockwise triangle has a negative area.
        if area > -1e-6:
            spans[index, 0], spans[index, 1] = 1, 0
            continue
        spans[index, 0] = np.ceil(min(corners[a, 1], corners[b, 1], corners[c, 1]) - 0.5)
        spans[index, 1] = np.floor(max(corners[a, 1], corners[b, 1], corners[c, 1]) - 0.5)
        planes[index, 0], planes[index, 1] = corners[a, 0], corners[a, 1]
        for plane in range(6):
            first, second, third = corners[a, 2], corners[b, 2], corners[c, 2]
            if plane > 0:
                first *= vertices[a, plane - 1]
                second *= vertices[b, plane - 1]
                third *= vertices[c, plane - 1]
            second, third = second - first, third - first
            planes[index, 3 * plane + 2] = first
            planes[index, 3 * plane + 3] = (second * cy - third * by) / area
            planes[index, 3 * plane + 4] = (third * bx - second * cx) / area
    return planes, spans


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _plane(planes, index, plane, x, y):
    """Returns the value of a plane of `_fit_planes` at an offset from the triangle's first corner."""
    return planes[index, 3 * plane + 2] + x * planes[index, 3 * plane + 3] + y * planes[index, 3 * plane + 4]


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _light(planes, index, eye, column, row):
    """Returns light on a triangle at a sample: diffuse, mirrored, and the share that a clear coat mirrors."""
    x, y = column - planes[index, 0], row - planes[index, 1]
    depth = 1 / _plane(planes, index, 0, x, y)
    nx, ny = _plane(planes, index, 1, x, y), _plane(planes, index, 2, x, y)
    nz = _plane(planes, index, 3, x, y)
    dx = eye[1, 0] + column * eye[2, 0] + row * eye[3, 0]
    dy = eye[1, 1] + column * eye[2, 1] + row * eye[3, 1]
    dz = eye[1, 2] + column * eye[2, 2] + row * eye[3, 2]
    height = eye[0, 2] + depth * dz
    unit = 1 / np.sqrt(dx * dx + dy * dy + dz * dz)
    dx, dy, dz = dx * unit, dy * unit, dz * unit
    unit = 1 / np.sqrt(nx * nx + ny * ny + nz * nz)
    nx, ny, nz = nx * unit, ny * unit, nz * unit
    facing = max(0.0, -(nx * dx + ny * dy + nz * dz))
    mx, my, mz = dx + 2 * facing * nx, dy + 2 * facing * ny, dz + 2 * facing * nz
    mirror = _studio_light(eye[4, 0] * mx + eye[4, 1] * my, eye[5, 0] * mx + eye[5, 1] * my, mz)
    # Whatever is low or looks down sees less of the ceiling.
    open_sky = min(1.0, 0.45 + 0.75 * height)
    diffuse = (0.72 + 0.32 * nz if nz > 0 else 0.72 + 0.45 * nz) * (open_sky if nz < 0.5 else 1.0)
    grazing = (1 - facing) * (1 - facing)
    return diffuse, mirror * (0.3 + 0.7 * open_sky), 0.06 + 0.9 * grazing * grazing * (1 - facing)


@numba.njit(fastmath=True, error_model="numpy", inline="always")
def _colour(planes, index, atlas, finishes, light, column, row):
    """Returns the colour, 0..255 as in a photo, of a triangle at a sample under the light of `_light`."""
    x, y = column - planes[index, 0], row - planes[index, 1]
    depth = 1 / _plane(planes, index, 0, x, y)
    red, green, blue, finish = _texel(
        atlas, _plane(planes, index, 4, x, y) * depth, _plane(planes, index, 5, x, y) * depth
    )
    diffuse, mirror, clear_coat = light
    gloss, metal = finishes[finish, 0], finishes[finish, 1]
    share = diffuse + metal * (mirror - diffuse)
    shine = gloss * clear_coat * mirror
    return (
        255 * np.sqrt(red * share + shine),
        255 * np.sqrt(green * share + shine),
        255 * np.sqrt(blue * share + shine),
    )


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def _paint(seen, first_row, surfaces, planes, paint, eye, picture, mask):
    """Paints what `_find_visible` found on some rows of a picture and its mask, as `draw` does."""
    atlas, finishes = paint
    rows, columns = mask.shape
    for row in range(rows):
        lit, light = -1, (0.0, 0.0, 0.0)
        for column in range(columns):
            a, b = seen[2 * row, 2 * column], seen[2 * row, 2 * column + 1]
            c, d = seen[2 * row + 1, 2 * column], seen[2 * row + 1, 2 * column + 1]
            covered = (a >= 0) + (b >= 0) + (c >= 0) + (d >= 0)
            if covered == 0:
                continue
            mask[row, column] = covered >= 2
            plain = covered == 4 and surfaces[a] == surfaces[b] == surfaces[c] == surfaces[d]
            samples, weight, offset = (1, 1.0, 1.0) if plain else (4, 0.25, 0.5)
            rest = 0.0 if plain else (4 - covered) * 0.25
            red = rest * picture[row, column, 0] + 0.5
            green = rest * picture[row, column, 1] + 0.5
            blue = rest * picture[row, column, 2] + 0.5
            for sample in range(samples):
                i, j = sample // 2, sample % 2
                index = seen[2 * row + i, 2 * column + j]
                if index < 0:
                    continue
                x, y = 2 * column + offset + j, first_row + 2 * row + offset + i
                # Light changes little along a row, so two neighbours on one surface share it.
                if surfaces[index] != lit or (column % 2 == 0 and sample == 0):
                    lit, light = surfaces[index], _light(planes, index, eye, x, y)
                r, g, b = _colour(planes, index, atlas, finishes, light, x, y)
                red, green, blue = red + weight * r, green + weight * g, blue + weight * b
            picture[row, column, 0] = min(255.0, red)
            picture[row, column, 1] = min(255.0, green)
            picture[row, column, 2] = min(255.0, blue)


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def draw(corners, triangles, surfaces, vertices, paint, eye, picture, mask):
    """Paints a car over a picture and writes its mask.

    Args:
        corners: float32 [vertices, 3]: sample column, sample row, 1 / depth.
        triangles: int32 [triangles, 3], counter-clockwise seen from outside.
        surfaces: int32 [triangles].
        vertices: float32 [vertices, 5]: normal, atlas column and row.
        paint: the atlas, uint8 [rows, columns, 4], RGB and the index of a finish; and the finishes,
            float32 [finishes, 2], gloss and metal.
        eye: float64 [6, 3]: the camera in the car's space; the ray of sample (0, 0), with depth 1, and its change
            per column and per row; x and y of the studio in the car's space.
        picture: uint8 [rows, columns, 3], the background; changed in place.
        mask: uint8 [rows, columns], zeros; receives 1 for each pixel at least half of which is car.
    """
    planes, spans = _fit_planes(corners, triangles, vertices)
    rows, columns = mask.shape
    # A band of the picture at a time, so that its samples stay in the processor's cache.
    depth = np.empty((SAMPLES * BAND_ROWS, SAMPLES * columns), np.float32)
    seen = np.empty(depth.shape, np.int32)
    for top in range(0, rows, BAND_ROWS):
        bottom = min(rows, top + BAND_ROWS)
        depth[:] = 0
        seen[:] = -1
        _find_visible(corners, triangles, spans, SAMPLES * top, depth, seen)
        _paint(seen, SAMPLES * top, surfaces, planes, paint, eye, picture[top:bottom], mask[top:bottom])


@numba.njit(cache=True, fastmath=True, error_model="numpy")
def darken(picture, light):
    """Multiplies a picture, uint8 [rows, columns, 3], by light / 255, uint8 [rows, columns], in place."""
    rows, columns = light.shape
    for row in range(rows):
        for column in range(columns):
            # Nearly exact, and much faster than a division.
            factor = np.uint32(light[row, column]) * np.uint32(257)
            for channel in range(3):
                picture[row, column, channel] = (picture[row, column, channel] * factor + 32768) >> 16
