"""Slabs of texels to the voxels of boxes, as compiled custom calls on a CPU: XLA moves single floats through four axes there."""

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.ops import native


def is_supported(*arrays: jax.Array) -> bool:
    """Whether the custom calls take such arrays, of any shapes, where JAX computes by default."""
    return all(array.dtype == jnp.float32 for array in arrays) and native.serves_convolutions()


def voxels(colour: jax.Array, log_opacity: jax.Array, *, scale: float, offset: float) -> jax.Array:
    """Voxels relu(scale colour + offset) and exp(log_opacity) of slabs f32 [B, S, S, 3 d], [B, S, S, d]: [B, (S / d)^2, d, d, d, 4].

    Not differentiable: see `voxels_gradient`.
    """
    b, side, _, depth = log_opacity.shape
    result = jax.ShapeDtypeStruct((b, (side // depth) ** 2, depth, depth, depth, 4), jnp.float32)
    call = jax.ffi.ffi_call("ava_voxels", result, vmap_method="sequential")
    return call(colour, log_opacity, scale=np.float32(scale), offset=np.float32(offset))


def voxels_gradient(rgba: jax.Array, cotangent: jax.Array, *, scale: float, offset: float) -> tuple[jax.Array, jax.Array]:
    """Gradients of `voxels` by both slabs, from what it gave and its cotangent, [B, K, d, d, d, 4] both."""
    b, primitives, depth = rgba.shape[:3]
    side = round(primitives**0.5) * depth
    results = tuple(jax.ShapeDtypeStruct((b, side, side, channels), jnp.float32) for channels in (3 * depth, depth))
    call = jax.ffi.ffi_call("ava_voxels_gradient", results, vmap_method="sequential")
    return call(rgba, cotangent, scale=np.float32(scale), offset=np.float32(offset))
