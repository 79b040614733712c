"""Triangle meshes made of rectangular grids of points."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Mesh:
    """Triangles in metres.

    x points forward, y to the car's left, z up; the origin lies on the floor in the middle of the wheelbase.

    Attributes:
        positions: float32 [vertices, 3], metres.
        normals: float32 [vertices, 3], unit length, outward.
        texture: float32 [vertices, 2], column and row in the paint atlas, pixels.
        triangles: int32 [triangles, 3], vertex indices, counter-clockwise seen from outside.
        surfaces: int32 [triangles], equal for triangles that continue one another smoothly.
    """

    positions: np.ndarray
    normals: np.ndarray
    texture: np.ndarray
    triangles: np.ndarray
    surfaces: np.ndarray


def grid_normals(points: np.ndarray) -> np.ndarray:
    """Returns unit normals of a grid of points, both float [rows, columns, 3].

    They point to the side from which columns are seen to run to the right and rows upward.
    """
    along_rows = np.gradient(points, axis=0)
    along_columns = np.gradient(points, axis=1)
    normals = np.cross(along_columns, along_rows)
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    # A grid that closes to a point has no normal there; all such points here are on top.
    return np.where(lengths < 1e-9, (0.0, 0.0, 1.0), normals / np.maximum(lengths, 1e-9))


def grid(points: np.ndarray, texture: np.ndarray, normals: np.ndarray | None = None) -> Mesh:
    """Returns one smooth surface through a grid of points.

    Args:
        points: float [rows, columns, 3], metres.
        texture: float, broadcast to [rows, columns, 2], atlas pixels.
        normals: float [rows, columns, 3], or None for those of `grid_normals`.
    """
    rows, columns = points.shape[:2]
    normals = grid_normals(points) if normals is None else normals
    index = np.arange(rows * columns, dtype=np.int32).reshape(rows, columns)
    a, b, c, d = (part.ravel() for part in (index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]))
    triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    if _faces_inward(points, normals):
        triangles = triangles[:, ::-1]
    return Mesh(
        positions=points.reshape(-1, 3).astype(np.float32),
        normals=normals.reshape(-1, 3).astype(np.float32),
        texture=np.broadcast_to(texture, (rows, columns, 2)).reshape(-1, 2).astype(np.float32),
        triangles=triangles,
        surfaces=np.zeros(len(triangles), np.int32),
    )


def _faces_inward(points: np.ndarray, normals: np.ndarray) -> bool:
    """Returns whether the normals are opposite to those of `grid_normals`."""
    return float((grid_normals(points) * normals).sum()) < 0


def merge(meshes: list[Mesh]) -> Mesh:
    """Returns all meshes as one; their surfaces stay separate."""
    vertices = np.cumsum([0] + [len(mesh.positions) for mesh in meshes])
    surfaces = np.cumsum([0] + [int(mesh.surfaces.max()) + 1 for mesh in meshes])
    return Mesh(
        positions=np.concatenate([mesh.positions for mesh in meshes]),
        normals=np.concatenate([mesh.normals for mesh in meshes]),
        texture=np.concatenate([mesh.texture for mesh in meshes]),
        triangles=np.concatenate(
            [mesh.triangles + first for mesh, first in zip(meshes, vertices, strict=False)]
        ).astype(np.int32),
        surfaces=np.concatenate([mesh.surfaces + first for mesh, first in zip(meshes, surfaces, strict=False)]).astype(
            np.int32
        ),
    )


def mirrored(mesh: Mesh) -> Mesh:
    """Returns the same mesh on the car's other side."""
    flip = np.array([1, -1, 1], np.float32)
    return Mesh(mesh.positions * flip, mesh.normals * flip, mesh.texture, mesh.triangles[:, ::-1], mesh.surfaces)


def moved(mesh: Mesh, offset: tuple[float, float, float]) -> Mesh:
    """Returns the mesh shifted by `offset` metres."""
    positions = mesh.positions + np.array(offset, np.float32)
    return Mesh(positions, mesh.normals, mesh.texture, mesh.triangles, mesh.surfaces)


def tube(path: np.ndarray, radius: np.ndarray | float, texture: np.ndarray, sides: int = 8) -> Mesh:
    """Returns a round bar along a path that never runs exactly sideways.

    Args:
        path: float [points, 3], metres.
        radius: metres, one number, or one for each point.
        texture: float [2], atlas pixel of its paint.
        sides: corners of the cross-section.
    """
    direction = np.gradient(path, axis=0)
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    sideways = np.cross(direction, (0.0, 1.0, 0.0))
    sideways /= np.linalg.norm(sideways, axis=1, keepdims=True)
    third = np.cross(direction, sideways)
    angle = np.linspace(0, 2 * np.pi, sides + 1)[None, :, None]
    normals = np.cos(angle) * sideways[:, None] + np.sin(angle) * third[:, None]
    radii = np.broadcast_to(radius, len(path))[:, None, None]
    return grid(path[:, None] + radii * normals, texture, normals)


def box(low: tuple[float, float, float], high: tuple[float, float, float], texture: np.ndarray) -> Mesh:
    """Returns a box between two corners, metres, in the paint at atlas pixel `texture`."""
    faces = []
    for axis in range(3):
        first, second = (axis + 1) % 3, (axis + 2) % 3
        span = [low[first], high[first]]
        for level, columns in ((low[axis], span[::-1]), (high[axis], span)):
            points = np.empty((2, 2, 3))
            points[..., axis] = level
            points[..., first] = [columns] * 2
            points[..., second] = [[low[second]] * 2, [high[second]] * 2]
            faces.append(grid(points, texture))
    return merge(faces)
