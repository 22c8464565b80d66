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

PACKED = "packed"


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Packed:
    """A tree of arrays, packed, which knows how to come apart; to JAX a tree of the packed arrays.

    What is done to each value by itself may be done to the packed arrays: `optimization` packs parameters that learn so.

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
        small = {name: shape for name, shape in self.shapes if name not in self.arrays}
        for name, shape in small.items():
            found[name] = self.arrays[PACKED][start : start + math.prod(shape)].reshape(shape)
            start += math.prod(shape)
        # Compilers read a bias in place from a short vector, but cut it out of a long one by a kernel of its own.
        vectors = {name: shape for name, shape in small.items() if len(shape) == 1}
        if vectors:
            together = lax.optimization_barrier(jnp.concatenate([found[name] for name in vectors]))
            ends = itertools.accumulate(size for (size,) in vectors.values())
            found |= {name: together[end - size : end] for (name, (size,)), end in zip(vectors.items(), ends)}
        return jax.tree.unflatten(self.structure, [found[name] for name, _ in self.shapes])

    def pack(self, tree: Any) -> "Packed":
        """Other values of the same tree, gradients say, packed alike."""
        leaves = dict(zip((name for name, _ in self.shapes), jax.tree.leaves(tree), strict=True))
        small = [leaf.reshape(-1) for name, leaf in leaves.items() if name not in self.arrays]
        arrays = {name: leaf for name, leaf in leaves.items() if name in self.arrays}
        return Packed(arrays | ({PACKED: jnp.concatenate(small)} if small else {}), self.structure, self.shapes)


def pack(tree: Any) -> Packed:
    """Packs a tree of arrays of any shapes: the small ones, of those of float32, together in one vector."""
    leaves, structure = jax.tree_util.tree_flatten_with_path(tree)
    leaves = {_name(path): leaf for path, leaf in leaves}
    kept = {name: leaf for name, leaf in leaves.items() if leaf.size >= SMALL or leaf.dtype != jnp.float32}
    return Packed(kept, structure, tuple((name, leaf.shape) for name, leaf in leaves.items())).pack(tree)


def is_packed(node: Any) -> bool:
    """Whether a node of a tree is `Packed`: for `jax.tree.map(..., is_leaf=is_packed)`."""
    return isinstance(node, Packed)


def _name(path: tuple) -> str:
    return "/".join(str(getattr(key, "key", getattr(key, "name", key))) for key in path)


# For code that is not compiled as a whole: there, each of hundreds of slices would be compiled by itself.


@jax.jit
def unpack_all(tree: Any) -> Any:
    """A tree of arrays, some of whose nodes are `Packed`, with their trees in their stead."""
    return jax.tree.map(lambda node: node.tree() if is_packed(node) else node, tree, is_leaf=is_packed)


@jax.jit
def pack_like(like: Any, tree: Any) -> Any:
    """What `unpack_all` made of a tree, packed as `like` is."""
    return jax.tree.map(lambda node, part: node.pack(part) if is_packed(node) else part, like, tree, is_leaf=is_packed)
