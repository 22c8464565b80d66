"""A trained model at work: taken apart once, each function of it compiled once."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from flax import nnx

from ava_jax.train import state as states


class Inference:
    """Compiled functions of one model."""

    def __init__(self, model: nnx.Module) -> None:
        self._parts = states.split(model)

    def compile(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """`fn(model, *args)` as a compiled function of `*args` alone: traced once for each set of shapes.

        The model's variables are arguments of the program, not constants in it. What `fn` does to them is dropped.
        """
        graphdef, *variables = self._parts

        @jax.jit
        def call(variables: list[nnx.State], *args: Any) -> Any:
            return fn(nnx.merge(graphdef, *variables), *args)

        return functools.partial(call, variables)
