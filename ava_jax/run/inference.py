"""A trained model at work: taken apart once, each function of it compiled once."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from flax import nnx

from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Batch
from ava_jax.data import pipeline
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


def read_in_order(source: Source, batch_size: int, *, threads: int) -> Iterator[tuple[Batch, int]]:
    """All readable samples of a source once, in index order, as batches of one size.

    The last batch is filled up with copies of its last sample, so that nothing compiles anew for it.

    Returns:
      An iterator over (batch, how many of its samples count).

    Raises:
      ValueError: the source is empty.
    """
    sampling = Sampling(batch_size, shuffle=False, epochs=1, drop_remainder=False)
    for batch in pipeline.iterator(source, sampling, seed=0, threads=threads):
        count = len(next(iter(batch.values())))
        index = np.minimum(np.arange(batch_size), count - 1)
        yield {name: np.asarray(values)[index] for name, values in batch.items()}, count
