"""Raw textures and meshes to the values that the networks see, and back; on the device, so that bytes travel."""

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.core.types import Array, Assets
from ava_jax.core.variables import Constant
from ava_jax.nn.sampling import resize_bilinear


class Statistics(nnx.Module):
    """Means and standard deviations of a capture."""

    def __init__(self, assets: Assets, size: int):
        """`assets`: as `data.source` gives them; `size`: T, of the textures that the networks see."""
        arrays, self.size = assets.arrays, size
        self.texture_mean = Constant(jnp.asarray(arrays["texture_mean"], jnp.float32))
        self.texture_std = Constant(jnp.asarray(arrays["texture_std"], jnp.float32))
        self.vertices_mean = Constant(jnp.asarray(arrays["vertices_mean"], jnp.float32))
        self.vertices_std = Constant(jnp.asarray(arrays["vertices_std"], jnp.float32))

    def texture(self, raw: Array) -> tuple[jax.Array, jax.Array]:
        """Normalised textures and their masks.

        Args:
          raw: u8 [B, S, S, 3], 0-255; a channel that is 0 was not seen.

        Returns:
          f32 [B, T, T, 3] each: values, 0 where not seen; and 1 where seen. Both are resized, in this order: a mask may be fractional.
        """
        raw = jnp.asarray(raw)
        seen = raw != 0
        normal = (raw.astype(jnp.float32) - self.texture_mean[...]) / self.texture_std[...]
        return self._resized(jnp.where(seen, normal, 0.0)), self._resized(seen.astype(jnp.float32))

    def raw_texture(self, normal: Array) -> jax.Array:
        """Normalised textures [B, T, T, 3] as raw ones, f32, not clipped to 0-255."""
        return normal * self.texture_std[...] + self._resized(self.texture_mean[...][None])

    def vertices(self, raw: Array) -> jax.Array:
        """Vertices [B, V, 3], mm, normalised."""
        return (raw - self.vertices_mean[...]) / self.vertices_std[...]

    def raw_vertices(self, normal: Array) -> jax.Array:
        """Normalised vertices [B, V, 3] in mm."""
        return normal * self.vertices_std[...] + self.vertices_mean[...]

    def _resized(self, x: jax.Array) -> jax.Array:
        if x.shape[1] == self.size:
            return x
        return jax.vmap(lambda one: resize_bilinear(one, self.size, self.size))(x)
