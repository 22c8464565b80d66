"""A person's model as training and evaluation use it: the networks with the capture's statistics, mesh and chart."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from ava_jax.core.types import Array, Assets, Batch
from ava_jax.nn.bottleneck import reparameterise
from ava_jax.tasks.multiface.model.network import DeepAppearanceModel
from ava_jax.tasks.multiface.model.screen import Screen
from ava_jax.tasks.multiface.model.statistics import Statistics


class Answer(NamedTuple):
    """What the model makes of a batch, normalised.

    Attributes:
      vertices: f32 [B, V, 3].
      texture: f32 [B, T, T, 3], as the sample's camera sees it.
      mean, logstd: f32 [B, Z], of the code.
    """

    vertices: jax.Array
    texture: jax.Array
    mean: jax.Array
    logstd: jax.Array


class Avatar(DeepAppearanceModel):
    """See the module."""

    def __init__(self, config: ConfigDict, assets: Assets, *, rngs: nnx.Rngs):
        """`config`: `config.model`; `assets`: as `data.source` gives them. Raises ValueError as `DeepAppearanceModel`."""
        super().__init__(config, vertices=len(assets.arrays["vertices_mean"]), cameras=len(assets.names["cameras"]), rngs=rngs)
        self.statistics = Statistics(assets, config.texture_size)
        self.screen = Screen(assets, outlines=config.outlines)

    def answer(self, batch: Batch, key: jax.Array | None = None) -> Answer:
        """Encodes a batch and decodes it again.

        Args:
          batch: `average_texture` [B, S, S, 3], `vertices` [B, V, 3], `view_direction` [B, 3], `camera` [B]: see `data.source`.
          key: draws the code; None: it is the mean.
        """
        average, _ = self.statistics.texture(batch["average_texture"])
        mean, logstd = self.encoder(average, self.statistics.vertices(batch["vertices"]))
        code = mean if key is None else reparameterise(mean, logstd, key)
        decoded = self.decode(code, jnp.asarray(batch["view_direction"]))
        return Answer(decoded.vertices, self.colour(decoded.texture, jnp.asarray(batch["camera"])), mean, logstd)


def vertex_error(answer: Answer, target: Array) -> jax.Array:
    """Mean squared difference from normalised vertices [B, V, 3]: [B]."""
    return jnp.mean(jnp.square(answer.vertices - target), axis=(1, 2))


def texture_error(answer: Answer, target: Array, mask: Array) -> jax.Array:
    """Mean squared difference from a normalised texture [B, T, T, 3] where it was seen; all texels are in the mean: [B]."""
    return jnp.mean(jnp.square(mask * (answer.texture - target)), axis=(1, 2, 3))


def divergence(answer: Answer) -> jax.Array:
    """Divergence of the code's distribution from the standard normal, a mean over its numbers: [B]."""
    mean, logstd = answer.mean, answer.logstd
    return jnp.mean(0.5 * (jnp.exp(2 * logstd) + jnp.square(mean) - 1 - 2 * logstd), axis=-1)
