"""Structured implicit functions with NumPy alone: one file, to be copied into other programs.

  shape = read("chair.txt")
  inside = shape.values(points) < SURFACE                 # points [P, 3]
  there = correspond(shape, other, points)                # the same places on another shape of the same network

Reads the `.txt` files of SIF, SIF++ and LDIF; of LDIF the Gaussians alone are evaluated, as features need their decoder. Sources: Genova et
al., Learning Shape Templates with Structured Implicit Functions, 2019; Local Deep Implicit Functions for 3D Shape, 2020. Apache-2.0.
"""

import dataclasses

import numpy as np

SURFACE = -0.07  # the function's value on the surface; inside it is less
_TINY = 1e-8


@dataclasses.dataclass(frozen=True)
class Shape:
    """N elements.

    Attributes:
      constant: [N].
      center: [N, 3].
      radius: [N, 3], along the element's own axes.
      axes: [N, 3, 3], the element's axes in columns.
      symmetric: so many of the first serve a second time, reflected at z = 0.
    """

    constant: np.ndarray
    center: np.ndarray
    radius: np.ndarray
    axes: np.ndarray
    symmetric: int = 0

    def local(self, points: np.ndarray) -> np.ndarray:
        """Points [P, 3] in the elements' frames, a radius long each: [N + symmetric, P, 3]."""
        points = np.asarray(points, float)
        seen = np.concatenate([np.repeat(points[None], len(self.center), 0), np.repeat((points * [1, 1, -1])[None], self.symmetric, 0)])
        which = self._which()
        return np.einsum("epi,eij->epj", seen - self.center[which, None], self.axes[which]) / self._reach()[which, None]

    def world(self, local: np.ndarray) -> np.ndarray:
        """What `local` was given, from what it gave: [N + symmetric, P, 3] to the same."""
        which = self._which()
        points = np.einsum("epj,eij->epi", local * self._reach()[which, None], self.axes[which]) + self.center[which, None]
        points[len(self.center) :, :, 2] *= -1
        return points

    def influences(self, points: np.ndarray) -> np.ndarray:
        """Gaussians at points [P, 3]: [N + symmetric, P], 1 at a centre."""
        return np.exp(-0.5 * np.square(self.local(points)).sum(-1))

    def values(self, points: np.ndarray) -> np.ndarray:
        """The function at points [P, 3]: [P]."""
        return self.constant[self._which()] @ self.influences(points)

    def _which(self) -> np.ndarray:
        return np.r_[: len(self.center), : self.symmetric]

    def _reach(self) -> np.ndarray:
        return np.sqrt(np.square(self.radius) + _TINY)


def read(path: str) -> Shape:
    """A shape of a `.txt` file.

    Raises:
      ValueError: it is no such file.
    """
    with open(path) as file:
        lines = [line.split() for line in file if line.strip()]
    if len(lines) < 3 or lines[0] != ["SIF"] or len(lines[1]) != 3 or len(lines) != 2 + int(lines[1][0]):
        raise ValueError(f"{path}: no file of elements: SIF, then their number, 0 and the number of features, then a line per element.")
    rows = np.array([[float(word) for word in line] for line in lines[2:]])
    if rows.shape[1] != 11 + int(lines[1][2]):
        raise ValueError(f"{path}: an element must be {11 + int(lines[1][2])} numbers; got {rows.shape[1]}.")
    (a, b, c), (x, y, z) = np.cos(rows[:, 7:10].T), np.sin(rows[:, 7:10].T)  # roll, pitch, yaw
    axes = [[c * b, c * y * x - z * a, c * y * a + z * x], [z * b, z * y * x + c * a, z * y * a - c * x], [-y, b * x, b * a]]
    return Shape(rows[:, 0], rows[:, 1:4], rows[:, 4:7], np.moveaxis(np.array(axes), -1, 0), int(rows[:, 10].sum()))


def correspond(shape: Shape, other: Shape, points: np.ndarray) -> np.ndarray:
    """Where points of a shape lie on another one, of the same network.

    A point keeps its place in each element's frame; where the elements disagree, they are weighed by how much each is felt at the point.

    Args:
      shape: that `points` are of.
      other: of as many elements.
      points: [P, 3].

    Returns:
      [P, 3].

    Raises:
      ValueError: the shapes have other numbers of elements, or a point is so far away that no element is felt there.
    """
    if (len(shape.center), shape.symmetric) != (len(other.center), other.symmetric):
        raise ValueError(f"correspond: both shapes must have as many elements; got {len(shape.center)} and {len(other.center)}.")
    weight = np.abs(shape.constant[shape._which(), None]) * shape.influences(points)
    total = weight.sum(0)
    if not (total > 0).all():
        raise ValueError(f"correspond: point {int(np.argmin(total))} lies beyond the reach of every element.")
    return np.einsum("ep,epi->pi", weight / total, other.world(shape.local(points)))
