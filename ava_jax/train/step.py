"""One training step: losses, gradients and the update, over all devices.

Each device differentiates its own share of the loss, and the shares' gradients are summed by hand. That is exact, and it keeps
shard_map's own replication rules, which a custom call can break in silence, out of the gradients.
"""

import dataclasses
import functools
import os
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jax.sharding import AxisType, Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from ava_jax.core.names import nearest
from ava_jax.core.norms import total
from ava_jax.core.parallel import BATCH_AXIS
from ava_jax.core.types import Batch
from ava_jax.tasks.base import LossTerm, Optimizer, Task
from ava_jax.train import optimization, processes
from ava_jax.train import state as states
from ava_jax.train.optimization import joint_norm
from ava_jax.train.state import Guard, Split, TrainState
from ava_jax.train.weights import Weight, at, check, computed

StepFn = Callable[[TrainState, nnx.State, Batch], tuple[TrainState, dict[str, Any]]]


def device_mesh(batch_size: int) -> Mesh:
    """A mesh of devices over the batch: as many as divide it; of several processes, all devices of all of them.

    Raises:
      ValueError: there are several processes, and the batch does not divide over all devices.
    """
    devices = jax.devices()
    if processes.several() and batch_size % len(devices):
        raise ValueError(
            f"train.batch_size must be a multiple of the {len(devices)} devices of all {jax.process_count()} processes; got {batch_size}."
        )
    count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    return jax.make_mesh((count,), (BATCH_AXIS,), axis_types=(AxisType.Auto,), devices=devices[:count])


def replicated(mesh: Mesh) -> NamedSharding:
    """The same array on every device."""
    return NamedSharding(mesh, P())


def put(tree: Any, sharding: NamedSharding) -> Any:
    """Arrays and keys that every process has alike, on the devices of all: what `jax.device_put` does within one process."""
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)

    def one(leaf: Any) -> jax.Array:
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(one(jax.random.key_data(leaf)), impl=jax.random.key_impl(leaf))
        return jax.make_array_from_process_local_data(sharding, np.asarray(leaf), leaf.shape)

    return jax.tree.map(one, tree)


def sharded(mesh: Mesh) -> NamedSharding:
    """Split over the devices along the first axis, the batch."""
    return NamedSharding(mesh, P(BATCH_AXIS))


def make_step(function: StepFn, mesh: Mesh) -> StepFn:
    """`step_function`'s step, compiled on first use. The state given is donated: do not use it again."""
    return jax.jit(function, donate_argnums=0, compiler_options=compiler_options(mesh))


def step_function(
    task: Task,
    optimizer: Optimizer | optax.GradientTransformation,
    graphdef: nnx.GraphDef,
    weights: Mapping[str, Weight],
    mesh: Mesh,
    *,
    spike_factor: float = 0.0,
    spike_terms: Sequence[str] = (),
) -> StepFn:
    """One step as a pure function to be traced: (state, constants, batch) -> (state, metrics). Several may be scanned over.

    A step whose loss is NaN, infinite or a spike is counted but not applied: parameters, running variables and optimiser stay.

    The metrics are scalars: `loss` (the weighted sum), `losses` (the mean of each term that is computed, by name), `norm` (of the
    gradient, before clipping, of what is finite), `update_norm`, `parameter_norm` (of those that learn, before the step), `nonfinite`
    (how many of the gradient's values were NaN or infinite, and taken as 0), `applied` (bool), `spikes` (in a row, up to this step),
    `median` (of the losses of the last steps applied, NaN while they are few), `term_medians` (the same of `spike_terms`, by name) and
    `optimization.learning_rates`.

    Args:
      task: gives the loss terms.
      optimizer: the task's.
      graphdef: the model's structure; its variables come with each call.
      weights: loss term -> weight in the sum, `config.loss_weights`; a term whose weight is always 0 is not computed.
      mesh: devices, from `device_mesh`.
      spike_factor: a loss over this many times the median of the last ones (`state.Guard`) is a spike; 0: none is.
      spike_terms: names of terms of which each is judged like the weighted sum; a spike of one is a spike.

    Raises:
      ValueError: the weights do not name the task's terms, or are no weights; a term that is judged is not computed.
    """
    check(weights, task.loss_terms)
    _check_judged(spike_terms, weights, task)

    specs = {"in_specs": (P(), P(), P(), P(BATCH_AXIS), P(), P()), "out_specs": P()}
    share = jax.shard_map(functools.partial(_gradient_share, task, graphdef, weights), mesh=mesh, **specs, check_vma=False)

    def step(state: TrainState, constants: nnx.State, batch: Batch) -> tuple[TrainState, dict[str, Any]]:
        key = jax.random.fold_in(state.key, state.step)
        gradients, losses, running = share(state.params, state.running, constants, batch, state.step, key)
        loss = _weighted(losses, at(weights, state.step))
        gradients, nonfinite = _zero_nonfinite(gradients)
        applied, guard, medians = _judge(state.guard, loss, losses, spike_factor, spike_terms)
        norm = joint_norm(gradients)
        with jax.named_scope("optimiser"):
            updates, opt_state = optimization.update(optimizer, gradients, norm, state.opt_state, state.params, loss)
        metrics = {"loss": loss, "losses": losses, "nonfinite": nonfinite, "applied": applied, "spikes": guard.spikes, "median": medians[0]}
        if spike_terms:
            metrics["term_medians"] = dict(zip(spike_terms, medians[1:]))
        metrics |= {"norm": norm, "update_norm": joint_norm(updates), "parameter_norm": joint_norm(state.params.groups)}
        metrics |= optimization.learning_rates(opt_state)
        before = state.params.groups, state.running, state.opt_state
        after = optax.apply_updates(state.params.groups, updates), running, opt_state
        # Selected, not branched over: a branch would wait for the loss, and keep both states in memory.
        groups, running, opt_state = jax.tree.map(lambda new, old: jnp.where(applied, new, old), after, before)
        params = dataclasses.replace(state.params, groups=groups)
        return TrainState(state.step + 1, params, running, opt_state, state.key, guard), metrics

    return step


