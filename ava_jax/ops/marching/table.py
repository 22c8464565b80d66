"""Which edges of a cell the triangles of its part of the surface have their corners on, made from one rule instead of a published table.

Corner c of a cell lies at (x, y, z) = (c & 1, c >> 1 & 1, c >> 2 & 1). Edge 4 axis + p + 2 q runs along `axis` from the corner that is p on
the first and q on the second of the other axes. A case is the sum of 2^c over the corners that are inside.

On each face of the cell the surface is cut into segments by the signs of the face's four corners alone: where these alternate, each inside
corner is cut off by itself. The cell on the other side of the face cuts alike, so meshes are closed. The segments of a cell join to loops,
which are split into triangles, without a diagonal that lies in a face where that can be: the neighbour might have the same one.
(Lorensen and Cline, Marching Cubes, 1987.)
"""

import functools
import itertools

import numpy as np

MOST = 5  # triangles in a cell


@functools.cache
def triangles() -> np.ndarray:
    """int8 [256, 16]: of each case the number of triangles, then their edges; the rest is 0. From outside they turn to the left."""
    table = np.zeros((256, 1 + 3 * MOST), np.int8)
    for case in range(256):
        found = [corner for loop in _loops(case) for triangle in _split(loop) for corner in triangle]
        table[case, 0] = len(found) // 3
        table[case, 1 : 1 + len(found)] = found
    return table


def edge(corner: int, axis: int) -> int:
    """The number of the edge that runs along `axis` from or to a corner."""
    p, q = (corner >> other & 1 for other in range(3) if other != axis)
    return 4 * axis + p + 2 * q


def _faces() -> list[list[int]]:
    """Four corners of each face, in turn, to the left as seen from outside."""
    faces = []
    for axis, side in itertools.product(range(3), (0, 1)):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        around = [side << axis | a << u | b << v for a, b in ((0, 0), (1, 0), (1, 1), (0, 1))]
        faces.append(around if side else around[::-1])
    return faces


def _between(a: int, b: int) -> int:
    return edge(a, (a ^ b).bit_length() - 1)


def _loops(case: int) -> list[list[int]]:
    """Closed chains of edges."""
    follows = {}
    for face in _faces():
        inside = [case >> corner & 1 for corner in face]
        for i in range(4):
            if not inside[i] or inside[i - 1]:
                continue
            last = next(k for k in range(i, i + 4) if not inside[(k + 1) % 4])  # of the run of inside corners from i on
            follows[_between(face[i - 1], face[i])] = _between(face[last % 4], face[(last + 1) % 4])
    loops = []
    while follows:
        loop = [min(follows)]
        while (following := follows.pop(loop[-1])) != loop[0]:
            loop.append(following)
        loops.append(loop)
    return loops


@functools.cache
def _sides(number: int) -> frozenset[int]:
    """The faces, 2 axis + side, that an edge lies on."""
    axis, p, q = number // 4, number & 1, number >> 1 & 1
    return frozenset(2 * other + side for other, side in zip([other for other in range(3) if other != axis], (p, q)))


def _split(loop: list[int]) -> list[tuple[int, int, int]]:
    """Triangles of a loop: of all ways to split it the first with the fewest diagonals in faces."""

    @functools.cache
    def best(first: int, last: int) -> tuple[int, tuple]:
        if last - first < 2:
            return 0, ()
        ways = []
        for middle in range(first + 1, last):
            costs, parts = zip(best(first, middle), best(middle, last))
            ways.append((sum(costs), (*parts[0], (loop[first], loop[middle], loop[last]), *parts[1])))
        cost, split = min(ways, key=lambda way: way[0])
        is_diagonal = not (first == 0 and last == len(loop) - 1) and last - first > 1
        return cost + (is_diagonal and bool(_sides(loop[first]) & _sides(loop[last]))), split

    return list(best(0, len(loop) - 1)[1])
