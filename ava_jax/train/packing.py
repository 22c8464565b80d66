"""Many small arrays as one, so that an operation on all of them is one kernel and not hundreds of two microseconds."""

import math
from typing import Any

import jax
import jax.numpy as jnp

# Arrays of fewer values are packed; larger ones would gain nothing.
SMALL = 1 << 17
# Maps [H, W, C] of any size stay arrays of their own under their own names: optimisers treat them apart from weights.
_MAP_AXES = 3

PACKED = "packed"


def pack(tree: Any) -> dict[str, jax.Array]:
    """A tree of arrays, any shapes, one type, as {path: array}; the small ones, maps apart, together as the vector `PACKED`, [N]."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    small = [leaf.reshape(-1) for _, leaf in leaves if _is_packed(leaf)]
    others = {_name(path): leaf for path, leaf in leaves if not _is_packed(leaf)}
    return others | ({PACKED: jnp.concatenate(small)} if small else {})


def unpack(packed: dict[str, jax.Array], like: Any) -> Any:
    """The inverse of `pack`, from its arrays, one of them the vector [N], to a tree of the shapes of `like`."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(like)
    restored, start = [], 0
    for path, leaf in leaves:
        if not _is_packed(leaf):
            restored.append(packed[_name(path)])
        else:
            restored.append(packed[PACKED][start : start + math.prod(leaf.shape)].reshape(leaf.shape))
            start += leaf.size
    return jax.tree.unflatten(structure, restored)


def _is_packed(leaf: jax.Array) -> bool:
    return leaf.size < SMALL and leaf.ndim != _MAP_AXES


def _name(path: tuple) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path)
