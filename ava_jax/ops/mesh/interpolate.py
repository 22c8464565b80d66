"""Values given at the corners of triangles, at the pixels that see them."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array
from ava_jax.ops import native
from ava_jax.ops.mesh.checks import choose_native, require_axes, require_faces
from ava_jax.ops.mesh.types import Fragments
from ava_jax.ops.per_image import call_per_image
from ava_jax.ops.varying import vary_together


def interpolate(values: Array, faces: Array, fragments: Fragments, *, implementation: str | None = None) -> jax.Array:
    """Interpolates values at the corners of triangles, perspective-correct; 0 where a pixel sees none.

    Works under jit, vmap and grad; the same bits from run to run, gradients included.

    Args:
      values: f32 [B, A, C], or [A, C] for all images.
      faces: int32 [T, 3], rows of `values`: those of the vertices, or the mesh's own for a UV chart.
      fragments: [B, H, W, ...], of triangles in the same order.
      implementation: "native", "jax" or None, as in `rasterize`.

    Returns:
      [B, H, W, C]. Differentiable in `values` and the barycentrics.

    Raises:
      ValueError: a shape, dtype or option does not fit; the message names the argument.
    """
    values, faces = jnp.asarray(values), require_faces("interpolate", faces)
    b = len(fragments.index)
    if values.ndim == 2:
        values = values[None]
    require_axes("interpolate", "values", values, "B, A, C or A, C", 3)
    if len(values) not in (1, b):
        raise ValueError(f"interpolate: values must be those of {b} images as the fragments are, or of all; got {values.shape}.")
    use_native = choose_native("interpolate", implementation, values.dtype)
    values, faces, index, barycentrics = vary_together(values, faces, fragments.index, fragments.barycentrics)
    if use_native:
        return _native(values, faces, index, barycentrics)
    return _interpolate_jax(values, faces, index, barycentrics)


@jax.jit
def _interpolate_jax(values, faces, index, barycentrics) -> jax.Array:
    """The reference implementation. values: [B or 1, A, C]."""
    if not faces.shape[0] or not values.shape[1]:
        return jnp.zeros((*index.shape, values.shape[-1]), values.dtype)
    seen = index >= 0
    values = jnp.broadcast_to(values, (len(index), *values.shape[1:]))
    corners = jax.vmap(lambda v, i: v[faces[i]])(values, jnp.maximum(index, 0))  # [B, H, W, 3, C]
    out = jnp.sum(corners * barycentrics[..., None], -2)
    return jnp.where(seen[..., None], out, 0.0)


@jax.custom_vjp
def _native(values, faces, index, barycentrics) -> jax.Array:
    return _forward(values, faces, index, barycentrics)[0]


def _forward(values, faces, index, barycentrics):
    channels = values.shape[-1]
    result = jax.eval_shape(lambda b: jnp.broadcast_to(b[..., :1], (*index.shape, channels)), barycentrics)
    arguments = values, faces, index, barycentrics
    return call_per_image("ava_interpolate", result, arguments, (_per_image(values, index), False, True, True)), arguments


# A call each: the compiler drops the one that nothing learns from.
def _backward(residuals, cotangent):
    values, faces, index, barycentrics = residuals
    own = _per_image(values, index)
    d_values = call_per_image(
        "ava_interpolate_attributes",
        jax.eval_shape(lambda x: x, values),
        (faces, index, barycentrics, cotangent),
        (False, True, True, True),
        results_per_image=(own,),
        scratch=_scratch,
    )
    d_barycentrics = call_per_image(
        "ava_interpolate_barycentrics",
        jax.eval_shape(lambda x: x, barycentrics),
        (values, faces, index, cotangent),
        (own, False, True, True),
    )
    return d_values, None, None, d_barycentrics


def _per_image(values, index) -> bool:
    return len(values) == len(index)


def _scratch(arguments, results) -> int | None:
    values = results[0].shape
    return native.mesh_scratch("attributes", *arguments[1].shape, *values[1:], values[0] == 1)


_native.defvjp(_forward, _backward)
