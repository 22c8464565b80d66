"""Several steps in one dispatch (`train.steps_per_call`), for steps that are shorter than the host's work per dispatch.

A call of K steps is one compiled program that scans over K batches; K = 1 is the plain step. Calls end where something is due, a log line
say, and at the last step: where no K steps fit before that, steps are taken one by one, so that there are two programs at most. How many
steps a call takes follows from the number of steps taken before it alone, so that a run in two parts makes the calls of a run in one.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import lax
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ava_jax.core.parallel import BATCH_AXIS
from ava_jax.core.types import Batch
from ava_jax.train import processes, resident
from ava_jax.train import step as steps
from ava_jax.train.feed import DeviceBatch
from ava_jax.train.state import TrainState

Call = Callable[[TrainState, Any], tuple[TrainState, dict[str, Any]]]


@dataclasses.dataclass(frozen=True)
class Cuts:
    """How the steps of a run are cut into calls.

    Attributes:
      per_call: K, steps of a long call.
      every: something is due after each multiple of these.
      last: number of the last step.
    """

    per_call: int
    every: tuple[int, ...]
    last: int

    @property
    def longest(self) -> int:
        """Steps of a long call: no more than fit between two of what is due most often."""
        return min(self.per_call, *self.every)

    def steps(self, taken: int) -> int:
        """How many the call after `taken` steps takes: `longest`, or 1."""
        due = min(self.last, *(taken - taken % n + n for n in self.every))
        return self.longest if taken + self.longest <= due else 1


@dataclasses.dataclass(frozen=True)
class Compiler:
    """Makes programs of one step or of several.

    Attributes:
      function: the step, from `step.step_function`.
      mesh: devices.
      constants: the model's.
      held: name -> array [N, ...], the samples that are on the devices; {}: batches come with each call.
    """

    function: steps.StepFn
    mesh: Mesh
    constants: nnx.State
    held: Batch

    def compile(self, state: TrainState, batch: DeviceBatch) -> Call:
        """(state, `DeviceBatch.arrays`) -> (state, metrics), for batches of that many steps. The state given to it is donated.

        Metrics of several steps are [K]; those of one are scalars.
        """

        def one(state: TrainState, constants: nnx.State, held: Batch, arrays: Any):
            return self.function(state, constants, resident.gather(held, arrays, self.mesh) if held else arrays)

        def several(state: TrainState, constants: nnx.State, held: Batch, arrays: Any):
            return lax.scan(lambda state, arrays: one(state, constants, held, arrays), state, arrays)

        jitted = jax.jit(
            one if batch.steps == 1 else several,
            donate_argnums=0,
            out_shardings=steps.replicated(self.mesh),  # so that either program takes the other's state
            compiler_options=steps.compiler_options(self.mesh),
        )
        compiled = jitted.lower(state, self.constants, self.held, batch.arrays).compile()
        return lambda state, arrays: compiled(state, self.constants, self.held, arrays)


def put_on_devices(mesh: Mesh) -> Callable[[Sequence[Any]], Any]:
    """A function that puts what one call's steps take on the devices.

    It takes a tree of arrays [B, ...] per step, this process's part of the batch, and gives one of [B, ...] for one step, of
    [K, B, ...] for several.
    """
    one, several = steps.sharded(mesh), NamedSharding(mesh, P(None, BATCH_AXIS))

    def put(batches: Sequence[Any]) -> Any:
        tree, sharding = batches[0], one
        if len(batches) > 1:
            tree, sharding = jax.tree.map(lambda *local: np.stack(local), *batches), several
        if not processes.several():
            return jax.device_put(tree, sharding)  # all arrays at once: a third of the time that holds Python's lock
        return jax.tree.map(lambda local: jax.make_array_from_process_local_data(sharding, local), tree)

    return put


def by_step(metrics: dict[str, Any], count: int) -> dict[str, Any]:
    """A call's metrics, on the host, arrays [K] of `count` steps or scalars of one: all of them as arrays [count]."""
    return jax.tree.map(lambda values: np.asarray(values).reshape(count), metrics)
