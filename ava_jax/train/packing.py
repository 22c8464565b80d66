"""Many small arrays as one, so that an operation on all of them is one kernel and not hundreds of two microseconds."""

import dataclasses
import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

# Arrays of fewer values are packed; larger ones would gain nothing.
SMALL = 1 << 17
# Maps [H, W, C] of any size stay arrays of their own under their own names: optimisers treat them apart from weights.
_MAP_AXES = 3

PACKED = "packed"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Packed:
    """A tree of arrays, packed, which knows how to come apart; to JAX a tree of the packed arrays.

    Attributes:
      arrays: {path: array}; the small ones together as the vector `PACKED`, [N].
      structure: of the tree that was packed.
      shapes: path and shape of each of its arrays, in their order.
    """

    arrays: dict[str, jax.Array]
    structure: Any = dataclasses.field(metadata={"static": True})
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = dataclasses.field(metadata={"static": True})

    def tree(self) -> Any:
        """The tree, as before it was packed. Under `jit` the small arrays are slices, which are read in place."""
        found, start = dict(self.arrays), 0
        for name, shape in self.shapes:
            if _is_packed(shape):
                found[name] = self.arrays[PACKED][start : start + math.prod(shape)].reshape(shape)
                start += math.prod(shape)
        # Compilers read a bias in place from a short vector, but cut it out of a long one by a kernel of its own.
        vectors = {name: shape for name, shape in self.shapes if _is_packed(shape) and len(shape) == 1}
        if vectors:
            together = lax.optimization_barrier(jnp.concatenate([found[name] for name in vectors]))
            ends = itertools.accumulate(size for (size,) in vectors.values())
            found |= {name: together[end - size : end] for (name, (size,)), end in zip(vectors.items(), ends)}
        return jax.tree.unflatten(self.structure, [found[name] for name, _ in self.shapes])


def pack(tree: Any) -> Packed:
    """Packs a tree of arrays, any shapes, one type: the small ones, maps apart, in one vector."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    small = [leaf.reshape(-1) for _, leaf in leaves if _is_packed(leaf.shape)]
    arrays = {_name(path): leaf for path, leaf in leaves if not _is_packed(leaf.shape)}
    arrays |= {PACKED: jnp.concatenate(small)} if small else {}
    return Packed(arrays, structure, tuple((_name(path), leaf.shape) for path, leaf in leaves))


def _is_packed(shape: tuple[int, ...]) -> bool:
    return math.prod(shape) < SMALL and len(shape) != _MAP_AXES


def _name(path: tuple) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path)


# For code that is not compiled as a whole: there, each of hundreds of slices would be compiled by itself.
packed, unpacked = jax.jit(pack), jax.jit(Packed.tree)
