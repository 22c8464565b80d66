"""Packing small arrays into one."""

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.train.packing import PACKED, SMALL, pack, pack_like, unpack_all


def _tree():
    arrays = {"weight": jnp.arange(6.0).reshape(2, 3), "map": jnp.arange(float(SMALL)).reshape(2, -1)}
    return {"a": arrays, "b": [jnp.float32(7), jnp.ones((0, 3)), jnp.ones((2, 1, 3)), jnp.ones(2, jnp.bfloat16)]}


def test_small_arrays_share_a_vector_and_large_ones_keep_their_names():
    """Whatever their axes: experts' weights [E, in, out] are no maps. Those of another type than float32 keep theirs."""
    packed = pack(_tree()).arrays
    assert sorted(packed) == ["a/map", "b/[3]", PACKED]
    np.testing.assert_array_equal(packed[PACKED], [0, 1, 2, 3, 4, 5, 7, 1, 1, 1, 1, 1, 1])


def test_what_is_done_to_the_packed_arrays_is_done_to_the_tree():
    tree = _tree()
    doubled = jax.jit(lambda packed: jax.tree.map(lambda x: 2 * x, packed))(pack(tree)).tree()
    assert jax.tree.structure(doubled) == jax.tree.structure(tree)
    jax.tree.map(lambda a, b: np.testing.assert_array_equal(a, 2 * b), doubled, tree)


def test_trees_without_small_or_without_large_arrays():
    for tree in ({"map": jnp.ones(SMALL)}, {"bias": jnp.ones(3)}):
        jax.tree.map(np.testing.assert_array_equal, pack(tree).tree(), tree)


def test_other_values_are_packed_alike_whatever_their_type():
    """Moments of an optimiser may be of another type than the parameters."""
    packed = pack(_tree())
    halves = jax.tree.map(lambda x: x.astype(jnp.bfloat16), packed)
    plain = unpack_all((halves, 3.0))
    again, three = pack_like((halves, 3.0), plain)
    assert three == 3.0 and jax.tree.structure(plain[0]) == jax.tree.structure(_tree())
    jax.tree.map(np.testing.assert_array_equal, again, halves)
    assert jax.tree.structure(again) == jax.tree.structure(packed)
