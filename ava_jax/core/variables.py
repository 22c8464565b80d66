"""Kinds of NNX variables beside `nnx.Param`, by what becomes of them.

| kind       | moved by      | saved in a checkpoint | example                                      |
|------------|---------------|-----------------------|----------------------------------------------|
| nnx.Param  | the optimiser | yes                   | weights                                      |
| Running    | the loss      | yes                   | running scale of primitives                  |
| Constant   | nothing       | no, rebuilt           | texel-to-triangle lookup maps; a frozen model |
"""

from typing import TypeVar

from flax import nnx

_Module = TypeVar("_Module", bound=nnx.Module)


class Running(nnx.Variable):
    """State that the loss itself moves, carried from step to step."""


class Constant(nnx.Variable):
    """An array derived from a task's assets when the model is built."""


def freeze(module: _Module) -> _Module:
    """A copy of a module whose `nnx.Param` and `Running` variables are `Constant`, of the same arrays.

    For a part of a model that another run has learned (`Task.restore`): it is neither trained nor saved, but restored again when the model
    is built. Gradients pass through it.
    """

    def frozen(path: tuple, variable: nnx.Variable) -> nnx.Variable:
        del path
        return Constant(variable.get_value()) if isinstance(variable, nnx.Param | Running) else variable.copy()

    return nnx.map(frozen, module, recreate_variables=False)
