"""Floating-point operations of what a function computes, counted in its jaxpr."""

import math
from typing import Any

import jax


def operations(jaxpr: Any, trips: int) -> float:
    """Of the matrix products and convolutions in a jaxpr and those inside it; loops of unknown length count `trips` times."""
    total = 0.0
    for equation in jaxpr.eqns:
        total += _operations_of_call(equation) if equation.primitive.name == "ffi_call" else 0.0
        if equation.primitive.name in ("dot_general", "conv_general_dilated"):
            kernel, out = equation.invars[1].aval.shape, math.prod(equation.outvars[0].aval.shape)
            if equation.primitive.name == "dot_general":
                (contracted, _), _ = equation.params["dimension_numbers"]
                total += 2 * out * math.prod(equation.invars[0].aval.shape[i] for i in contracted)
            else:
                total += 2 * out * math.prod(kernel) / kernel[equation.params["dimension_numbers"].rhs_spec[0]]
        inner = [getattr(p, "jaxpr", p) for p in jax.tree.leaves(list(equation.params.values()), is_leaf=lambda x: hasattr(x, "eqns"))]
        times = trips if equation.primitive.name == "while" else equation.params.get("length", 1)
        total += times * sum(operations(p, trips) for p in inner if hasattr(p, "eqns"))
    return total


def _operations_of_call(equation: Any) -> float:
    """Of the custom calls of `ops.convolution`; 0 of others."""
    first, second = (math.prod(variable.aval.shape) for variable in equation.invars[:2])
    out = equation.outvars[0].aval.shape
    match equation.params["target_name"]:
        case "ava_convolution_gather":
            return 2.0 * math.prod(out) * 16 * equation.invars[0].aval.shape[-1]
        case "ava_convolution_scatter":
            return 2.0 * first * 16 * out[-1]
        case "ava_convolution_correlate":
            return 2.0 * second * 16 * equation.invars[0].aval.shape[-1]
        case "ava_dense" | "ava_dense_gradient":
            return 2.0 * first * out[-1]
    return 0.0
