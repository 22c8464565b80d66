"""The whole network: depth images or a picture, and of LDIF surface points, to elements with features; their decoder beside it."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from ava_jax.core.parallel import by_sample
from ava_jax.core.types import Array, Batch
from ava_jax.ops import implicit
from ava_jax.tasks.ldif.model.decoder import Decoder
from ava_jax.tasks.ldif.model.encoders import RESNETS, Head, ResNet, SmallNetwork
from ava_jax.tasks.ldif.model.pointnet import PointNet, chosen, distances

ENCODERS = (*RESNETS, "small")
FEATURES_FROM = ("points", "code")
PRECISIONS = {"float32": None, "bfloat16": jnp.bfloat16}


class ShapeNetwork(nnx.Module):
    """See the module. `config`: `config.model`."""

    def __init__(self, config: ConfigDict, *, image: bool = False, initial: Array | None = None, rngs: nnx.Rngs):
        """Draws the weights.

        Args:
          config: `config.model`.
          image: whether it looks at a picture, `config.data.image`, instead of depth.
          initial: f32 [N, 7 or 10], what it says of every shape's elements at first; None: next to nothing.
          rngs: draws.

        Raises:
          ValueError: a value lies outside its range.
        """
        if config.encoder not in ENCODERS:
            raise ValueError(f"config.model.encoder must be one of {', '.join(ENCODERS)}; got {config.encoder!r}.")
        if not 0 <= config.symmetric <= config.elements or config.elements < 1:
            raise ValueError(f"config.model.symmetric must be within 0..elements; got {config.symmetric} of {config.elements}.")
        if config.features and not config.rotated:
            raise ValueError("config.model.features: the decoder reads places in the elements' own frames: rotated must be True.")
        if not 1 <= config.views <= 20:
            raise ValueError(f"config.model.views must be within 1..20; got {config.views}.")
        if config.features_from not in FEATURES_FROM:
            raise ValueError(f"config.model.features_from must be one of {', '.join(FEATURES_FROM)}; got {config.features_from!r}.")
        if config.precision not in PRECISIONS:
            raise ValueError(f"config.model.precision must be one of {', '.join(PRECISIONS)}; got {config.precision!r}.")
        dtype = PRECISIONS[config.precision]
        self.symmetric, self.rotated, self.views = config.symmetric, config.rotated, config.views
        self.surface_points, self.local_points = config.surface_points, config.local_points
        self.image = image
        channels = 3 if image else config.views
        if config.encoder == "small":
            self.encoder, code = SmallNetwork(channels, config.code, dtype=dtype, rngs=rngs), config.code
        else:
            self.encoder, code = ResNet(channels, RESNETS[config.encoder], dtype=dtype, rngs=rngs), ResNet.code
        of_points = config.features and config.features_from == "points"
        numbers = (10 if config.rotated else 7) + (0 if of_points else config.features)
        self.head = Head(code, config.head_width, config.elements, numbers, rngs=rngs)
        if initial is not None:
            bias = self.head.last.bias[...].reshape(config.elements, numbers).at[:, : initial.shape[1]].set(initial)
            self.head.last.bias[...] = bias.reshape(-1)
        self.pointnet = PointNet(config.features, dtype=dtype, rngs=rngs) if of_points else None
        how = {"dtype": dtype, "kernels": config.decoder_kernels}
        self.decoder = Decoder(config.features, **how, rngs=rngs) if config.features else None

    def elements(self, batch: Batch, key: jax.Array, *, train: bool) -> implicit.Elements:
        """Elements [B, N, ...] of what the batch shows.

        Args:
          batch: `depth` f32 [B, 137, 137, 20], or `image` u8 [B, 137, 137, 3]; where features are found from them, `points` f32 [B, P, 6].
          key: draws which points are looked at, each sample's by itself.
          train: moves running statistics.
        """
        seen = batch["image"] / jnp.float32(255) if self.image else batch["depth"][..., : self.views]
        found = implicit.from_network(self.head(self.encoder(seen, train=train)))
        if self.pointnet is None:
            return found
        points = batch["points"][:, : self.surface_points]  # they are in random order
        keys = by_sample(lambda own: own, key, len(points))
        which = chosen(distances(found, points), min(self.local_points, points.shape[1]), keys)
        near = jax.vmap(lambda own, at: own[at])(points, which)
        return found._replace(features=self.pointnet(found, near))

    def values(self, elements: implicit.Elements, points: Array, *, train: bool) -> jax.Array:
        """The function of elements [B, N, ...] at points [B, P, 3]: [B, P]."""
        return implicit.evaluate(elements, points, symmetric=self.symmetric, detail=self.detail(train), rotated=self.rotated)

    def detail(self, train: bool) -> Callable | None:
        """What features add; None of SIF and SIF++."""
        return None if self.decoder is None else functools.partial(self.decoder, train=train)
