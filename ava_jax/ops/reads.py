"""Weighted reads of pixels, as bilinear sampling has them, as compiled custom calls on a CPU: XLA's gathers write each corner out."""

import jax
import jax.numpy as jnp

from ava_jax.ops import native


def is_supported(pixels: jax.Array, index: list[jax.Array]) -> bool:
    """Whether the custom calls take pixels [B, Q, C] and an index for each of four corners where JAX computes by default."""
    return pixels.ndim == 3 and pixels.dtype == jnp.float32 and len(index) == 4 and native.serves_convolutions()


def read(pixels: jax.Array, index: list[jax.Array], weights: list[jax.Array]) -> jax.Array:
    """Sum over four corners of pixels f32 [B, Q, C] at index s32 [P], within 0 ... Q - 1, times weight f32 [P]: [B, P, C]."""
    result = jax.ShapeDtypeStruct((pixels.shape[0], len(index[0]), pixels.shape[-1]), jnp.float32)
    return jax.ffi.ffi_call("ava_sampling_read", result, vmap_method="sequential")(pixels, jnp.stack(index), jnp.stack(weights))


def read_gradient(
    pixels: jax.Array, index: list[jax.Array], weights: list[jax.Array], cotangent: jax.Array
) -> tuple[jax.Array, list[jax.Array]]:
    """Gradients of `read` under a cotangent f32 [B, P, C]: by pixels, [B, Q, C], and by each corner's weights, [P]."""
    index, weights = jnp.stack(index), jnp.stack(weights)
    results = jax.ShapeDtypeStruct(pixels.shape, jnp.float32), jax.ShapeDtypeStruct(weights.shape, jnp.float32)
    call = jax.ffi.ffi_call("ava_sampling_read_gradient", results, vmap_method="sequential")
    d_pixels, d_weights = call(pixels, index, weights, cotangent)
    return d_pixels, list(d_weights)
