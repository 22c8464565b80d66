"""Sums over many arrays."""

import jax.numpy as jnp
import numpy as np
import optax

from ava_jax.core.norms import global_norm, total


def _tree():
    rng = np.random.default_rng(0)
    shapes = {"scalar": (), "empty": (0, 3), "short": (5,), "row": (1024,), "uneven": (3, 683), "rows": (4, 2, 1024)}
    return {name: jnp.asarray(rng.standard_normal(shape), jnp.float32) for name, shape in shapes.items()}


def test_the_total_counts_every_value_once():
    tree = _tree()
    want = sum(int(np.sum(np.asarray(x) > 0)) for x in tree.values())
    assert 4000 < want < 8000
    got = total(tree, lambda x: (x > 0).astype(jnp.int32))
    assert got == want and got.dtype == jnp.int32 and got.shape == ()


def test_the_norm_is_that_of_all_values():
    tree = _tree()
    np.testing.assert_allclose(global_norm(tree), np.sqrt(sum(np.sum(np.square(x, dtype=np.float64)) for x in tree.values())), rtol=1e-6)
    np.testing.assert_allclose(global_norm(tree), optax.tree.norm(tree), rtol=1e-6)


def test_one_value_that_is_not_finite_makes_the_norm_so():
    tree = _tree() | {"bad": jnp.array([1.0, jnp.inf])}
    assert jnp.isinf(global_norm(tree))
