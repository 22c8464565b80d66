"""Packing small arrays into one."""

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.train.packing import PACKED, SMALL, pack


def _tree():
    arrays = {"weight": jnp.arange(6.0).reshape(2, 3), "map": jnp.arange(float(SMALL)).reshape(2, -1)}
    return {"a": arrays, "b": [jnp.float32(7), jnp.ones((0, 3)), jnp.ones((2, 2, 3))]}


def test_small_arrays_share_a_vector_and_large_ones_and_maps_keep_their_names():
    packed = pack(_tree()).arrays
    assert sorted(packed) == ["a/map", "b/[2]", PACKED]
    np.testing.assert_array_equal(packed[PACKED], [0, 1, 2, 3, 4, 5, 7])


def test_what_is_done_to_the_packed_arrays_is_done_to_the_tree():
    tree = _tree()
    doubled = jax.jit(lambda packed: jax.tree.map(lambda x: 2 * x, packed))(pack(tree)).tree()
    assert jax.tree.structure(doubled) == jax.tree.structure(tree)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 2 * b), doubled, tree)


def test_trees_without_small_or_without_large_arrays():
    for tree in ({"map": jnp.ones(SMALL)}, {"bias": jnp.ones(3)}):
        jax.tree.map(np.testing.assert_array_equal, pack(tree).tree(), tree)
