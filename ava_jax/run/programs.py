"""Functions of a trained model as programs that run without this package: StableHLO, serialised by `jax.export`."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import export

from ava_jax.tasks.command import Program


class ModelPrograms:
    """Programs of one model. Each takes the weights that it reads as its first argument, a dict by name.

    Attributes:
      weights: every variable of the model, of any shape, by its path, as "geometry_decoder.code.weight".
    """

    def __init__(self, model: nnx.Module):
        self._graphdef, state = nnx.split(model)
        self._variables = {".".join(map(str, path)): (path, variable) for path, variable in nnx.to_flat_state(state)}
        self.weights = {name: np.asarray(variable[...]) for name, (_, variable) in self._variables.items()}

    def export(self, fn: Callable[..., Any], args: Sequence[Any], platforms: Sequence[str], calls: Sequence[str] = ()) -> Program:
        """Traces and lowers `fn(model, *args)`.

        Args:
          fn: takes and gives arrays, and dicts and tuples of them; what it does to the model's variables is dropped.
          args: shapes and types, as `jax.export` takes them; dimensions may be symbolic.
          platforms: that it is lowered for, as in ("cpu", "cuda").
          calls: names of the custom calls that it may hold, beside JAX's own.

        Raises:
          ValueError: it holds another custom call.
        """

        def call(weights: dict[str, Any], *args: Any) -> Any:
            held = {path: variable.replace(weights.get(name, variable[...])) for name, (path, variable) in self._variables.items()}
            return fn(nnx.merge(self._graphdef, nnx.from_flat_state(held)), *args)

        every = {name: jax.ShapeDtypeStruct(array.shape, array.dtype) for name, array in self.weights.items()}
        read = _read_by(call, every, *args)
        allowed = [export.DisabledSafetyCheck.custom_call(name) for name in calls]
        # Under a function of its own: one that was traced before, for another target, would be what it was then.
        exported = export.export(jax.jit(lambda *args: call(*args)), platforms=platforms, disabled_checks=allowed)(
            {name: every[name] for name in read}, *args
        )
        text = exported.mlir_module()
        return Program(bytes(exported.serialize()), tuple(read), tuple(name for name in calls if f"@{name}(" in text))


def _read_by(call: Callable[..., Any], weights: dict[str, Any], *args: Any) -> list[str]:
    """Names of the weights that a function reads."""
    traced = jax.make_jaxpr(call)(weights, *args)
    read = {var for equation in traced.eqns for var in equation.invars if not hasattr(var, "val")}  # literals have one
    read |= {var for var in traced.jaxpr.outvars if not hasattr(var, "val")}
    return [name for name, var in zip(sorted(weights), traced.jaxpr.invars) if var in read]  # sorted, as JAX takes a dict apart
