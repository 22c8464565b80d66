"""Closed parts that procedural shapes are put together from, by manifold3d: boxes, rods, turned and extruded solids, hulls.

Shapes are built with x to the right, y up and z to the front, so that x -> -x is the plane of symmetry of chairs, cars and planes.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

SECTIONS = 24  # around rods and turned solids


def box(size: Sequence[float], at: Sequence[float]) -> Any:
    """A box of a size [3] around a place [3]."""
    from manifold3d import Manifold

    return Manifold.cube([float(side) for side in size], True).translate([float(number) for number in at])


def rod(start: Sequence[float], end: Sequence[float], radius: float, radius_end: float | None = None, sections: int = 16) -> Any:
    """A rod, or a cone, from a place [3] to another one; the second radius by default is the first."""
    from manifold3d import Manifold

    start, way = np.asarray(start, float), np.asarray(end, float) - np.asarray(start, float)
    length = float(np.linalg.norm(way))
    along = way / length
    side = np.cross(along, [1.0, 0, 0] if abs(along[0]) < 0.9 else [0, 1.0, 0])
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(along, side), along, start], axis=1)
    solid = Manifold.cylinder(length, float(radius), float(radius if radius_end is None else radius_end), sections)
    return solid.transform(frame)


def chain(places: Sequence[Sequence[float]], radius: float, sections: int = 12) -> list[Any]:
    """Rods along a line of places, with balls where they meet."""
    from manifold3d import Manifold

    parts = [rod(a, b, radius, sections=sections) for a, b in zip(places, places[1:])]
    return parts + [Manifold.sphere(float(radius), sections).translate([float(x) for x in place]) for place in places[1:-1]]


def turned(outline: Sequence[Sequence[float]], sections: int = SECTIONS) -> Any:
    """A solid of revolution about y, of an outline [P, 2]: radius and height, against the clock or with it."""
    from manifold3d import CrossSection, FillRule

    solid = CrossSection([np.asarray(outline, float)], FillRule.EvenOdd).revolve(sections)
    return solid.rotate([-90.0, 0.0, 0.0])


def extruded(outline: Sequence[Sequence[float]], start: float, end: float, axis: str = "z") -> Any:
    """A prism between two numbers along an axis: of an outline [P, 2] in (x, y) along z, in (z, y) along x, in (x, z) along y."""
    from manifold3d import CrossSection, FillRule

    solid = CrossSection([np.asarray(outline, float)], FillRule.EvenOdd).extrude(float(end - start)).translate([0, 0, float(start)])
    if axis == "z":
        return solid
    # Columns: where the prism's own axes go. A reflection would turn it inside out, which manifold3d puts right.
    to = {"x": np.array([[0, 0, 1], [0, 1, 0], [1, 0, 0]]), "y": np.array([[1, 0, 0], [0, 0, 1], [0, 1, 0]])}[axis]
    return solid.transform(np.concatenate([to, np.zeros((3, 1))], axis=1).astype(float))


def slab(corners: Sequence[Sequence[float]], thickness: Sequence[float] | float, axis: int = 1) -> Any:
    """The hull of flat corners [P, 3], made thick along an axis, by as much at each corner or by numbers of their own."""
    from manifold3d import Manifold

    corners = np.asarray(corners, float)
    half = np.zeros_like(corners)
    half[:, axis] = np.broadcast_to(thickness, len(corners)) / 2
    return Manifold.hull_points(np.concatenate([corners - half, corners + half]))


def both_sides(part: Any) -> list[Any]:
    """A part and its mirror image at x = 0."""
    return [part, part.mirror([1.0, 0.0, 0.0])]


def wave(rng: np.random.Generator, count: int, low: float, high: float, bends: float = 1.5) -> np.ndarray:
    """A smooth curve of `count` numbers [count] within low..high."""
    at = np.linspace(0, 1, count)
    curve = sum(rng.uniform(0.3, 1) / k * np.sin(rng.uniform(0, 2 * np.pi) + k * bends * np.pi * at) for k in (1, 2))
    curve = (curve - curve.min()) / max(np.ptp(curve), 1e-6)
    return low + (high - low) * curve


def lathe(outer: np.ndarray, heights: np.ndarray, wall: float, floor: float, squash: Callable | None = None) -> Any:
    """A hollow vessel of revolution, open above: outer radii [P] at rising heights [P], as thick as `wall`, its floor `floor`."""
    inner = np.maximum(outer - wall, 0.2 * outer)
    inside = np.maximum(heights, heights[0] + floor)
    return turned([(0, heights[0]), *zip(outer, heights), *zip(inner[::-1], inside[::-1]), (0, inside[0])])


def joined(parts: Sequence[Any]) -> Any:
    """All parts as one solid. What touches nothing else stays apart."""
    from manifold3d import Manifold, OpType

    return Manifold.batch_boolean(list(parts), OpType.Add)
