"""The deep appearance model: average texture and mesh to a code; code and view direction to mesh and view-specific texture."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from ml_collections import ConfigDict

from ava_jax.core.names import nearest
from ava_jax.nn.layers import WNDense
from ava_jax.nn.sampling import resize_bilinear
from ava_jax.ops.mesh import sample_texture
from ava_jax.tasks.multiface.model.layers import ARCHS, Down, PlainConv3x3, Up

_MEAN_SCALE, _LOGSTD_SCALE = 0.1, 0.01
_VIEW = 8  # numbers that a view direction becomes
_WARP_SEED = 2  # side of the warp's first picture, texels
_PRECISIONS = ("float32", "bfloat16")


class Decoded(NamedTuple):
    """What a code gives, normalised.

    Attributes:
      vertices: f32 [B, V, 3].
      texture: f32 [B, T, T, 3], row 0 at v = 0, before colour correction.
      unwarped: the same before the warp; `texture` itself where there is none.
      grid: f32 [B, T, T, 2], (x, y) in -1..1, where `texture` reads `unwarped`; None where there is no warp.
    """

    vertices: jax.Array
    texture: jax.Array
    unwarped: jax.Array
    grid: jax.Array | None


class DeepAppearanceModel(nnx.Module):
    """See the module. Weight-normalised layers, LeakyReLU 0.2."""

    def __init__(self, config: ConfigDict, *, vertices: int, cameras: int, rngs: nnx.Rngs):
        """Draws the weights.

        Args:
          config: `config.model`.
          vertices: V.
          cameras: that colour is corrected for; the first one is the reference and has no parameters.
          rngs: of the weights.

        Raises:
          ValueError: a value lies outside its range.
        """
        _check(config)
        how = {"arch": config.arch, "dtype": jnp.dtype(config.precision)}
        self.encoder = Encoder(config, vertices, how, rngs=rngs)
        self.decoder = Decoder(config, vertices, how, rngs=rngs)
        self.warp = Warp(config, how, rngs=rngs) if config.arch == "warp" else None
        self.colour = ColourCorrection(cameras)

    def decode(self, code: jax.Array, view: jax.Array) -> Decoded:
        """A code f32 [B, Z] seen along `view` f32 [B, 3], head to camera, unit length."""
        vertices, unwarped = self.decoder(code, view)
        if self.warp is None:
            return Decoded(vertices, unwarped, unwarped, None)
        grid = self.warp(code)
        return Decoded(vertices, sample_texture(unwarped, 0.5 * (grid + 1), wrap="zero"), unwarped, grid)


class Encoder(nnx.Module):
    """Average texture and mesh to the mean and the logarithm of the standard deviation of a code."""

    def __init__(self, config: ConfigDict, vertices: int, how: dict, *, rngs: nnx.Rngs):
        channels = (3, *config.encoder_channels)
        self.downs = nnx.List([Down(a, b, rngs=rngs, **how) for a, b in zip(channels, channels[1:])])
        side = config.texture_size >> len(config.encoder_channels)
        self.texture = WNDense(channels[-1] * side * side, config.hidden, rngs=rngs)
        self.mesh = WNDense(3 * vertices, config.hidden, rngs=rngs)
        self.code = WNDense(2 * config.hidden, 2 * config.code, activate=False, rngs=rngs)

    def __call__(self, texture: jax.Array, vertices: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Normalised texture [B, T, T, 3] and vertices [B, V, 3] to mean and logstd, f32 [B, Z]."""
        h = texture
        for down in self.downs:
            h = down(h)
        h = h.reshape(len(h), -1).astype(jnp.float32)
        h = jnp.concatenate([self.texture(h), self.mesh(vertices.reshape(len(h), -1))], -1)
        mean, logstd = jnp.split(self.code(h), 2, -1)
        return _MEAN_SCALE * mean, _LOGSTD_SCALE * logstd


