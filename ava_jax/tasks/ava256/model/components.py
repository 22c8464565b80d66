"""Components of expressions (`data.components`) in the model: read into the expression code, and what the decoders start with."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from ava_jax.core.types import Assets
from ava_jax.core.variables import Constant
from ava_jax.tasks.ava256.model import texels
from ava_jax.tasks.ava256.model.sizes import CODE_CHANNELS, CODE_SIDE, Sizes

COMPONENT_GAIN = 3.0  # of coefficients of mean square 1 in the code, whose noise starts at 0.05


class ColourComponents(NamedTuple):
    """Of `data.components`, of 255, where voxels lie: [K, S, S, 3]; of the M first, what multiplies neutral colours and those around."""

    textures: jax.Array
    gains: jax.Array
    shares: jax.Array


def of(assets: Assets) -> tuple[np.ndarray, ...]:
    """The components that assets hold: vertices [M, V, 3], textures [K, R, R, 3], gains and shares [M, R, R, 3]."""
    return tuple(np.asarray(assets.arrays[f"component_{name}"]) for name in ("vertices", "textures", "gains", "shares"))


def as_decoded(assets: Assets, sizes: Sizes) -> tuple[jax.Array, ColourComponents]:
    """As the decoders start with them: of vertices [M, V, 3], normalised, and of the voxels' colours."""
    vertices, *textures = of(assets)
    return jnp.asarray(vertices / assets.arrays["vertices_std"]), ColourComponents(*(texels.at_voxels(x, sizes) for x in textures))


class ComponentCode(nnx.Module):
    """Coefficients of the captures' components of expressions (`data.components`), a part of the expression code. Nothing of it learns."""

    def __init__(self, vertices: jax.Array, textures: jax.Array, gains: jax.Array, shares: jax.Array):
        """From components: [M, V, 3], mm; [K, R, R, 3]; [M, R, R, 3] twice; R divides the encoders' T."""
        self.side = textures.shape[1]
        flat = [jnp.asarray(x, jnp.float32).reshape(len(x), -1) for x in (vertices, textures, gains, shares)]
        self.vertices, self.textures, self.gains, self.shares = (Constant(x) for x in flat)
        self.embedding = Constant(component_embedding(len(textures)))

    def __call__(self, texture: jax.Array, vertices: jax.Array, neutral_texture: jax.Array, neutral_vertices: jax.Array) -> jax.Array:
        """Of 255, [B, T, T, 3], and mm, [B, V, 3], both twice: [B, 4, 4, 16]."""
        b, moving = texture.shape[0], len(self.vertices[...])
        motion = jnp.asarray(vertices, jnp.float32) - jnp.asarray(neutral_vertices, jnp.float32)
        first = _coefficients(motion.reshape(b, -1), self.vertices[...])
        texture, neutral = (texels.means(x, self.side) for x in (texture, neutral_texture))
        around = texels.surroundings(neutral).reshape(b, -1) / texels.COLOUR_UNIT
        change, neutral = (texture - neutral).reshape(b, -1), neutral.reshape(b, -1) / texels.COLOUR_UNIT
        own = self.textures[...]
        change = change - _exact(first, own[:moving])
        change = change - _exact(first, self.gains[...]) * neutral - _exact(first, self.shares[...]) * around
        found = jnp.concatenate([first, _coefficients(change, own[moving:])], axis=1)
        return (COMPONENT_GAIN * _exact(found, self.embedding[...])).reshape(b, CODE_SIDE, CODE_SIDE, CODE_CHANNELS)


def _coefficients(x: jax.Array, components: jax.Array) -> jax.Array:
    """Of vectors [B, N], by components [K, N] at right angles to each other, some of them zero: [B, K]."""
    squares = jnp.sum(components * components, axis=1)
    return jnp.where(squares > 0, _exact(x, components.T) / jnp.where(squares > 0, squares, 1.0), 0.0)


def _exact(a: jax.Array, b: jax.Array) -> jax.Array:
    """The matrix product in float32's own digits, of which GPUs keep ten bits unasked."""
    return jnp.matmul(a, b, precision=lax.Precision.HIGHEST)


def component_embedding(count: int) -> jax.Array:
    """Where components lie in the expression code: [K, 256] orthonormal rows, always the same ones."""
    drawn = np.random.default_rng(0).standard_normal((CODE_SIDE * CODE_SIDE * CODE_CHANNELS, count))
    return jnp.asarray(np.linalg.qr(drawn)[0].T, jnp.float32)
