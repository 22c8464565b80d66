"""One shape fitted without a network: the elements, their features and the decoder follow the gradient on samples of the shape.

The losses are the published ones of samples; elements begin on clusters of the places inside, each with its cluster's extent and axes.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from ava_jax.core.types import Array
from ava_jax.ops import implicit
from ava_jax.ops.implicit import DecoderWeights, Elements
from ava_jax.ops.implicit.decoder import Norm
from ava_jax.tasks.ldif.apps.shape import Shape
from ava_jax.tasks.ldif.data import example_files, examples, meshes
from ava_jax.tasks.ldif.data.meshes import Mesh
from ava_jax.tasks.ldif.evaluation import scoring
from ava_jax.tasks.ldif.model import losses
from ava_jax.tasks.ldif.model.decoder import Decoder

_FILLED = 0.97  # radius of a Gaussian of constant -1 that crosses the surface's value where a filled ellipsoid of deviation 1 ends
_THINNEST = 0.01  # radius at the start
_MOST_PLACES = 20_000  # that clusters are made of


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a shape is fitted.

    Attributes:
      elements: how many.
      features: of each, which the decoder makes details of; 0: a SIF++.
      train_decoder: whether a given decoder learns too; a new one always does.
      steps: of Adam, whose rate falls to 0 along a cosine.
      samples: of each kind, drawn anew in each step.
      learning_rate: at the start.
      near_weight: of the loss of samples near the surface, beside that of those everywhere.
      seed: of all draws.
    """

    elements: int = 32
    features: int = 0
    train_decoder: bool = False
    steps: int = 600
    samples: int = 1024
    learning_rate: float = 0.01
    near_weight: float = 1.0
    seed: int = 0


class _Learnt(NamedTuple):
    """What follows the gradient: [N, ...] of the elements, and the decoder."""

    log_constant: Array
    center: Array
    log_radius: Array
    angles: Array
    features: Array
    decoder: DecoderWeights | None

    def elements(self) -> Elements:
        return Elements(-jnp.exp(self.log_constant), self.center, jnp.exp(2 * self.log_radius), self.angles, self.features)


def fit(
    uniform: np.ndarray,
    near: np.ndarray,
    settings: Settings,
    *,
    decoder: DecoderWeights | None = None,
    progress: Callable[[int, float], Any] = lambda step, loss: None,
) -> Shape:
    """Fits a shape to samples of its inside and outside.

    Args:
      uniform: f32 [P, 4], places everywhere, and values of which the sign counts: negative is inside.
      near: f32 [Q, 4], places near the surface, likewise.
      settings: see there.
      decoder: to read features with; None with `features`: a new one is learnt.
      progress: called after each step with its number, from 1, and its loss.

    Raises:
      ValueError: fewer samples are inside than there are elements; numbers do not fit the decoder; the loss is no longer finite.
    """
    if decoder is not None and len(decoder.norm1.beta.weight) != settings.features:
        raise ValueError(f"fit: the decoder reads {len(decoder.norm1.beta.weight)} features; settings.features = {settings.features}.")
    learnt = _start(uniform, near, settings, decoder)
    optimizer = optax.adam(optax.cosine_decay_schedule(settings.learning_rate, settings.steps))
    state, key = optimizer.init(learnt), jax.random.key(settings.seed)
    step = _step(optimizer, settings.samples, settings.near_weight, decoder is None or settings.train_decoder)
    uniform, near = jnp.asarray(uniform, jnp.float32), jnp.asarray(near, jnp.float32)
    for number in range(settings.steps):
        learnt, state, loss = step(learnt, state, uniform, near, jax.random.fold_in(key, number))
        if not np.isfinite(loss):
            raise ValueError(
                f"fit: the loss of step {number + 1} is not finite; try a lower learning rate than {settings.learning_rate:g}."
            )
        progress(number + 1, float(loss))
    host = jax.device_get(learnt)
    return Shape(Elements(*map(np.asarray, host.elements())), 0, host.decoder)


def samples_of(given: pathlib.Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, Mesh | None]:
    """Samples of a mesh or of an example's folder.

    Returns:
      uniform and near, f32 [P, 4], in random order; the matrix [4, 4] from the original to the published place and size; and the mesh as it
      was given, None where an example's is gone.

    Raises:
      ValueError: it cannot be used.
      OSError: a file of an example cannot be read.
    """
    if given.is_dir():
        path = scoring.mesh_of(given)
        samples = [example_files.read_samples(given / name) for name in (examples.UNIFORM, examples.NEAR)]
        return *samples, scoring.matrix_of(given), meshes.read(path) if path else None
    mesh = meshes.read(given)
    matrix, rng = meshes.normalization(mesh), np.random.default_rng(seed)
    moved = meshes.outward(meshes.moved(mesh, matrix))
    places = rng.uniform(-meshes.HALF_SIDE, meshes.HALF_SIDE, (examples.SAMPLES, 3))
    uniform = np.concatenate([places, meshes.signed_distances(moved, places)[:, None]], axis=1).astype(np.float32)
    return uniform, examples.near_surface(moved, examples.SAMPLES, rng), matrix, mesh


