"""Where the UV chart's islands end beside each other: primitives there must not reach from one island to the other.

Two texels side by side may show points far apart, as an eyeball and the scalp. A primitive that takes its size from both would span the
head. Charts of one island that fills the square, as the published one, have no such texels, and nothing changes for them.
"""

import numpy as np

LEAP = 8.0  # times the median distance of texels side by side; on the procedural heads, of one island, it is 5 at most, at coarse necks


def leaps(points: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where the surface leaps from a texel to the next: they are far apart, and have no vertex in common, as in a stretched triangle.

    Args:
      points: [S, S, 3], what each texel of the chart shows of a head, any unit.
      index: int [S, S, 3], the vertices of each texel's triangle.

    Returns:
      Of each texel and the one right of it, bool [S, S - 1]; and the one below, bool [S - 1, S].
    """
    right = np.linalg.norm(np.diff(points, axis=1), axis=-1)
    below = np.linalg.norm(np.diff(points, axis=0), axis=-1)
    steps = np.concatenate([right.ravel(), below.ravel()])
    limit = LEAP * np.median(steps[steps > 0]) if (steps > 0).any() else np.inf  # texels beyond an island's edge repeat what is there
    return (right > limit) & ~_joined(index[:, :-1], index[:, 1:]), (below > limit) & ~_joined(index[:-1], index[1:])


def _joined(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Which triangles of vertices [..., 3] have any in common."""
    return (a[..., :, None] == b[..., None, :]).any((-2, -1))


def reach(leap: np.ndarray, start: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """How far along a row one comes without a leap.

    Args:
      leap: bool [N, S - 1], from each texel of N rows to the next.
      start, goal: texels int [n], of every row; goals before their start are walked to backwards.

    Returns:
      int [N, n], the goal, or the last texel before the first leap on the way to it.
    """
    before = np.concatenate([np.zeros((len(leap), 1), int), np.cumsum(leap, axis=1)], axis=1)  # leaps up to each texel
    found = np.broadcast_to(start, (len(leap), len(start))).copy()
    still = np.ones(found.shape, bool)
    direction = np.sign(goal - start)
    for step in range(1, int(np.abs(goal - start).max(initial=0)) + 1):
        at = start + direction * np.minimum(step, np.abs(goal - start))
        still &= before[:, at] == before[:, start]
        found = np.where(still, at, found)
    return found
