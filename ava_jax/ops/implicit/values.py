"""The implicit function of one shape at many points, or on a grid, by the compiled calls where these serve."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core import tracing
from ava_jax.core.types import Array
from ava_jax.ops import native
from ava_jax.ops.implicit import packed
from ava_jax.ops.implicit.decoder import DecoderWeights, decode
from ava_jax.ops.implicit.elements import Elements
from ava_jax.ops.implicit.evaluate import CUT, evaluate
from ava_jax.ops.varying import vary_together

_PART = 2**16  # points that the reference implementation evaluates at once


def values_at(
    elements: Elements,
    points: Array,
    *,
    symmetric: int = 0,
    decoder: DecoderWeights | None = None,
    rotated: bool = True,
    cut: bool = False,
    implementation: str | None = None,
) -> jax.Array:
    """The function's values: `evaluate`, with elements left out where they add nothing that counts.

    Works under jit, vmap and grad; the same bits from run to run. Gradients are those of `evaluate`.

    Args:
      elements: N, without leading axes.
      points: f32 [P, 3].
      symmetric, rotated, cut: as of `evaluate`. Without `cut` an element is left out of a point's sum where a bound proves that it adds at
        most 1e-9; with it, where its Gaussian is at most 1e-4.
      decoder: of LDIF; None: nothing is added.
      implementation: "native" (compiled, float32; decoders up to 32 wide), "jax" (`evaluate`), or None for the best there is.

    Returns:
      f32 [P]; NaN where an element or the point has a NaN.

    Raises:
      ValueError: as of `evaluate`; or points are not [P, 3], elements have leading axes, or there is no such implementation here.
    """
    points = jnp.asarray(points, jnp.float32)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"values_at: points must be [P, 3]; got {points.shape}.")
    use_native = _check("values_at", elements, symmetric, decoder, rotated, implementation)
    if not use_native or 0 in (len(points), len(elements.constant)):
        return _reference(elements, points, symmetric, decoder, rotated, cut)
    elements, points, decoder = vary_together(_floats(elements), points, _floats(decoder))
    return _at((symmetric, rotated, cut), elements, points, decoder)


def values_on_grid(
    elements: Elements,
    z: Array,
    y: Array,
    x: Array,
    *,
    symmetric: int = 0,
    decoder: DecoderWeights | None = None,
    rotated: bool = True,
    cut: bool = False,
    implementation: str | None = None,
) -> jax.Array:
    """The function's values on a grid, whose points are computed from the axes and not stored. Else as `values_at`.

    Args:
      elements: N, without leading axes.
      z, y, x: f32 [Z], [Y], [X], places along the axes, in any order and spacing.
      symmetric, decoder, rotated, cut, implementation: as of `values_at`.

    Returns:
      f32 [Z, Y, X].

    Raises:
      ValueError: as of `values_at`; or an axis is not [n].
    """
    axes = [jnp.asarray(axis, jnp.float32) for axis in (z, y, x)]
    if any(axis.ndim != 1 for axis in axes):
        raise ValueError(f"values_on_grid: z, y and x must be [n] each; got {[axis.shape for axis in axes]}.")
    use_native = _check("values_on_grid", elements, symmetric, decoder, rotated, implementation)
    if not use_native or 0 in (*map(len, axes), len(elements.constant)):
        return _reference_on_grid(elements, *axes, symmetric, decoder, rotated, cut)
    elements, axes, decoder = vary_together(_floats(elements), axes, _floats(decoder))
    return _on_grid((symmetric, rotated, cut), elements, axes, decoder)


def is_compiled(decoder: DecoderWeights | None) -> bool:
    """Whether the compiled calls serve where JAX computes, for elements with this decoder."""
    return native.serves_implicit() and packed.fits(decoder)


def _check(who: str, elements: Elements, symmetric: int, decoder: DecoderWeights | None, rotated: bool, implementation: str | None) -> bool:
    """Whether the compiled call is to be used."""
    if jnp.ndim(elements.constant) != 1:
        raise ValueError(f"{who}: elements must have no leading axes; got constants {jnp.shape(elements.constant)}. jax.vmap adds them.")
    count = len(elements.constant)
    if not 0 <= symmetric <= count:
        raise ValueError(f"{who}: symmetric must be within 0..{count}, the number of elements; got {symmetric}.")
    if decoder is not None and not rotated:
        raise ValueError(f"{who}: a decoder reads points in the elements' own frames, so rotated must be True.")
    if implementation not in (None, "native", "jax"):
        raise ValueError(f'{who}: implementation must be "native", "jax" or None; got {implementation!r}.')
    serves = is_compiled(decoder)
    if implementation == "native" and not serves:
        raise ValueError(
            f'{who}: implementation="native" needs the compiled module of the backend {jax.default_backend()}, built from these '
            f'sources, and a decoder at most {packed.WIDTH} wide; reinstall with a C++ compiler, or use "jax".'
        )
    return serves and implementation != "jax"


def _floats(tree):
    return jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), tree)


def _reference(elements, points, symmetric, decoder, rotated, cut) -> jax.Array:
    detail = None if decoder is None else functools.partial(decode, decoder)
    return evaluate(elements, points, symmetric=symmetric, detail=detail, rotated=rotated, cut=cut)


def _reference_on_grid(elements, z, y, x, symmetric, decoder, rotated, cut) -> jax.Array:
    """In parts, as the reference implementation's memory grows with points times elements."""
    shape = (len(z), len(y), len(x))

    def at(index):
        points = jnp.stack([axis[i] for axis, i in zip((x, y, z), jnp.unravel_index(index, shape)[::-1])], -1)
        return _reference(elements, points, symmetric, decoder, rotated, cut)

    count = int(np.prod(shape))
    if count <= _PART:
        return at(jnp.arange(count)).reshape(shape)
    starts = jnp.arange(0, count, _PART)
    values = jax.lax.map(lambda start: at(jnp.minimum(start + jnp.arange(_PART), count - 1)), starts)
    return values.reshape(-1)[:count].reshape(shape)


