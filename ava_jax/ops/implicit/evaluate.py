"""The implicit function of a shape at points: a sum of Gaussians, each with details of its own.

  f(x) = sum_i c_i exp(-d' S_i^-1 d / 2) (1 + g(z_i, W_i x)),  d = x - mu_i

The surface is where f = SURFACE; inside, f is less. Sources: as `elements`.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array
from ava_jax.ops.implicit.elements import TINY, Elements, rotations, world_to_local

SURFACE = -0.07
SHARPNESS = 100.0
CUT = 1e-4  # Gaussians at most this large are left out where `cut` is asked for, as published meshes were made

Detail = Callable[[jax.Array, jax.Array], jax.Array]  # features [..., E, L] and points in their frames [..., E, P, 3] to [..., E, P]


def evaluate(
    elements: Elements, points: Array, *, symmetric: int = 0, detail: Detail | None = None, rotated: bool = True, cut: bool = False
) -> jax.Array:
    """The function's values.

    Memory grows with the number of elements times P, and times the decoder's width where there is a detail: give many points in parts.

    Args:
      elements: N of them, with leading axes [...].
      points: f32 [..., P, 3].
      symmetric: so many of the first elements serve a second time, for the points reflected at the plane z = 0.
      detail: adds to each element; None: nothing is added, as in SIF and SIF++.
      rotated: False takes the radii along the axes of the world, as SIF does; angles do not count.
      cut: leaves out elements whose Gaussian is at most CUT at a point, which moves f by less than CUT |c (1 + g)| for each.

    Returns:
      f32 [..., P].

    Raises:
      ValueError: there are fewer elements than symmetric ones; or a detail is asked for of elements along the world's axes.
    """
    if detail is not None and not rotated:
        raise ValueError("evaluate: a detail is read in the elements' own frames, so rotated must be True.")
    elements, points = _every(elements, points, symmetric)
    weight = _gaussians(elements, points, rotated)
    value = elements.constant[..., None] * weight
    if detail is not None:
        value = value * (1 + detail(elements.features, _in_frames(elements, points)))
    return jnp.sum(jnp.where(weight > CUT, value, 0) if cut else value, axis=-2)


def influences(elements: Elements, points: Array, *, symmetric: int = 0, rotated: bool = True) -> jax.Array:
    """Gaussians of the N + `symmetric` elements at points [..., P, 3]: [..., N + symmetric, P], 1 at a centre. Errors as of `evaluate`."""
    return _gaussians(*_every(elements, points, symmetric), rotated)


def occupancy(values: Array) -> jax.Array:
    """What the losses compare: 0 inside, 1 outside, 0.5 on the surface. Of any shape."""
    return jax.nn.sigmoid(SHARPNESS * (values - SURFACE))


def _every(elements: Elements, points: Array, symmetric: int) -> tuple[Elements, jax.Array]:
    """Elements with the reflected ones behind, [..., E, ...], and the points that each sees, [..., E, P, 3]."""
    elements = Elements(*(jnp.asarray(part, jnp.float32) for part in elements))
    count = elements.constant.shape[-1]
    if not 0 <= symmetric <= count:
        raise ValueError(f"evaluate: symmetric must be within 0..{count}, the number of elements; got {symmetric}.")
    points = jnp.asarray(points, jnp.float32)[..., None, :, :]
    if not symmetric:
        return elements, points
    which = np.r_[:count, :symmetric]
    flip = np.ones((len(which), 1, 3), np.float32)
    flip[count:, :, 2] = -1
    axes = (-1, -2, -2, -2, -2)
    return Elements(*(jnp.take(array, which, axis=axis) for array, axis in zip(elements, axes))), points * flip


def _gaussians(elements: Elements, points: jax.Array, rotated: bool) -> jax.Array:
    """[..., E, P], 0..1."""
    offset = points - elements.center[..., None, :]
    if not rotated:
        return jnp.exp(-jnp.sum(jnp.square(offset) / jnp.maximum(2 * elements.variance, TINY)[..., None, :], axis=-1))
    along = jnp.einsum("...pi,...ij->...pj", offset, rotations(elements.angles), precision="highest")
    return jnp.exp(-0.5 * jnp.sum(jnp.square(along) / (elements.variance + TINY)[..., None, :], axis=-1))


def _in_frames(elements: Elements, points: jax.Array) -> jax.Array:
    """Points in their elements' frames, [..., E, P, 3]."""
    frames = world_to_local(elements)
    turned = jnp.einsum("...pi,...ji->...pj", points, frames[..., :3, :3], precision="highest")
    return turned + frames[..., None, :3, 3]
