"""Colour calibration of cameras and of people. Source: Codec Avatar Studio, 2024, supplement."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx


class ColourCalibration(nnx.Module):
    """A gain and an offset per channel, of the camera and of the identity."""

    def __init__(self, cameras: int, identities: int, anchors: Sequence[int] = ()):
        """`anchors`: cameras whose gain stays 1 and whose offset stays 0. Colours of people seen by no common camera drift apart else."""
        self.anchors = tuple(int(row) for row in anchors)
        self.camera_gain = nnx.Param(jnp.ones((cameras, 3)))
        self.camera_offset = nnx.Param(jnp.zeros((cameras, 3)))
        self.identity_gain = nnx.Param(jnp.zeros((identities, 3)))
        self.identity_offset = nnx.Param(jnp.zeros((identities, 3)))

    def __call__(self, image: jax.Array, camera: jax.Array, identity: jax.Array) -> jax.Array:
        """Image [B, H, W, 3], 0-255, as camera [B] sees identity [B]; the mean of those known where an index is -1."""
        of_camera = [self.camera_gain[...], self.camera_offset[...]]
        if self.anchors:
            of_camera = [table.at[np.array(self.anchors)].set(value) for table, value in zip(of_camera, (1.0, 0.0), strict=True)]
        gain = _row(of_camera[0], camera) + _row(self.identity_gain[...], identity)
        offset = _row(of_camera[1], camera) + _row(self.identity_offset[...], identity)
        return gain[:, None, None] * image + offset[:, None, None]

    def of_render(self, rgba: jax.Array, camera: jax.Array, identity: jax.Array) -> jax.Array:
        """The same for a render [B, H, W, 4], whose colour is weighted by alpha: so is the offset then, and nothing stays nothing."""
        alpha = rgba[..., 3:]
        offset = self(jnp.zeros_like(rgba[:, :1, :1, :3]), camera, identity)
        return jnp.concatenate([self(rgba[..., :3], camera, identity) - (1.0 - alpha) * offset, alpha], axis=-1)


def _row(table: jax.Array, index: jax.Array) -> jax.Array:
    """Rows of [N, C] at [B]; the mean of all rows where the index is -1, for what training never saw."""
    known = (index >= 0)[:, None]
    return jnp.where(known, table[jnp.maximum(index, 0)], jnp.mean(table, axis=0))
