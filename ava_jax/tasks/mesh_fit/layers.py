"""Products of thousands of rows with small weights, and with experts' weights, which each row blends by a gate of its own.

All arrays of rows are [R, C]. A layer has inputs of two kinds: `hidden` [R, H], what the network made; and `fixed` [R, F], float32, what
it is given: coordinates and a last column of ones, whose weights are the biases. No gradient flows to `fixed`.

In bfloat16 a fixed input is read twice, rounded and what rounding left over, with the same weights: a coordinate of 1.7 m has steps of
7.8 mm there, and of 0.03 mm so. Products accumulate in float32.

A layer takes the layer before it before its activation, ELU, and keeps one array of all its inputs for the backward pass.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core import gpu

AUTO = "auto"
_PRECISIONS = {
    "float32": (jnp.float32, lax.Precision.HIGHEST),
    "tf32": (jnp.float32, lax.Precision.HIGH),  # what GPUs take for it; CPUs compute float32
    "bfloat16": (jnp.bfloat16, lax.Precision.DEFAULT),
}
_TILE = 8
PRECISIONS = (AUTO, *_PRECISIONS)


class Arithmetic(NamedTuple):
    """How products are computed.

    Attributes:
      dtype: of the operands.
      precision: what the compiler may do with them.
    """

    dtype: jnp.dtype
    precision: lax.Precision

    @classmethod
    def of(cls, name: str) -> "Arithmetic":
        """The arithmetic that one of `PRECISIONS` names; "auto": bfloat16 on GPUs that have products of it, else float32.

        Raises:
          ValueError: the name is none of them.
        """
        if name not in PRECISIONS:
            raise ValueError(f"config.model.precision must be one of {', '.join(PRECISIONS)}; got {name!r}.")
        if name == AUTO:
            name = "bfloat16" if jax.default_backend() == "gpu" and gpu.takes_kernels() else "float32"
        return cls(*_PRECISIONS[name])

    @property
    def is_short(self) -> bool:
        """Whether operands are rounded to fewer bits than the arrays that they come from."""
        return self.dtype != jnp.float32

    def split(self, x: jax.Array) -> list[jax.Array]:
        """float32 [R, F] as operands of the compute type whose sum it is, to twice that type's digits: one or two of [R, F]."""
        if not self.is_short:
            return [x]
        high = _round(x, self.dtype)
        return [high, _round(x - high.astype(jnp.float32), self.dtype)]

    def product(self, x: jax.Array, w: jax.Array, contract: tuple[int, int], out: jnp.dtype = jnp.float32) -> jax.Array:
        """The product of x and w, [R, C] and [C, M], each perhaps transposed, along the axes `contract`: [R, M] of type `out`."""
        dimensions = (((contract[0],), (contract[1],)), ((), ()))
        return lax.dot_general(x.astype(self.dtype), w.astype(self.dtype), dimensions, precision=self.precision, preferred_element_type=out)


def _round(x: jax.Array, dtype: jnp.dtype) -> jax.Array:
    # Not by a conversion alone: compilers take one and its reverse for nothing, and the rest would be 0.
    info = jnp.finfo(dtype)
    return lax.reduce_precision(x, info.bits - 1 - info.nmant, info.nmant).astype(dtype)


def elu(x: jax.Array) -> jax.Array:
    """Itself where positive, else exp(x) - 1; any shape."""
    return jnp.where(x > 0, x, jnp.expm1(jnp.minimum(x, 0.0)))


def _activated(code: jax.Array | None, before: jax.Array | None, dtype: jnp.dtype) -> list[jax.Array]:
    """A layer's hidden inputs, of the compute type: `code` [R, Z] as it is, `before` [R, H] after ELU; those there are."""
    parts = [] if code is None else [code.astype(dtype)]
    return parts + ([] if before is None else [elu(before).astype(dtype)])


def _cotangents(hidden: jax.Array, cotangent: jax.Array, widths: tuple[int, int]) -> tuple[jax.Array | None, jax.Array | None]:
    """Of `code` and `before`, float32, from those of the hidden inputs [R, Z + H]: ELU's slope is 1 or its value + 1."""
    z, h = widths
    cotangent = cotangent.astype(jnp.float32)
    value = hidden[:, z : z + h].astype(jnp.float32)
    before = cotangent[:, z : z + h] * jnp.where(value > 0, 1.0, value + 1.0)
    return (cotangent[:, :z] if z else None), (before if h else None)


def _widths(code: jax.Array | None, before: jax.Array | None) -> tuple[int, int]:
    return (0 if code is None else code.shape[1]), (0 if before is None else before.shape[1])


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def affine(
    arithmetic: Arithmetic,
    out: jnp.dtype,
    code: jax.Array | None,
    before: jax.Array | None,
    fixed: jax.Array,
    weight: jax.Array,
    weight_fixed: jax.Array,
) -> jax.Array:
    """[code, elu(before)] @ weight + fixed @ weight_fixed, as one product.

    Args:
      arithmetic: of the product.
      out: type of what it gives.
      code: float32 [R, Z], or None.
      before: float32 [R, H], the layer before, not yet activated; or None.
      fixed: float32 [R, F].
      weight: float32 [Z + H, M].
      weight_fixed: float32 [F, M].

    Returns:
      [R, M].
    """
    return _affine_forward(arithmetic, out, code, before, fixed, weight, weight_fixed)[0]