def best_sphere(samples: np.ndarray) -> float:
    """IoU, percent, of the sphere around the middle of what is inside whose radius fits best: what needs no fitting. `samples`: [P, 4]."""
    inside = samples[:, 3] < 0
    distance = np.linalg.norm(samples[:, :3] - samples[inside, :3].mean(0), axis=1)
    order = np.argsort(distance)
    both = np.cumsum(inside[order])
    return float((100 * both / (inside.sum() + np.cumsum(~inside[order]))).max())


def _step(optimizer: optax.GradientTransformation, samples: int, near_weight: float, train_decoder: bool) -> Callable:
    def loss_of(learnt: _Learnt, uniform: jax.Array, near: jax.Array, key: jax.Array) -> jax.Array:
        weights = learnt.decoder
        if weights is not None:
            weights = _fixed(weights) if train_decoder else jax.lax.stop_gradient(weights)
        detail = None if weights is None else functools.partial(implicit.decode, weights)
        total = 0.0
        for rows, weight, own in zip((uniform, near), (1.0, near_weight), jax.random.split(key)):
            drawn = rows[jax.random.randint(own, (samples,), 0, len(rows))]
            values = implicit.evaluate(learnt.elements(), drawn[:, :3], detail=detail)
            total += weight * losses.of_samples(values, drawn[:, 3]).mean()
        return total + 10 * losses.beyond_box(learnt.center).mean()

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(learnt, state, uniform, near, key):
        loss, gradient = jax.value_and_grad(loss_of)(learnt, uniform, near, key)
        updates, state = optimizer.update(gradient, state)
        return optax.apply_updates(learnt, updates), state, loss

    return step


def _fixed(weights: DecoderWeights) -> DecoderWeights:
    """The normalisations' statistics are constants: there is one shape to learn from."""
    stop = jax.lax.stop_gradient
    parts = [part._replace(mean=stop(part.mean), variance=stop(part.variance)) if isinstance(part, Norm) else part for part in weights]
    return DecoderWeights(*parts)


def _start(uniform: np.ndarray, near: np.ndarray, settings: Settings, decoder: DecoderWeights | None) -> _Learnt:
    from scipy.cluster import vq
    from scipy.spatial.transform import Rotation

    count, rng = settings.elements, np.random.default_rng(settings.seed)
    inside = np.concatenate([rows[rows[:, 3] < 0, :3] for rows in (np.asarray(uniform), np.asarray(near))]).astype(np.float64)
    if len(inside) < count:
        raise ValueError(f"fit: {len(inside)} samples are inside the shape, fewer than {count} elements.")
    inside = inside[rng.permutation(len(inside))[:_MOST_PLACES]]
    centers, labels = vq.kmeans2(inside, count, minit="++", seed=rng)
    radius, angles = np.full((count, 3), _THINNEST), np.zeros((count, 3))
    for at in range(count):
        own = inside[labels == at]
        if len(own) < 4:
            continue
        sizes, axes = np.linalg.eigh(np.cov(own.T))
        axes[:, 0] *= np.sign(np.linalg.det(axes))
        radius[at] = np.maximum(_FILLED * np.sqrt(np.maximum(sizes, 0)), _THINNEST)
        angles[at] = Rotation.from_matrix(axes).as_euler("ZYX")[::-1]  # Rz(yaw) Ry(pitch) Rx(roll); roll comes first here
    features = 0.1 * rng.standard_normal((count, settings.features))
    if settings.features and decoder is None:
        decoder = _new_decoder(settings)
    parts = (np.zeros(count), centers, np.log(radius), angles, features)
    return _Learnt(*(jnp.asarray(part, jnp.float32) for part in parts), jax.tree.map(jnp.asarray, decoder))


def _new_decoder(settings: Settings) -> DecoderWeights:
    """A decoder that adds nothing yet."""
    weights = Decoder(settings.features, rngs=nnx.Rngs(settings.seed)).weights()
    norms = {name: getattr(weights, name)._replace(variance=jnp.ones(())) for name in ("norm1", "norm2", "norm3")}
    return weights._replace(**norms, last=jax.tree.map(jnp.zeros_like, weights.last))
