"""Compositing of volumetric primitives along rays: the public op, and the compiled custom call that it uses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array, Primitives, Rays
from ava_jax.ops import native
from ava_jax.ops.raymarch_jax import raymarch_jax
from ava_jax.ops.varying import vary_together

_SMALLEST_STEP, _LARGEST_STEP = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)
_MOST_VOXELS = 512  # per side, of a template or a warp field: the compiled kernels index a primitive's voxels with 32 bits


def raymarch(
    rays: Rays,
    prims: Primitives,
    *,
    step_size: float,
    warp: Array | None = None,
    implementation: str | None = None,
) -> jax.Array:
    """Composites K volumetric primitives along each ray, front to back.

    Samples lie at near + n step_size < far along a ray. In each, in order of their index, those primitives count in whose box
    it lies: y = scale * (rotation^T (x - position)), all |y| < 1. Colour and density are trilinear in the primitive's voxels,
    whose outer centres lie on the box's faces; density fades by exp(-8 sum |y|^8), adds density * step_size to alpha, and
    the ray ends where alpha reaches 1. However many primitives a ray meets, all count.

    Lengths are in volume radii (1.0 = 256 mm). Works under jit, vmap, grad and, with F sharded, `jax.shard_map`.

    Args:
      rays: origin and unit direction [F, N, H, W, 3]; bounds, near and far [F, N, H, W, 2]: N views of each of F frames. Taken
        as constant by differentiation.
      prims: position [F, K, 3]; rotation [F, K, 3, 3], box to head; scale [F, K, 3], reciprocal half-extent; rgba
        [F, K, D, D, D, 4], voxels z, y, x, colour 0-255 and density >= 0. A primitive whose pose is not finite holds no sample.
        rgba may be bfloat16 where the others are float32. That is how the voxels are stored: they are computed with in float32, and
        their gradient is rounded to bfloat16 once, in the end. CUDA reads them as they are; elsewhere they are copied to float32 first.
      step_size: distance between samples; a Python number.
      warp: where to read the voxels, x, y, z in -1..1, [F, K, G, G, G, 3], itself read at y; zeros lie outside of the voxels.
      implementation: "native" (compiled, float32), "jax" (the reference implementation, float32 or float64), or None for the best there is.

    Returns:
      [F, N, H, W, 4]: colour 0-255 and alpha in [0, 1]. Differentiable in `prims` and `warp`.

    Raises:
      ValueError: a shape, dtype or option does not fit; the message names the argument.

    Source: Lombardi et al., Mixture of Volumetric Primitives, 2021, section 3.
    """
    _check(rays, prims, step_size, warp)
    use_native = _choose_native(implementation, _dtype(prims.position))
    rays, prims, warp = vary_together(rays, prims, warp)
    if not (use_native and native.reads_bfloat16()):
        prims = prims._replace(rgba=prims.rgba.astype(prims.position.dtype))
    if use_native:
        return _native(float(step_size), rays, prims, warp)
    return raymarch_jax(rays, prims, float(step_size), warp)


def _choose_native(implementation: str | None, dtype) -> bool:
    if implementation not in (None, "native", "jax"):
        renamed = ', which is "jax" now' if implementation == "twin" else ""
        raise ValueError(f'raymarch: implementation must be "native", "jax" or None; got {implementation!r}{renamed}.')
    if implementation is None:
        return native.serves_default_backend() and dtype == jnp.float32
    if implementation == "jax":
        return False
    if not native.serves_default_backend():
        raise ValueError(
            f'raymarch: implementation="native" needs the compiled module of the backend {jax.default_backend()} (built: CPU '
            f'{native.BUILT}, CUDA {native.CUDA_BUILT}); reinstall with its compiler, or use "jax".'
        )
    if dtype != jnp.float32:
        raise ValueError(f'raymarch: implementation="native" computes in float32; got {dtype}. Use "jax".')
    return True


def _check(rays: Rays, prims: Primitives, step_size: float, warp: Array | None) -> None:
    if not isinstance(step_size, (int, float, np.floating)) or not _SMALLEST_STEP <= step_size <= _LARGEST_STEP:
        raise ValueError(f"raymarch: step_size must be a positive Python number, of float32's range; got {step_size!r}.")
    for name, value, required in (("rays", rays, Rays), ("prims", prims, Primitives)):
        if not isinstance(value, required):
            raise ValueError(f"raymarch: {name} must be {required.__name__}({', '.join(required._fields)}); got {type(value).__name__}.")
    arrays = {**_named("rays", rays), **_named("prims", prims), **({} if warp is None else {"warp": warp})}
    for name, array in arrays.items():
        if not hasattr(array, "shape") or not hasattr(array, "dtype"):
            raise ValueError(f"raymarch: {name} must be an array; got {type(array).__name__}.")
    origin, rgba = jnp.shape(rays.origin), jnp.shape(prims.rgba)
    if len(origin) != 5:
        raise ValueError(f"raymarch: rays.origin must be [F, N, H, W, 3]; got {origin}.")
    f, n, h, w = origin[:4]
    if len(rgba) != 6 or rgba[1] < 1 or not 2 <= rgba[2] <= _MOST_VOXELS:
        raise ValueError(f"raymarch: prims.rgba must be [F, K, D, D, D, 4] with K >= 1 and D from 2 to {_MOST_VOXELS}; got {rgba}.")
    k, d = rgba[1:3]
    _check_shapes(f"F={f}, N={n}, H={h}, W={w} as in rays.origin", {
        "rays.origin": (rays.origin, "F, N, H, W, 3", (f, n, h, w, 3)),
        "rays.direction": (rays.direction, "F, N, H, W, 3", (f, n, h, w, 3)),
        "rays.bounds": (rays.bounds, "F, N, H, W, 2", (f, n, h, w, 2)),
    })  # fmt: skip
    _check_shapes(f"F={f} as in rays.origin, K={k}, D={d} as in prims.rgba", {
        "prims.rgba": (prims.rgba, "F, K, D, D, D, 4", (f, k, d, d, d, 4)),
        "prims.position": (prims.position, "F, K, 3", (f, k, 3)),
        "prims.rotation": (prims.rotation, "F, K, 3, 3", (f, k, 3, 3)),
        "prims.scale": (prims.scale, "F, K, 3", (f, k, 3)),
    })  # fmt: skip
    if warp is not None:
        g = jnp.shape(warp)[2] if jnp.ndim(warp) == 6 else 0
        if not 2 <= g <= _MOST_VOXELS or jnp.shape(warp) != (f, k, g, g, g, 3):
            fits = f"F={f} as in rays.origin, K={k} as in prims.rgba, G from 2 to {_MOST_VOXELS}"
            raise ValueError(f"raymarch: warp must be [F, K, G, G, G, 3] with {fits}; got {jnp.shape(warp)}.")
    _check_dtypes(arrays)


def _named(name: str, fields) -> dict[str, Array]:
    return {f"{name}.{field}": array for field, array in fields._asdict().items()}


def _check_shapes(context: str, required: dict) -> None:
    for name, (array, axes, shape) in required.items():
        if jnp.shape(array) != shape:
            raise ValueError(f"raymarch: {name} must be [{axes}] with {context}; got {jnp.shape(array)}.")


def _check_dtypes(arrays: dict[str, Array]) -> None:
    dtype = _dtype(arrays["prims.rgba"])
    if dtype not in (jnp.float32, jnp.float64, jnp.bfloat16):
        raise ValueError(f'raymarch: prims.rgba must be float32 or bfloat16, or float64 with implementation="jax"; got {dtype}.')
    required, reason = (jnp.float32, "whatever prims.rgba is") if dtype == jnp.bfloat16 else (dtype, "as prims.rgba is")
    for name, array in arrays.items():
        if name != "prims.rgba" and _dtype(array) != required:
            raise ValueError(f"raymarch: {name} must be {jnp.dtype(required)}, {reason}; got {_dtype(array)}.")


def _dtype(array: Array):
    """The one that JAX gives the array (without x64, NumPy's float64 counts as float32), or the array's own where JAX has none."""
    return jnp.result_type(array) if jnp.issubdtype(array.dtype, np.number) else array.dtype


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _native(step_size: float, rays: Rays, prims: Primitives, warp: Array | None) -> jax.Array:
    return _native_forward(step_size, rays, prims, warp)[0]


def _native_forward(step_size, rays, prims, warp):
    # Result types come from the arguments': inside shard_map a bare ShapeDtypeStruct counts as replicated.
    image = jax.eval_shape(lambda x: jnp.concatenate([x, x], -1), rays.bounds)
    at = jax.eval_shape(lambda x: x.astype(jnp.int32), rays.bounds)
    results = (image, image, at, *_scratch_type(rays, prims, 0))
    call = jax.ffi.ffi_call("ava_raymarch_forward", results, vmap_method="broadcast_all")
    rgba, saturation, saturation_at = call(*rays, *prims, *_listed(warp), step_size=np.float32(step_size))[:3]
    return rgba, (rays, prims, warp, saturation, saturation_at)


def _native_backward(step_size, residuals, cotangent):
    rays, prims, warp, saturation, saturation_at = residuals
    results = jax.eval_shape(lambda *x: x, *prims, *_listed(warp))  # gradients have the types of what they belong to
    results = (*results[:4], *_scratch_type(rays, prims, 1), *results[4:])
    call = jax.ffi.ffi_call("ava_raymarch_backward", results, vmap_method="broadcast_all")
    gradients = call(cotangent, saturation, saturation_at, *rays, *prims, *_listed(warp), step_size=np.float32(step_size))
    return None, Primitives(*gradients[:4]), (None if warp is None else gradients[-1])


def _scratch_type(rays: Rays, prims: Primitives, backward: int) -> list[jax.ShapeDtypeStruct]:
    """Type of the scratch that the call takes as a result, [F, floats], where it takes any."""
    floats = native.scratch_floats(*rays.origin.shape[1:4], prims.position.shape[1])
    if floats is None:
        return []
    return [jax.eval_shape(lambda x: jnp.broadcast_to(x[:, 0, :1, 0], (x.shape[0], floats[backward])), rays.bounds[:, :, 0])]


_native.defvjp(_native_forward, _native_backward)


def _listed(warp: Array | None) -> list[Array]:
    return [] if warp is None else [warp]
