"""Training steps by themselves, on data that lie on the device: what `ava mesh_fit benchmark` times and compares.

The loss, the optimizer and the model are the task's; what the training loop does beside them (norms, guards against spikes, logs) is
left out.
"""

import functools
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jax.flatten_util import ravel_pytree

from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.base import Task

_FRAMES_PER_TURN = 90


class Learning(NamedTuple):
    """What a step moves.

    Attributes:
      params: float32 [P], all parameters one after the other: an update of all is one operation.
      optimizer: the optimizer's state.
      step: int32 [].
    """

    params: jax.Array
    optimizer: Any
    step: jax.Array


class Stepper:
    """A task's training step, one mesh or several at a time, as compiled functions."""

    def __init__(self, task: Task, assets: Assets, *, seed: int = 0):
        """Builds the model; `seed` is of its parameters."""
        self.task, self.config = task, task.config
        model = task.model(assets, rngs=nnx.Rngs(seed))
        self._variables, self._structure = jax.tree.flatten(model, is_leaf=lambda x: isinstance(x, nnx.Variable))
        values = [v[...] for v in self._variables if isinstance(v, nnx.Param)]
        self._vector, self._unravel = ravel_pytree(values)
        self.weights = sum(v.size for v in values if v.ndim > 1)
        self._transform = task.optimizer(1, 1).groups[0].transform
        self._terms = {name: weight for name, weight in self.config.loss_weights.items() if weight}
        self.step = jax.jit(self._step, donate_argnums=0)
        self.steps = jax.jit(self._steps, donate_argnums=0)
        self.predict = jax.jit(lambda params, batch: task.predict(self._model(params), batch))

    def begin(self) -> Learning:
        """A fresh start, the same each time."""
        params = jnp.array(self._vector)
        return Learning(params, self._transform.init(params), jnp.zeros((), jnp.int32))

    def _model(self, params):
        values = iter(self._unravel(params))
        return jax.tree.unflatten(self._structure, [nnx.Param(next(values)) if isinstance(v, nnx.Param) else v for v in self._variables])

    def _loss(self, params, batch, step):
        found = self.task.loss(self._model(params), batch, step=step, key=jax.random.key(0), terms=tuple(self._terms))
        return sum(weight * jnp.mean(found[name][0]) for name, weight in self._terms.items())

    def _step(self, learning: Learning, samples: Batch, first: jax.Array) -> tuple[Learning, jax.Array]:
        """One step on the samples [F, ...] from `first` on, as many as a batch has; the loss before it."""
        size = self.config.train.batch_size
        batch = jax.tree.map(lambda x: lax.dynamic_slice_in_dim(x, first, size), samples)
        loss, gradient = jax.value_and_grad(self._loss)(learning.params, batch, learning.step)
        updates, state = self._transform.update(gradient, learning.optimizer, learning.params)
        return Learning(optax.apply_updates(learning.params, updates), state, learning.step + 1), loss

    def _steps(self, learning: Learning, samples: Batch, firsts: jax.Array) -> tuple[Learning, jax.Array]:
        """Steps one after the other, in one dispatch: [K] of `first` to [K] losses."""
        return lax.scan(lambda learning, first: self._step(learning, samples, first), learning, firsts)


def order(samples: int, batch: int, *, shuffle: bool, seed: int) -> Iterator[np.ndarray]:
    """Where the batches of an epoch begin, int32 [K], epoch after epoch; a last smaller batch is left out."""
    rng = np.random.default_rng(seed)
    firsts = np.arange(0, samples - batch + 1, batch, dtype=np.int32)
    while True:
        yield rng.permutation(firsts) if shuffle else firsts


def stacked(source: Any, names: tuple[str, ...] = ("source", "target", "joints")) -> dict[str, jax.Array]:
    """All samples of a source on the device: [F, ...] each, of those names that they have."""
    samples = [source[i] for i in range(len(source))]
    return {name: jnp.asarray(np.stack([sample[name] for sample in samples])) for name in names if name in samples[0]}


@functools.partial(jax.jit, static_argnums=(0, 1, 2, 3))
def made_up(vertices: int, frames: int, history: int, joints: int = 0) -> dict[str, jax.Array]:
    """A body-sized egg that sways, and a skin that lags and ripples, where no data are at hand: for times, not for errors.

    Returns:
      As a batch of `frames` samples: `source` [F, n, V, 3], `target` [F, V, 3] and, with joints, `joints` [F, J, 3]; metres.
    """
    egg = jax.random.normal(jax.random.key(0), (vertices, 3))
    egg = egg / jnp.linalg.norm(egg, axis=1, keepdims=True) * jnp.array([0.25, 0.85, 0.15])

    def pose(frame):
        t = 2 * jnp.pi * frame / _FRAMES_PER_TURN
        sway = 0.4 * jnp.sin(t)[..., None] * egg[:, 1]
        x, y = (jnp.cos(sway) * egg[:, 0] - jnp.sin(sway) * egg[:, 1], jnp.sin(sway) * egg[:, 0] + jnp.cos(sway) * egg[:, 1])
        return jnp.stack([x, y + 0.9, jnp.broadcast_to(egg[:, 2], x.shape) + 0.2 * jnp.sin(0.5 * t)[..., None]], axis=-1)

    frame = jnp.arange(frames, dtype=jnp.float32)
    source = jnp.stack([pose(frame - lag) for lag in reversed(range(history))], axis=1)
    now = pose(frame)
    target = now + 0.3 * (pose(frame - 1) - now) + 0.006 * jnp.sin(20 * egg[:, ::-1])
    skeleton = {"joints": now[:, :: vertices // joints][:, :joints]} if joints else {}
    return {"source": source, "target": target} | skeleton


def grid_faces(vertices: int) -> np.ndarray:
    """Triangles [M, 3] of a square grid of at most so many vertices, for as many neighbours as a mesh has."""
    side = int(np.sqrt(vertices))
    index = np.arange(side * side).reshape(side, side)
    corners = index[:-1, :-1], index[1:, :-1], index[:-1, 1:], index[1:, 1:]
    a, b, c, d = (corner.reshape(-1) for corner in corners)
    return np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)
