"""The decoder of local deep implicit functions: what an element's features add to it at a point in its frame.

Residual, with conditional batch normalisation, whose scale and offset are linear in the features (Mescheder et al., Occupancy Networks,
2019, supplementary 1.2; Genova et al., Local Deep Implicit Functions, 2020, section 4).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array

EPS = 1e-5


class Dense(NamedTuple):
    """x @ weight + bias: f32 [in, out] and [out]."""

    weight: Array
    bias: Array


class Norm(NamedTuple):
    """A conditional batch normalisation.

    Attributes:
      beta, gamma: from features [L] to offsets and scales [C].
      mean, variance: f32 [], running.
    """

    beta: Dense
    gamma: Dense
    mean: Array
    variance: Array


class DecoderWeights(NamedTuple):
    """All weights, in the order of `.occnet` files."""

    first: Dense
    norm1: Norm
    dense1: Dense
    norm2: Norm
    dense2: Dense
    norm3: Norm
    last: Dense


def dense(weights: Dense, x: Array) -> jax.Array:
    """[..., in] to [..., out]."""
    return jnp.asarray(x) @ weights.weight + weights.bias


def normalize(norm: Norm, features: Array, x: Array) -> jax.Array:
    """Normalises x [..., P, C] by the running statistics; features [..., L] of each element."""
    scale = dense(norm.gamma, features) * jax.lax.rsqrt(norm.variance + EPS)
    return (x - norm.mean) * scale[..., None, :] + dense(norm.beta, features)[..., None, :]


def moments(x: Array) -> tuple[jax.Array, jax.Array]:
    """Mean and variance over the points and channels of each element, averaged over elements: x [..., P, C] to [] and []."""
    means = jnp.mean(x, axis=(-2, -1), keepdims=True)
    return jnp.mean(means), jnp.mean(jnp.square(x - means))


def decode(weights: DecoderWeights, features: Array, local: Array) -> jax.Array:
    """What the elements' details are at points, with running statistics.

    Args:
      weights: as `.occnet` files hold them.
      features: f32 [..., L].
      local: f32 [..., P, 3], in each element's frame.

    Returns:
      f32 [..., P].
    """
    skip = normalize(weights.norm1, features, dense(weights.first, local))
    x = dense(weights.dense1, jax.nn.relu(skip))
    x = dense(weights.dense2, jax.nn.relu(normalize(weights.norm2, features, x)))
    return dense(weights.last, normalize(weights.norm3, features, skip + x))[..., 0]
