"""Encoders of identity and of expression. Source: Codec Avatar Studio, 2024, section 4 and its supplement."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.nn.layers import WNConv3x3, WNConvDown, WNDense, add_bias
from ava_jax.nn.sampling import resize_bilinear, sample_bilinear
from ava_jax.tasks.ava256.kernels import fused_combiner
from ava_jax.tasks.ava256.model.sizes import CODE_CHANNELS, Sizes

WARP_SIDE = 128
_IMAGE_CHANNELS = 3
# Channels by the resolution that a layer writes.
_IDENTITY_LADDER = {512: 16, 256: 32, 128: 64, 64: 64, 32: 128, 16: 128, 8: 256, 4: 256}
_TEXTURE_LADDER = {512: 16, 256: 32, 128: 64}
_GEOMETRY_LADDER = {512: 16, 256: 32, 128: 32}
_EXPRESSION_LADDER = {64: 128, 32: 256, 16: 256, 8: 512}
_EXPRESSION_HEAD = (256, 128, 64)
_EXPRESSION_FEATURES = 64


class IdentityCode(NamedTuple):
    """Who a person is, as the decoders read it.

    Attributes:
      z_geo, z_tex: [B, 4, 4, 16], float32.
      maps_geo, maps_tex: a map [B, R, R, C] for each resolution R = 8, 16, ... below the texture's, coarsest first.
      colours: [B, S, S, 3], 0-255, of the neutral face where the slab's voxels lie, to which decoded colours are added; None: decoded
        colours are whole ones.
      vertices: [B, V, 3], mm, of the neutral face, likewise.
      around: [B, S, S, 3], 0-255, around these colours (`texels.surroundings`), where components of expressions ask for them.
    """

    z_geo: jax.Array
    z_tex: jax.Array
    maps_geo: tuple[jax.Array, ...]
    maps_tex: tuple[jax.Array, ...]
    colours: jax.Array | None = None
    vertices: jax.Array | None = None
    around: jax.Array | None = None


def _ladder(channels: dict[int, int], sizes: Sizes) -> list[int]:
    """Channels from the input on, finest first."""
    return [_IMAGE_CHANNELS] + [sizes.channels(c) for side, c in channels.items() if side < sizes.texture]


def _down_layers(ladder: list[int], dtype: jnp.dtype, rngs: nnx.Rngs) -> nnx.List:
    return nnx.List([WNConvDown(i, o, dtype=dtype, rngs=rngs) for i, o in zip(ladder, ladder[1:])])


class UNetEncoder(nnx.Module):
    """An image to a code and the features at each resolution on the way, of which taps make maps."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        ladder = _ladder(_IDENTITY_LADDER, sizes)
        self.halvings = _down_layers(ladder, sizes.dtype, rngs)
        self.taps = nnx.List([WNDense(c, c, dtype=sizes.dtype, rngs=rngs) for c in ladder[:-1]])
        self.code = WNDense(ladder[-1], CODE_CHANNELS, activate=False, rngs=rngs)

    def __call__(self, image: jax.Array) -> tuple[jax.Array, list[jax.Array]]:
        """[B, T, T, 3] to code [B, 4, 4, 16] and features, finest first, the first of them the image."""
        features = [image]
        for layer in self.halvings:
            features.append(layer(features[-1]))
        return self.code(features[-1]), features[:-1]