def _operands(options, elements, decoder) -> packed.Packed:
    symmetric, rotated, cut = options
    made = packed.pack(elements, symmetric, decoder, rotated, CUT if cut else None)
    return made._replace(dense=packed.fragments(made.dense)) if tracing.backend() == "gpu" else made


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _at(options, elements, points, decoder) -> jax.Array:
    made = _operands(options, elements, decoder)
    # Result types come from the arguments': inside shard_map a bare ShapeDtypeStruct counts as replicated.
    call = jax.ffi.ffi_call("ava_implicit_values", jax.eval_shape(lambda p: p[:, 0], points), vmap_method="sequential")
    return call(*made, points)


def _at_forward(options, elements, points, decoder):
    return _at(options, elements, points, decoder), (elements, points, decoder)


def _at_backward(options, residuals, cotangent):
    symmetric, rotated, cut = options
    return jax.vjp(lambda e, p, d: _reference(e, p, symmetric, d, rotated, cut), *residuals)[1](cotangent)


_at.defvjp(_at_forward, _at_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _on_grid(options, elements, axes, decoder) -> jax.Array:
    made = _operands(options, elements, decoder)
    kind = jax.eval_shape(lambda z, y, x: z[:, None, None] + y[:, None] + x, *axes)
    return jax.ffi.ffi_call("ava_implicit_grid", kind, vmap_method="sequential")(*made, *axes)


def _on_grid_forward(options, elements, axes, decoder):
    return _on_grid(options, elements, axes, decoder), (elements, axes, decoder)


def _on_grid_backward(options, residuals, cotangent):
    symmetric, rotated, cut = options
    return jax.vjp(lambda e, a, d: _reference_on_grid(e, *a, symmetric, d, rotated, cut), *residuals)[1](cotangent)


_on_grid.defvjp(_on_grid_forward, _on_grid_backward)
