"""What training carries from step to step, and how a model comes apart into it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from ava_jax.core.variables import Constant, Running
from ava_jax.tasks.base import Optimizer
from ava_jax.train import optimization
from ava_jax.train.optimization import Parameters

# Losses that the running median is over, where `train.spike_window` says nothing else.
RECENT_LOSSES = 100


class Guard(NamedTuple):
    """What a step knows of those before it, to tell an exploding loss; on the devices, so that judging waits for nothing.

    Attributes:
      recent: float32 [train.spike_window], the weighted sums of the last steps that were applied, a ring; NaN where there is none yet.
        Steps before there are as many are not judged: early losses fall too fast. With `train.spike_terms` [1 + terms, train.spike_window],
        each term's own after the weighted sums.
      count: int32 [], steps applied in all.
      spikes: int32 [], steps in a row, up to the last, whose loss was too far over the median.
    """

    recent: jax.Array
    count: jax.Array
    spikes: jax.Array


class TrainState(NamedTuple):
    """Everything that a step changes; a checkpoint holds all of it.

    Attributes:
      step: int32 [], steps taken, whether applied or not.
      params: the model's `nnx.Param` variables, by group of the optimiser: `params.tree()` has them as the model does.
      running: its `Running` variables, moved by the loss.
      opt_state: group name -> its transform's, of `params.groups`.
      key: the run's root key; a step folds its number into it.
      guard: see there.
    """

    step: jax.Array
    params: Parameters
    running: nnx.State
    opt_state: dict[str, optax.OptState]
    key: jax.Array
    guard: Guard


class Split(NamedTuple):
    """A model taken apart: what never changes beside what does.

    Attributes:
      graphdef: the model's structure.
      params, running, constants: its variables, by kind (core/variables.py).
    """

    graphdef: nnx.GraphDef
    params: nnx.State
    running: nnx.State
    constants: nnx.State


def split(model: nnx.Module) -> Split:
    """Takes a model apart.

    Raises:
      ValueError: it holds a variable of another kind than `nnx.Param`, `Running` and `Constant`.
    """
    graphdef, params, running, constants, rest = nnx.split(model, nnx.Param, Running, Constant, ...)
    if jax.tree.leaves(rest):
        kinds = sorted({type(v).__name__ for _, v in rest.flat_state()})
        raise ValueError(
            f"{type(model).__name__}: a model may hold nnx.Param, Running and Constant variables (core/variables.py); "
            f"it also holds {', '.join(kinds)}."
        )
    return Split(graphdef, params, running, constants)


def merge(parts: Split) -> nnx.Module:
    """Puts a model together; moving its variables leaves `parts` as they are."""
    return nnx.merge(*parts, copy=True)


def initial_state(
    parts: Split,
    optimizer: Optimizer | optax.GradientTransformation,
    seed: int,
    *,
    trainable: Sequence[str] = (),
    spike_window: int = RECENT_LOSSES,
    spike_terms: int = 0,
) -> TrainState:
    """The state before the first step. The model's own initialisation uses another key: see `model_rngs`.

    Args:
      parts: the model.
      optimizer: the task's.
      seed: the config's.
      trainable: `config.train.trainable`: regular expressions of the paths of parameters that learn; () is all.
      spike_window: `config.train.spike_window`: how many of the last losses a loss is judged by.
      spike_terms: how many terms `config.train.spike_terms` names.

    Raises:
      ValueError: groups or expressions do not fit the model's parameters (`optimization.lay_out`).
    """
    judged = (1 + spike_terms, spike_window) if spike_terms else (spike_window,)
    guard = Guard(jnp.full(judged, jnp.nan, jnp.float32), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32))
    params = optimization.lay_out(parts.params, optimizer, trainable)
    opt_state = optimization.init(optimizer, params)
    return TrainState(jnp.zeros((), jnp.int32), params, parts.running, opt_state, jax.random.key(seed), guard)


def model_rngs(seed: int) -> nnx.Rngs:
    """Random streams of the model's initialisation, apart from those of the steps."""
    # Of the threefry kind each shape of weights compiles for a third of a second, half a minute in all; of this kind for a tenth of that.
    return nnx.Rngs(jax.random.fold_in(jax.random.key(seed, impl="rbg"), 2**31))


def count(tree: Any) -> int:
    """Number of values in a tree of arrays."""
    return sum(leaf.size for leaf in jax.tree.leaves(tree))
