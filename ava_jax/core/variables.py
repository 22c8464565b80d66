"""Kinds of NNX variables beside `nnx.Param`, by what becomes of them.

| kind       | moved by      | saved in a checkpoint | example                       |
|------------|---------------|-----------------------|-------------------------------|
| nnx.Param  | the optimiser | yes                   | weights                       |
| Running    | the loss      | yes                   | running scale of primitives   |
| Constant   | nothing       | no, rebuilt           | texel-to-triangle lookup maps |
"""

from flax import nnx


class Running(nnx.Variable):
    """State that the loss itself moves, carried from step to step."""


class Constant(nnx.Variable):
    """An array derived from a task's assets when the model is built."""
