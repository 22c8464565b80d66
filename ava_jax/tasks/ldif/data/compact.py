"""Examples in few bytes, as packed records and devices hold them: 2.6 MB each instead of 5.

  samples   u32 [P, 2]: 21 bits each for x, y, z over +-reach, one for the side: 4e-7 from where they were, for a reach of 0.7
  points    u32 [P, 3]: the place likewise; the normal on an octahedron unfolded to a square, 16 bits a side: 6e-5 radians
  depth     u16 [V, 137, 137]: 1/16384 of a unit, 3e-5 from what was, where the published images have steps of 1e-3; 0 stays 0
  image     u8 [137, 137, 3]

Of a sample no more than its side is kept, which is all that losses and scores ask for. Decoding works on NumPy and, in traced functions,
on JAX arrays.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array, Batch

_BITS = 21
_MOST = (1 << _BITS) - 1
_LOW = 11  # bits of y in the first word
_NORMAL = (1 << 16) - 1
DEPTH_STEPS = 16384  # per unit


def reach(*places: np.ndarray) -> np.float32:
    """How far from the origin, along an axis, any of some places [P, 3] lies; 0.7, the box that samples are drawn from, at least."""
    return np.float32(max(0.7, *(float(np.abs(one).max(initial=0)) for one in places)))


def pack_samples(samples: np.ndarray, far: np.float32) -> np.ndarray:
    """Samples f32 [P, 4], place and a value that is above 0 outside, as u32 [P, 2]; `far` is their reach."""
    words = _pack_places(samples[:, :3], far)
    words[:, 1] |= (~(samples[:, 3] > 0)).astype(np.uint32) << 31
    return words


def samples(rows: Array, far: Array) -> Array:
    """Samples f32 [..., P, 4], the value 1 outside and -1 inside, of rows u32 [..., P, 2] and reaches [...]; f32 rows are given back."""
    if rows.dtype != np.uint32:
        return rows
    xp = _of(rows)
    side = 1 - 2 * (rows[..., 1] >> 31).astype(np.float32)
    return xp.concatenate([_places(rows, far), side[..., None]], axis=-1)


def pack_points(points: np.ndarray, far: np.float32) -> np.ndarray:
    """Points with normals f32 [P, 6] as u32 [P, 3]; `far` is their reach."""
    normals = points[:, 3:].astype(np.float64)
    normals /= np.maximum(np.abs(normals).sum(1, keepdims=True), 1e-12)
    folded = (1 - np.abs(normals[:, 1::-1])) * np.where(normals[:, :2] >= 0, 1, -1)
    square = np.where(normals[:, 2:] >= 0, normals[:, :2], folded)
    u, v = np.rint((square * 0.5 + 0.5) * _NORMAL).astype(np.uint32).T
    return np.concatenate([_pack_places(points[:, :3], far), (u | v << 16)[:, None]], axis=1)


def points(rows: Array, far: Array) -> Array:
    """Points with unit normals f32 [..., P, 6] of rows u32 [..., P, 3] and reaches [...]; f32 rows are given back."""
    if rows.dtype != np.uint32:
        return rows
    xp = _of(rows)
    word = rows[..., 2]
    x, y = (2 * (part.astype(np.float32) / _NORMAL) - 1 for part in (word & _NORMAL, word >> 16))
    z = 1 - abs(x) - abs(y)
    x, y = (xp.where(z < 0, (1 - abs(b)) * xp.where(a >= 0, 1, -1), a) for a, b in ((x, y), (y, x)))
    normals = xp.stack([x, y, z], axis=-1)
    normals = (normals / xp.sqrt((normals * normals).sum(-1, keepdims=True))).astype(np.float32)
    return xp.concatenate([_places(rows, far), normals], axis=-1)


def pack_depth(depth: np.ndarray) -> np.ndarray:
    """Depths f32 [H, W, V] as u16 [V, H, W].

    Raises:
      ValueError: one is 4 units or more: the mesh is far larger than its mass says.
    """
    if depth.max(initial=0) * DEPTH_STEPS > 65535:
        raise ValueError(f"a depth of {depth.max():.3g}: packed records hold up to 4; the mesh has parts far from its middle.")
    return np.ascontiguousarray(np.moveaxis(np.rint(depth * DEPTH_STEPS), -1, 0).astype(np.uint16))


def unpacked(batch: Batch) -> dict[str, Any]:
    """A batch [B, ...] with the depths and points that networks read, f32; its samples stay as they are, to be drawn from.

    Of a batch that is not packed nothing changes.
    """
    out = dict(batch)
    if out["depth"].dtype == np.uint16:
        out["depth"] = _of(out["depth"]).moveaxis(out["depth"], -3, -1).astype(np.float32) / DEPTH_STEPS
    if "points" in out:
        out["points"] = points(out["points"], out.get("reach"))
    return out


def _pack_places(places: np.ndarray, far: np.float32) -> np.ndarray:
    if len(places) and np.abs(places).max() > far:
        raise ValueError(f"a sample lies {np.abs(places).max():.4g} from the origin, beyond its example's reach of {far:.4g}.")
    x, y, z = np.rint((places.astype(np.float64) / float(far) * 0.5 + 0.5) * _MOST).astype(np.uint32).T
    return np.stack([x | (y << _BITS), (y >> _LOW) | (z << (_BITS - _LOW))], axis=1)


def _places(rows: Array, far: Array) -> Array:
    first, second = rows[..., 0], rows[..., 1]
    y = (first >> _BITS) | ((second & ((1 << (_BITS - _LOW)) - 1)) << _LOW)
    numbers = _of(rows).stack([first & _MOST, y, (second >> (_BITS - _LOW)) & _MOST], axis=-1).astype(np.float32)
    return (numbers * np.float32(2 / _MOST) - 1) * _of(rows).asarray(far, np.float32)[..., None, None]


def _of(array: Array) -> Any:
    return jnp if isinstance(array, jax.Array) else np