def _check_judged(spike_terms: Sequence[str], weights: Mapping[str, Weight], task: Task) -> None:
    if unknown := [name for name in spike_terms if name not in computed(weights)]:
        raise ValueError(f"config.train.spike_terms: {unknown[0]!r} is no term that is computed.{nearest(unknown[0], task.loss_terms)}")


def _weighted(losses: Mapping[str, jax.Array], scale: Mapping[str, jax.Array]) -> jax.Array:
    return sum(scale[name] * value for name, value in losses.items())


def compiler_options(mesh: Mesh) -> dict[str, str] | None:
    """On a GPU, loops and branches go into XLA's command buffers too: by default each of them breaks the step's thousands of launches
    apart, and the host waits for its condition at every turn. The user's own XLA_FLAGS go first.
    """
    name, kinds = "xla_gpu_enable_command_buffer", "FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
    needed = mesh.devices.flat[0].platform == "gpu" and name not in os.environ.get("XLA_FLAGS", "")
    return {name: kinds} if needed else None


def _gradient_share(task, graphdef, weights, params, running, constants, batch, step, key):
    """On one device of the mesh: (gradients, laid out as `Parameters.groups`, losses, running), each of the whole batch."""

    scale = at(weights, step)

    def local_loss(learning: dict[str, Any]):
        model = states.merge(Split(graphdef, params.with_learning(learning), running, constants))
        terms = task.loss(model, batch, step=step, key=key, terms=tuple(scale))
        _check_terms(task, terms, scale)
        shares = {name: _mean_share(term) for name, term in terms.items()}
        moved = states.split(model).running
        return sum(scale[name] * share for name, share in shares.items()), (shares, moved)

    # Not by the packed vector: that would be a sum of as many vectors as it holds arrays.
    gradients, (shares, moved) = jax.grad(local_loss, has_aux=True)(params.learning())
    gradients, losses = lax.psum((params.pack(gradients), shares), BATCH_AXIS)
    return gradients, losses, moved


def _mean_share(term: LossTerm) -> jax.Array:
    """This device's share of a term's mean over the batch of all devices: the shares add up to it. 0 where nothing counts."""
    values, mask = term
    mask = jnp.broadcast_to(1.0 if mask is None else mask, values.shape).astype(jnp.float32)
    total = lax.psum(lax.stop_gradient(jnp.sum(mask)), BATCH_AXIS)
    return jnp.sum(values * mask) / jnp.where(total > 0, total, 1.0)


def _judge(
    guard: Guard, loss: jax.Array, losses: Mapping[str, jax.Array], spike_factor: float, spike_terms: Sequence[str]
) -> tuple[jax.Array, Guard, jax.Array]:
    """Whether a step of this loss is applied; the guard after it; the medians that the loss and the terms were held against."""
    finite = jnp.isfinite(loss) & jnp.all(jnp.isfinite(jnp.stack(list(losses.values()))))
    judged = jnp.stack([loss, *(losses[name] for name in spike_terms)]) if spike_terms else loss
    medians = jnp.median(guard.recent, axis=-1)  # NaN while one is, and then nothing is a spike; nor is it of losses that may be negative
    spike = finite & (spike_factor > 0) & jnp.any((medians > 0) & (judged > spike_factor * medians))
    applied = finite & ~spike
    place = guard.count % guard.recent.shape[-1]
    recent = guard.recent.at[..., place].set(jnp.where(applied, judged, guard.recent[..., place]))
    return applied, Guard(recent, guard.count + applied, jnp.where(spike, guard.spikes + 1, 0)), jnp.ravel(medians)


def _check_terms(task: Task, terms: Mapping[str, LossTerm], asked: Collection[str]) -> None:
    if set(terms) != set(asked):
        raise ValueError(f"{type(task).__name__}.loss must give the terms that it is asked for, {sorted(asked)}; got {sorted(terms)}.")


def _zero_nonfinite(gradients: dict[str, Any]) -> tuple[dict[str, Any], jax.Array]:
    """The gradients with NaN and infinities taken as 0 (as the published recipe does before clipping), and how many there were."""
    count = total(gradients, lambda g: (~jnp.isfinite(g)).astype(jnp.int32))
    return jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), g, 0), gradients), count
