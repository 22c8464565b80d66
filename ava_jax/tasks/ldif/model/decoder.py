"""The decoder as it is trained: its normalisations follow the statistics of what they see."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from ava_jax.core.parallel import batch_mean
from ava_jax.core.variables import Running
from ava_jax.ops.implicit import decoder as functions
from ava_jax.ops.implicit.decoder import DecoderWeights, Dense, Norm

_KEPT = 0.995  # of the running statistics, per call


class ConditionalNorm(nnx.Module):
    """Conditional batch normalisation: y = (x - mean) / sqrt(variance + 1e-5) gamma(features) + beta(features).

    Mean and variance are one number each: over the points and channels of each element, averaged over elements, batch and devices. Training
    moves the running ones first and then normalises by them, as constants.
    """

    def __init__(self, features: int, channels: int, *, rngs: nnx.Rngs):
        """Statistics start at 0, as published.

        Args:
          features: L.
          channels: C.
          rngs: draws the weights.
        """
        self.beta = nnx.Linear(features, channels, rngs=rngs)
        self.gamma = nnx.Linear(features, channels, rngs=rngs)
        self.mean, self.variance = Running(jnp.zeros(())), Running(jnp.zeros(()))

    def __call__(self, features: jax.Array, x: jax.Array, *, train: bool) -> jax.Array:
        """Normalises x [..., P, C] by features [..., L]; `train` moves the running statistics."""
        if train:
            wide = lax.stop_gradient(x).astype(jnp.float32)
            means, squares = jnp.mean(wide, axis=(-2, -1)), jnp.mean(jnp.square(wide), axis=(-2, -1))  # one pass over x for both
            axes = tuple(range(means.ndim))
            for running, now in ((self.mean, batch_mean(means, axes)), (self.variance, batch_mean(squares - jnp.square(means), axes))):
                running[...] = _KEPT * running[...] + (1 - _KEPT) * now
        return functions.normalize(self.weights(), features, x).astype(x.dtype)

    def weights(self) -> Norm:
        """As the functions of `ops.implicit` take them."""
        return Norm(_dense(self.beta), _dense(self.gamma), self.mean[...], self.variance[...])


class Decoder(nnx.Module):
    """What an element's features add to its Gaussian at points in its frame; `ops.implicit.decode`, in training."""

    def __init__(self, features: int = 32, *, dtype: Any = None, silent: bool = False, rngs: nnx.Rngs):
        """Draws the weights; layers are as wide as there are features, which `.occnet` files need.

        Args:
          features: L.
          dtype: of what is between the first layer, which reads places, and the last; None: float32.
          silent: starts with details of 0 everywhere.
          rngs: draws.
        """
        width, self.dtype = features, dtype
        self.first = nnx.Linear(3, width, rngs=rngs)
        self.norm1 = ConditionalNorm(features, width, rngs=rngs)
        self.dense1 = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.norm2 = ConditionalNorm(features, width, rngs=rngs)
        self.dense2 = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.norm3 = ConditionalNorm(features, width, rngs=rngs)
        start = {"kernel_init": nnx.initializers.zeros} if silent else {}
        self.last = nnx.Linear(width, 1, **start, rngs=rngs)

    def __call__(self, features: jax.Array, local: jax.Array, *, train: bool = False) -> jax.Array:
        """Details [..., P] at points [..., P, 3] in the frames of elements of features [..., L]."""
        skip = self.norm1(features, self.first(local).astype(self.dtype or jnp.float32), train=train)
        x = self.norm2(features, self.dense1(jax.nn.relu(skip)), train=train)
        x = self.norm3(features, skip + self.dense2(jax.nn.relu(x)), train=train)
        return self.last(x.astype(jnp.float32))[..., 0]

    def weights(self) -> DecoderWeights:
        """As the functions of `ops.implicit`, and `.occnet` files, have them."""
        return DecoderWeights(*(part.weights() if isinstance(part, ConditionalNorm) else _dense(part) for part in self._parts()))

    def load(self, weights: DecoderWeights) -> None:
        """Takes weights over.

        Raises:
          ValueError: one has another shape.
        """
        for name, part, given in zip(DecoderWeights._fields, self._parts(), weights, strict=True):
            if isinstance(part, ConditionalNorm):
                variables = (part.beta.kernel, part.beta.bias, part.gamma.kernel, part.gamma.bias, part.mean, part.variance)
                arrays = (*given.beta, *given.gamma, given.mean, given.variance)
            else:
                variables, arrays = (part.kernel, part.bias), tuple(given)
            for variable, array in zip(variables, arrays, strict=True):
                if np.shape(array) != variable.shape:
                    raise ValueError(f"Decoder.load: {name} has an array of {np.shape(array)} where {variable.shape} is needed.")
                variable[...] = jnp.asarray(array, jnp.float32)

    def _parts(self) -> tuple[nnx.Linear | ConditionalNorm, ...]:
        return tuple(getattr(self, name) for name in DecoderWeights._fields)


def _dense(layer: nnx.Linear) -> Dense:
    return Dense(layer.kernel[...], layer.bias[...])
