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
from ava_jax.tasks.ldif.model import fused_decoder
from ava_jax.tasks.ldif.model.fused_decoder import Affine, Layers

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
            self.move(jnp.mean(wide, axis=(-2, -1)), jnp.mean(jnp.square(wide), axis=(-2, -1)))  # one pass over x for both
        return functions.normalize(self.weights(), features, x).astype(x.dtype)

    def move(self, means: jax.Array, squares: jax.Array) -> None:
        """Moves the running statistics by what elements' means and mean squares, [B, ...] both, say of this call."""
        axes = tuple(range(means.ndim))
        for running, now in ((self.mean, batch_mean(means, axes)), (self.variance, batch_mean(squares - jnp.square(means), axes))):
            running[...] = _KEPT * running[...] + (1 - _KEPT) * lax.stop_gradient(now)

    def affine(self, features: jax.Array) -> Affine:
        """Scales and shifts of elements' channels: features [R, L] to [R, C] each."""
        scale = self.gamma(features) * lax.rsqrt(self.variance[...] + functions.EPS)
        return Affine(scale, self.beta(features) - self.mean[...] * scale)

    def weights(self) -> Norm:
        """As the functions of `ops.implicit` take them."""
        return Norm(_dense(self.beta), _dense(self.gamma), self.mean[...], self.variance[...])


class Decoder(nnx.Module):
    """What an element's features add to its Gaussian at points in its frame; `ops.implicit.decode`, in training."""

    def __init__(self, features: int = 32, *, dtype: Any = None, kernels: bool = False, rngs: nnx.Rngs):
        """Draws the weights; layers are as wide as there are features, which `.occnet` files need.

        Args:
          features: L.
          dtype: of what is between the first layer, which reads places, and the last; None: float32.
          kernels: on GPUs, trains by those of `fused_decoder`, whatever `dtype`.
          rngs: draws.
        """
        width, self.dtype, self.kernels = features, dtype, kernels
        self.first = nnx.Linear(3, width, rngs=rngs)
        self.norm1 = ConditionalNorm(features, width, rngs=rngs)
        self.dense1 = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.norm2 = ConditionalNorm(features, width, rngs=rngs)
        self.dense2 = nnx.Linear(width, width, dtype=dtype, rngs=rngs)
        self.norm3 = ConditionalNorm(features, width, rngs=rngs)
        self.last = nnx.Linear(width, 1, rngs=rngs)

    def __call__(self, features: jax.Array, local: jax.Array, *, train: bool = False) -> jax.Array:
        """Details [..., P] at points [..., P, 3] in the frames of elements of features [..., L]."""
        if train and self.kernels and jax.default_backend() == "gpu" and fused_decoder.fits(local.shape[-2], self.last.in_features):
            return self.fused(features, local)
        skip = self.norm1(features, self.first(local).astype(self.dtype or jnp.float32), train=train)
        x = self.norm2(features, self.dense1(jax.nn.relu(skip)), train=train)
        x = self.norm3(features, skip + self.dense2(jax.nn.relu(x)), train=train)
        return self.last(x.astype(jnp.float32))[..., 0]

    def fused(self, features: jax.Array, local: jax.Array, *, interpret: bool = False) -> jax.Array:
        """As a call in training, of features [B, N, L] and points [B, N, P, 3], by the kernels of `fused_decoder`."""
        lead, points = local.shape[:2], jnp.swapaxes(local, -1, -2).reshape(-1, 3, local.shape[-2])
        rows = features.reshape(-1, features.shape[-1])
        layers = Layers(*(variable[...] for layer in self._linears() for variable in (layer.kernel, layer.bias)))
        layers = layers._replace(last=layers.last[:, 0])
        self.norm1.move(*(part.reshape(lead) for part in _moments_of_first(layers, lax.stop_gradient(points))))
        norms = (self.norm1.affine(rows),)
        for norm in (self.norm2, self.norm3):
            norm.move(*(part.reshape(lead) for part in fused_decoder.moments(layers, norms, points, interpret=interpret)))
            norms += (norm.affine(rows),)
        return fused_decoder.details(layers, norms, points, interpret).reshape(*lead, -1)

    def _linears(self) -> tuple[nnx.Linear, ...]:
        return self.first, self.dense1, self.dense2, self.last

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


def _moments_of_first(layers: Layers, points: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Means and mean squares of the first layer's values at points [R, 3, P], [R] each, by the points' own moments."""
    weight, bias = layers.first, layers.first_bias
    mean = jnp.mean(points, axis=-1)
    second = jnp.mean(points[:, :, None] * points[:, None], axis=-1)
    products, mixed = (jnp.mean(weight[:, None] * weight, axis=-1), jnp.mean(weight * bias, axis=-1))
    means = jnp.sum(mean * jnp.mean(weight, axis=-1), axis=-1) + jnp.mean(bias)
    squares = jnp.sum(second * products, axis=(1, 2)) + 2 * jnp.sum(mean * mixed, axis=-1) + jnp.mean(jnp.square(bias))
    return means, squares
