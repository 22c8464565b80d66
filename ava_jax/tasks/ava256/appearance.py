"""What belongs to the rig, not to the head: colour calibration and background. Source: Codec Avatar Studio, 2024, supplement."""

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.nn.layers import Dense, leaky_relu
from ava_jax.tasks.ava256.sizes import Sizes

# Up to so many pixels activations are kept for the gradient, 5 KB a pixel in float32; beyond, they are computed again, image by image.
_KEPT_PIXELS = 1 << 20
_HIDDEN, _CODE, _LAYERS, _OCTAVES = 256, 40, 5, 10


def _row(table: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of [N, C] at [B]; the mean of all rows where the index is -1, for what training never saw."""
    known = (index >= 0)[:, None]
    return jnp.where(known, table[jnp.maximum(index, 0)], jnp.mean(table, axis=0))


class ColourCalibration(nnx.Module):
    """A gain and an offset a channel, of the camera and of the identity."""

    def __init__(self, cameras: int, identities: int):
        self.camera_gain = nnx.Param(jnp.ones((cameras, 3)))
        self.camera_offset = nnx.Param(jnp.zeros((cameras, 3)))
        self.identity_gain = nnx.Param(jnp.zeros((identities, 3)))
        self.identity_offset = nnx.Param(jnp.zeros((identities, 3)))

    def __call__(self, image: jax.Array, camera: jax.Array, identity: jax.Array) -> jax.Array:
        """Image [B, H, W, 3], 0-255, as camera [B] sees identity [B]; the mean of those known where an index is -1."""
        gain = _row(self.camera_gain[...], camera) + _row(self.identity_gain[...], identity)
        offset = _row(self.camera_offset[...], camera) + _row(self.identity_offset[...], identity)
        return gain[:, None, None] * image + offset[:, None, None]


class _IndexCode(nnx.Module):
    """A code learned for each index: a two-layer network on the index's one-hot vector."""

    def __init__(self, count: int, sizes: Sizes, *, rngs: nnx.Rngs):
        hidden = sizes.channels(_HIDDEN)
        self.first = Dense(count, hidden, rngs=rngs)
        self.second = Dense(hidden, sizes.channels(_CODE), activate=False, rngs=rngs)

    def __call__(self, index: jax.Array) -> jax.Array:
        return self.second(leaky_relu(self.first.weight[...][index] + self.first.bias[...]))


class Background(nnx.Module):
    """The rig behind the head, by camera, identity and pixel."""

    def __init__(self, cameras: int, identities: int, sizes: Sizes, *, rngs: nnx.Rngs):
        hidden, code = sizes.channels(_HIDDEN), sizes.channels(_CODE)
        self.camera = _IndexCode(cameras, sizes, rngs=rngs)
        self.identity = _IndexCode(identities, sizes, rngs=rngs)
        widths = [2 * code + 4 * _OCTAVES] + [hidden] * _LAYERS
        self.layers = nnx.List([Dense(i, o, dtype=sizes.dtype, rngs=rngs) for i, o in zip(widths, widths[1:])])
        self.last = Dense(hidden, 3, activate=False, dtype=sizes.dtype, rngs=rngs)

    def __call__(self, camera: jax.Array, identity: jax.Array, height: int, width: int) -> jax.Array:
        """Indices [B] to [B, H, W, 3], 0-255. The picture is stretched to the size asked for."""
        first, *others = self.layers
        code = jnp.concatenate([self.camera(jnp.maximum(camera, 0)), self.identity(jnp.maximum(identity, 0))], axis=-1)
        # The first layer, split: its part of the position is the same for the whole batch, that of the codes for all pixels.
        of_code = code @ first.weight[: code.shape[-1]] + first.bias[...]
        of_position = position_encoding(height, width) @ first.weight[code.shape[-1] :]

        def picture(of_code: jax.Array) -> jax.Array:
            x = leaky_relu(of_code + of_position).astype(first.dtype)
            for layer in others:
                x = layer(x)
            return 25.0 * self.last(x).astype(jnp.float32) + 100.0

        if of_code.shape[0] * height * width > _KEPT_PIXELS:
            return jax.lax.map(jax.checkpoint(picture), of_code)
        return picture(of_code[:, None, None])


def position_encoding(height: int, width: int) -> jax.Array:
    """Sines of 2^i pi (x, y), i = 0..9, then their cosines: [H, W, 40]. x and y run over -1..1, ends included."""
    x, y = jnp.linspace(-1.0, 1.0, width), jnp.linspace(-1.0, 1.0, height)
    place = jnp.stack(jnp.meshgrid(x, y), axis=-1)
    angle = (jnp.pi * 2.0 ** jnp.arange(_OCTAVES))[:, None] * place[:, :, None, :]
    angle = angle.reshape(height, width, -1)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=-1)


def composite(rgba: jax.Array, background: jax.Array) -> jax.Array:
    """Puts [B, H, W, 4] (colour already weighted by alpha) over [B, H, W, 3]."""
    return rgba[..., :3] + (1.0 - rgba[..., 3:]) * background