class Decoder(nnx.Module):
    """A code to the mesh; a code and a view direction to the texture."""

    def __init__(self, config: ConfigDict, vertices: int, how: dict, *, rngs: nnx.Rngs):
        channels = (config.code, *config.decoder_channels, 3)
        levels = len(channels) - 1
        self.side = config.texture_size >> levels
        self.view = WNDense(3, _VIEW, rngs=rngs)
        self.code = WNDense(config.code, config.hidden, rngs=rngs)
        self.mesh = WNDense(config.hidden, 3 * vertices, activate=False, rngs=rngs)
        self.seed = WNDense(config.hidden + _VIEW, self.side * self.side * config.code, rngs=rngs)
        self.ups = nnx.List(
            [Up(channels[i], channels[i + 1], self.side << (i + 1), activate=i < levels - 1, rngs=rngs, **how) for i in range(levels)]
        )

    def __call__(self, code: jax.Array, view: jax.Array) -> tuple[jax.Array, jax.Array]:
        """[B, Z] and [B, 3] to vertices [B, V, 3] and texture [B, T, T, 3], float32."""
        b, h = len(code), self.code(code)
        vertices = self.mesh(h).reshape(b, -1, 3)
        texture = self.seed(jnp.concatenate([self.view(view), h], -1)).reshape(b, self.side, self.side, -1)
        for up in self.ups:
            texture = up(texture)
        return vertices, texture.astype(jnp.float32)


class Warp(nnx.Module):
    """A code to where each texel of the final texture is read.

    The grid without offset runs from -1 to 1 inclusive while reading is by half pixels, as published: it shrinks the texture by a texel.
    """

    def __init__(self, config: ConfigDict, how: dict, *, rngs: nnx.Rngs):
        channels = (config.hidden, *config.warp_channels)
        self.size = config.texture_size
        self.mlp = nnx.List(
            [WNDense(config.code, config.hidden, rngs=rngs), WNDense(config.hidden, _WARP_SEED**2 * config.hidden, rngs=rngs)]
        )
        ups = [Up(channels[i], channels[i + 1], _WARP_SEED << (i + 1), activate=True, rngs=rngs, **how) for i in range(len(channels) - 1)]
        self.ups = nnx.List(ups)
        self.offset = PlainConv3x3(channels[-1], 2, rngs=rngs)

    def __call__(self, code: jax.Array) -> jax.Array:
        """[B, Z] to (x, y), f32 [B, T, T, 2]."""
        h = code
        for layer in self.mlp:
            h = layer(h)
        h = h.reshape(len(code), _WARP_SEED, _WARP_SEED, -1)
        for up in self.ups:
            h = up(h)
        h = h.astype(jnp.float32)
        if h.shape[1] != self.size:
            h = jax.vmap(lambda one: resize_bilinear(one, self.size, self.size))(h)
        line = jnp.linspace(-1.0, 1.0, self.size)
        return jnp.stack(jnp.meshgrid(line, line), -1) + self.offset(h) / self.size


class ColourCorrection(nnx.Module):
    """A gain and an offset per camera and channel, on the normalised texture; the first camera is the identity."""

    def __init__(self, cameras: int):
        self.gain = nnx.Param(jnp.ones((cameras - 1, 3)))
        self.offset = nnx.Param(jnp.zeros((cameras - 1, 3)))

    def __call__(self, texture: jax.Array, camera: jax.Array) -> jax.Array:
        """Texture [B, T, T, 3] as camera int32 [B] sees it; a camera that is not known, -1, as the first one does."""
        row = jnp.maximum(camera, 0)
        gain = jnp.concatenate([jnp.ones((1, 3)), self.gain[...]])[row]
        offset = jnp.concatenate([jnp.zeros((1, 3)), self.offset[...]])[row]
        return texture * gain[:, None, None] + offset[:, None, None]


def _check(config: ConfigDict) -> None:
    """Raises ValueError where a value of `config.model` lies outside its range."""
    for name, known in (("arch", ARCHS), ("precision", _PRECISIONS)):
        if config[name] not in known:
            raise ValueError(f"config.model.{name} must be one of {', '.join(known)}; got {config[name]!r}.{nearest(config[name], known)}")
    for name in ("code", "hidden"):
        if config[name] < 1:
            raise ValueError(f"config.model.{name} must be at least 1; got {config[name]}.")
    halvings = {"encoder_channels": len(config.encoder_channels), "decoder_channels": len(config.decoder_channels) + 1}
    for name, count in halvings.items():
        if config.texture_size < 1 << count or config.texture_size % (1 << count):
            raise ValueError(
                f"config.model.{name}: of {count} halvings texture_size must be a multiple of {1 << count}; got {config.texture_size}."
            )
