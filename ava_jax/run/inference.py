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

    def compile(self, fn: Callable[..., Any]) -> "Function":
        """`fn(model, *args)` as a compiled function of `*args` alone: traced once for each set of shapes.

        The model's variables are arguments of the program, not constants in it. What `fn` does to them is dropped.
        """
        graphdef, *variables = self._parts

        @jax.jit
        def call(variables: list[nnx.State], *args: Any) -> Any:
            return fn(nnx.merge(graphdef, *variables), *args)

        return Function(call, variables)


class Function:
    """A function of a model's, with the model's variables given to it."""

    def __init__(self, call: Any, variables: list[nnx.State]) -> None:
        """Of a function under `jax.jit`, which takes the variables first."""
        self._call, self._variables = call, variables

    def __call__(self, *args: Any) -> Any:
        """What the function makes of `args`."""
        return self._call(self._variables, *args)

    def ahead(self, *args: Any) -> Callable[..., Any]:
        """The program for arguments like these, compiled now.

        It takes arrays and gives arrays, also where another function that calls it is being traced, and computes at once there.
        """
        program = self._call.lower(self._variables, *args).compile()
        return functools.partial(program, self._variables)
