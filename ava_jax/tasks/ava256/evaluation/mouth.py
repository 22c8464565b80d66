"""How far a mouth is open, in meshes of any topology: where it is, is found in meshes that move.

Down the middle of the face below the nose, two points of the skin `2 REACH` apart are followed through all meshes. Where their distance
varies most, they are on either lip: nothing else of a face parts so far.
"""

from typing import NamedTuple

import numpy as np

from ava_jax.captures import chart
from ava_jax.core import zbuffer
from ava_jax.core.types import Array

REACH = 4.0  # mm above and below the line between the lips, along the head's axis: on the red of the lips
_COLUMNS = 9  # mm across, one line of points each: the middle of the mouth
_BELOW = (10, 75)  # mm below the tip of the nose that the line is looked for in
_LEAST = 0.5  # mm, standard deviation of the distance: less is noise of tracking
_PLATEAU = 0.8  # of the largest deviation: from here on both points are on lips


class Lips(NamedTuple):
    """Points on a mesh, C on either lip.

    Attributes:
      corners: int32 [2, C, 3], vertices around each: those of the upper lip first.
      weights: f32 [2, C, 3], theirs.
    """

    corners: np.ndarray
    weights: np.ndarray

    def opening(self, vertices: Array) -> np.ndarray:
        """Mean distance of the lips' points, mm, [...], in meshes [..., V, 3], mm."""
        points = np.einsum("lpc,...lpcx->...lpx", self.weights, np.asarray(vertices, np.float64)[..., self.corners, :])
        return np.linalg.norm(points[..., 0, :, :] - points[..., 1, :, :], axis=-1).mean(-1)


def of_vertices(upper: list[int], lower: list[int], count: int) -> Lips:
    """Lips by vertices that a user names, as many of either lip.

    Args:
      upper, lower: numbers of vertices, from 0, each with the one of the other lip that it meets.
      count: V.

    Raises:
      ValueError: there are not as many of both, or one is not a vertex.
    """
    if len(upper) != len(lower) or not upper:
        raise ValueError(
            f"--lips: name as many vertices of the upper lip as of the lower, at least one; got {len(upper)} and {len(lower)}."
        )
    if odd := [one for one in (*upper, *lower) if not 0 <= one < count]:
        raise ValueError(f"--lips: vertex {odd[0]} is none of the mesh's, 0 to {count - 1}.")
    corners = np.repeat(np.array([upper, lower], np.int32)[..., None], 3, axis=-1)
    return Lips(corners, np.broadcast_to(np.float32([1, 0, 0]), corners.shape).copy())


def find(faces: np.ndarray, rest: np.ndarray, meshes: np.ndarray) -> Lips:
    """Finds the lips.

    Args:
      faces: int [M, 3].
      rest: [V, 3], mm, head space: a face whose mouth is shut.
      meshes: [F, V, 3], mm: of people whose mouths open.

    Raises:
      ValueError: nothing below the nose parts in these meshes.
    """
    tip = chart.nose_tip(rest[np.unique(faces)])
    triangle, weights = _seen_from_front(faces, rest, tip)
    points = np.einsum("hwc,fhwcx->fhwx", weights, np.asarray(meshes, np.float64)[:, faces[triangle]])  # [F, rows, columns, 3]
    gap = int(2 * REACH)
    apart = np.linalg.norm(points[:, :-gap] - points[:, gap:], axis=-1)
    there = (triangle >= 0).all(1)
    moved = np.where(there[:-gap] & there[gap:], apart.mean(-1).std(0), 0.0)
    if not len(moved) or moved.max() < _LEAST:
        raise ValueError(
            f"no mouth is found: below the nose nothing parts by {_LEAST} mm in the {len(meshes)} meshes at hand. Take a segment in which "
            "mouths open, or name vertices of both lips with --lips."
        )
    best = int(moved.argmax())
    low = high = best
    while low > 0 and moved[low - 1] > _PLATEAU * moved[best]:
        low -= 1
    while high < len(moved) - 1 and moved[high + 1] > _PLATEAU * moved[best]:
        high += 1
    row = (low + high) // 2
    rows = [row, row + gap]
    return Lips(faces[triangle[rows]].astype(np.int32), weights[rows].astype(np.float32))


def _seen_from_front(faces: np.ndarray, rest: np.ndarray, tip: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What of the middle is in front, a row and a column per mm, from above: triangles int [H, W], -1 none, and weights [H, W, 3]."""
    away = rest[:, 2].max() + 1e6  # so far away that the view is parallel
    columns, rows = rest[:, 0] - tip[0] + (_COLUMNS - 1) / 2, tip[1] - _BELOW[0] - rest[:, 1]
    pixels = np.stack([columns, rows, away - rest[:, 2]], axis=-1)
    return zbuffer.rasterize(pixels, faces, _BELOW[1] - _BELOW[0], _COLUMNS)