def _affine_forward(arithmetic, out, code, before, fixed, weight, weight_fixed):
    columns = arithmetic.split(fixed)
    inputs = _joined([*_activated(code, before, arithmetic.dtype), *columns], axis=1)
    rows = _joined([weight, *[weight_fixed] * len(columns)], axis=0)
    return arithmetic.product(inputs, rows, (1, 0), out), (inputs, weight, fixed.shape[1], len(columns), _widths(code, before))


def _affine_backward(arithmetic, out, kept, cotangent):
    inputs, weight, f, copies, widths = kept
    hidden = weight.shape[0]
    code = before = None
    if hidden:
        code, before = _cotangents(inputs, arithmetic.product(cotangent, weight, (1, 1), arithmetic.dtype), widths)
    rows = arithmetic.product(inputs, cotangent, (0, 0))
    return code, before, None, rows[:hidden], _folded(rows[hidden:], f, copies)


affine.defvjp(_affine_forward, _affine_backward)


def _joined(parts: list[jax.Array], axis: int) -> jax.Array:
    """Matrices side by side (1) or one below the other (0), filled up with zeros to a multiple of 8, as fast products need."""
    joined = jnp.concatenate(parts, axis=axis)
    fill = -joined.shape[axis] % _TILE
    joined = jnp.pad(joined, ((0, 0), (0, fill)) if axis else ((0, fill), (0, 0)))
    # Compilers would keep the parts for the backward pass, in float32, beside the whole.
    return lax.optimization_barrier(joined) if axis else joined


def _folded(rows: jax.Array, f: int, copies: int) -> jax.Array:
    """Gradients [>= copies F, M] of weights that were used so often: [F, M]."""
    return sum(rows[i * f : (i + 1) * f] for i in range(copies))


def blend(gate: jax.Array, outputs: jax.Array) -> jax.Array:
    """Outputs [R, E M] of all experts, expert by expert, in the proportions of the gate [R, E]: float32 [R, M]."""
    experts = gate.shape[1]
    m = outputs.shape[1] // experts
    return sum(gate[:, e, None] * outputs[:, e * m : (e + 1) * m].astype(jnp.float32) for e in range(experts))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def blended(
    arithmetic: Arithmetic,
    gate: jax.Array,
    code: jax.Array | None,
    before: jax.Array | None,
    fixed: jax.Array,
    weight: jax.Array,
    weight_fixed: jax.Array,
) -> jax.Array:
    """sum_e gate_e ([code, elu(before)] @ weight_e + fixed @ weight_fixed_e), as one product of E times as many inputs.

    Each input is multiplied by each gate value first, so the sum over experts happens where products accumulate, in float32. The other
    way round (E times as many outputs, summed after) stores E outputs per row, and a blend of the weights E x as much again per *row*.

    Args:
      arithmetic: of the product.
      gate: float32 [R, E].
      code: float32 [R, Z], or None.
      before: float32 [R, H], the layer before, not yet activated; or None.
      fixed: float32 [R, F].
      weight: float32 [E, Z + H, M].
      weight_fixed: float32 [E, F, M].

    Returns:
      float32 [R, M].
    """
    return _blended_forward(arithmetic, gate, code, before, fixed, weight, weight_fixed)[0]


def _blended_forward(arithmetic, gate, code, before, fixed, weight, weight_fixed):
    hidden = jnp.concatenate(_activated(code, before, arithmetic.dtype), axis=1)
    columns = arithmetic.split(_outer(gate, fixed))
    inputs = _joined([_outer(gate, hidden.astype(jnp.float32)).astype(arithmetic.dtype), *columns], axis=1)
    rows = _joined([_stacked(weight), *[_stacked(weight_fixed)] * len(columns)], axis=0)
    out = arithmetic.product(inputs, rows, (1, 0))
    return out, (gate, hidden, fixed, inputs, weight, weight_fixed, len(columns), _widths(code, before))


def _blended_backward(arithmetic, kept, cotangent):
    gate, hidden, fixed, inputs, weight, weight_fixed, copies, widths = kept
    experts, h, m = weight.shape
    f = weight_fixed.shape[1]
    rows = jnp.concatenate([_stacked(weight), _stacked(weight_fixed)], axis=0)
    of_inputs = arithmetic.product(cotangent, rows, (1, 1), arithmetic.dtype).astype(jnp.float32)
    of_hidden = [of_inputs[:, e * h : (e + 1) * h] for e in range(experts)]
    of_fixed = [of_inputs[:, experts * h + e * f : experts * h + (e + 1) * f] for e in range(experts)]
    values = hidden.astype(jnp.float32)
    of_gate = [jnp.sum(of_hidden[e] * values, axis=1) + jnp.sum(of_fixed[e] * fixed, axis=1) for e in range(experts)]
    code, before = _cotangents(hidden, sum(gate[:, e, None] * of_hidden[e] for e in range(experts)), widths)
    of_rows = arithmetic.product(inputs, cotangent, (0, 0))
    of_weight = of_rows[: experts * h].reshape(experts, h, m)
    of_weight_fixed = _folded(of_rows[experts * h :], experts * f, copies).reshape(experts, f, m)
    return jnp.stack(of_gate, axis=1), code, before, None, of_weight, of_weight_fixed


blended.defvjp(_blended_forward, _blended_backward)


def _outer(gate: jax.Array, x: jax.Array) -> jax.Array:
    """[R, E] and [R, C] to all their products [R, E C]."""
    return (gate[:, :, None] * x[:, None, :]).reshape(len(x), -1)


def _stacked(weight: jax.Array) -> jax.Array:
    """[E, C, M] to [E C, M]."""
    return weight.reshape(-1, weight.shape[2])