class MapCombiner(nnx.Module):
    """Mixes the geometry's and the texture's maps of one resolution."""

    def __init__(self, channels: int, *, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.to_geo = WNDense(channels, channels, dtype=dtype, rngs=rngs)
        self.to_tex = WNDense(channels, channels, dtype=dtype, rngs=rngs)
        self.geo = WNDense(2 * channels, channels, dtype=dtype, rngs=rngs)
        self.tex = WNDense(2 * channels, channels, dtype=dtype, rngs=rngs)

    def __call__(self, geo: jax.Array, tex: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Maps of geometry and texture, [B, R, R, C] each, to as many."""
        return (
            self.geo(jnp.concatenate([geo, self.to_geo(tex)], axis=-1)),
            self.tex(jnp.concatenate([tex, self.to_tex(geo)], axis=-1)),
        )

    def apply_fused(self, tap_geo: WNDense, tap_tex: WNDense, geo: jax.Array, tex: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Both taps, then this combiner: features [B, R, R, C] of both images to maps, likewise.

        All weights are normalised at once: one by one, each costs a dozen small kernels.
        """
        w = self.effective_weights(tap_geo, tap_tex).matrices.astype(geo.dtype)
        h_geo, h_tex = (add_bias(x @ w[i], tap.bias[...], True) for i, (x, tap) in enumerate(((geo, tap_geo), (tex, tap_tex))))
        from_tex, from_geo = add_bias(h_tex @ w[2], self.to_geo.bias[...], True), add_bias(h_geo @ w[3], self.to_tex.bias[...], True)
        own, other = jnp.concatenate([h_geo, from_tex], axis=-1), jnp.concatenate([h_tex, from_geo], axis=-1)
        last = w[4:].reshape(2, -1, w.shape[-1])
        return add_bias(own @ last[0], self.geo.bias[...], True), add_bias(other @ last[1], self.tex.bias[...], True)

    def effective_weights(self, tap_geo: WNDense, tap_tex: WNDense) -> fused_combiner.Weights:
        """Of two taps and this combiner, as `fused_combiner` takes them: `WNDense.effective_weight` of all layers at once."""
        layers = (tap_geo, tap_tex, self.to_geo, self.to_tex, self.geo, self.tex)
        c = tap_geo.weight.shape[1]
        weights = jnp.concatenate([layer.weight[...] for layer in layers]).reshape(8, c, c)
        squares = jnp.sum(weights * weights, axis=(1, 2))
        halves = squares[4:].reshape(2, 2)  # of the last layers' norms
        squares = jnp.concatenate([squares[:4], (halves + halves[:, ::-1]).reshape(-1)])
        magnitudes = jnp.stack([layers[i].magnitude[...] for i in (0, 1, 2, 3, 4, 4, 5, 5)])
        matrices = weights * (magnitudes / jnp.sqrt(squares)[:, None])[:, None]
        biases = [layer.bias[...] for layer in layers]
        return fused_combiner.Weights(matrices, jnp.stack([*biases, *[jnp.zeros_like(biases[0])] * 2]))


class IdentityEncoder(nnx.Module):
    """The neutral texture and geometry image of a person to an `IdentityCode`."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        self.tex = UNetEncoder(sizes, rngs=rngs)
        self.geo = UNetEncoder(sizes, rngs=rngs)
        ladder = _ladder(_IDENTITY_LADDER, sizes)
        self.combiners = nnx.List([MapCombiner(c, dtype=sizes.dtype, rngs=rngs) for c in ladder[:-1]])
        self.warp = nnx.Param(jnp.zeros((WARP_SIDE, WARP_SIDE, 2)))  # (x, y), in units of 1 / WARP_SIDE

    def __call__(self, texture: jax.Array, geometry: jax.Array, *, finest: bool = False) -> IdentityCode:
        """Normalised images [B, T, T, 3] to the code.

        Args:
          texture, geometry: of the neutral.
          finest: whether to compute the maps at T too, which the published model has but no decoder reads.
        """
        z_tex, features_tex = self.tex(texture)
        z_geo, features_geo = self.geo(geometry)
        combined = []
        for level, (geo, tex) in enumerate(zip(features_geo, features_tex)):
            if level > 0 or finest:
                both = self._maps(level, geo, tex)
                combined.append(jnp.split(sample_bilinear(both, self.warp_points(geo.shape[1])), 2, axis=-1))
        geo, tex = zip(*reversed(combined))
        return IdentityCode(z_geo, z_tex, geo, tex)

    def _maps(self, level: int, geo: jax.Array, tex: jax.Array) -> jax.Array:
        """Features [B, R, R, C] of both images to the maps of both, [B, R, R, 2 C], geometry's first."""
        combine, tap_geo, tap_tex = self.combiners[level], self.geo.taps[level], self.tex.taps[level]
        if fused_combiner.is_supported(geo):
            return fused_combiner.fused_combiner(geo, tex, combine.effective_weights(tap_geo, tap_tex))
        activate = level > 0
        if activate and geo.dtype == jnp.bfloat16:
            return jnp.concatenate(combine.apply_fused(tap_geo, tap_tex, geo, tex), axis=-1)
        return jnp.concatenate(combine(tap_geo(geo, activate=activate), tap_tex(tex, activate=activate)), axis=-1)

    def warp_points(self, side: int) -> jax.Array:
        """Where each texel of a map of this side is read, [R, R, 2], (x, y) in -1..1."""
        line = jnp.linspace(-1.0, 1.0, WARP_SIDE)
        identity = jnp.stack(jnp.meshgrid(line, line), axis=-1)
        return resize_bilinear(identity + self.warp[...] / WARP_SIDE, side, side)


class ExpressionEncoder(nnx.Module):
    """Differences to the neutral, of texture and geometry image, to features of the expression."""

    def __init__(self, sizes: Sizes, *, rngs: nnx.Rngs):
        tex, geo = _ladder(_TEXTURE_LADDER, sizes), _ladder(_GEOMETRY_LADDER, sizes)
        self.tex = _down_layers(tex, sizes.dtype, rngs)
        self.geo = _down_layers(geo, sizes.dtype, rngs)
        shared = [tex[-1] + geo[-1]] + [sizes.channels(c) for c in _EXPRESSION_LADDER.values()]
        self.shared = _down_layers(shared, sizes.dtype, rngs)
        head = [shared[-1]] + [sizes.channels(c) for c in _EXPRESSION_HEAD]
        self.head = nnx.List([WNConv3x3(i, o, dtype=sizes.dtype, rngs=rngs) for i, o in zip(head, head[1:])])
        self.d_out = sizes.channels(_EXPRESSION_FEATURES)
        self.last = WNConvDown(head[-1], self.d_out, dtype=sizes.dtype, rngs=rngs)

    def __call__(self, texture: jax.Array, geometry: jax.Array) -> jax.Array:
        """Normalised differences [B, T, T, 3] to [B, 4, 4, d_out]."""
        tex, geo = texture, geometry
        for layer in self.tex:
            tex = layer(tex)
        for layer in self.geo:
            geo = layer(geo)
        x = jnp.concatenate([tex, geo], axis=-1)
        for layer in (*self.shared, *self.head, self.last):
            x = layer(x)
        return x
