"""Colours of a surface by what a shape is made of: its elements, and their features."""

import numpy as np

from ava_jax.ops import implicit
from ava_jax.tasks.ldif.apps.shape import HALF_SIDE, Shape
from ava_jax.tasks.ldif.standalone import sif
from ava_jax.viz.colours import palette

PLAIN, ELEMENT, FEATURES, PLACE = "Plain", "Element", "Features", "Place"
_GREY = (176, 184, 196)
_SPREAD = 0.22  # of the colour range per standard deviation of a component
_AT_ONCE = 20_000  # vertices that are weighed together


def axes_of(elements: implicit.Elements, rotated: bool) -> np.ndarray:
    """Axes of elements [N, ...] in columns, f64 [N, 3, 3]: those of the world where they are not rotated."""
    if not rotated:
        return np.tile(np.eye(3), (len(elements.constant), 1, 1))
    return np.asarray(implicit.rotations(np.asarray(elements.angles, np.float32)), np.float64)


def as_sif(shape: Shape) -> sif.Shape:
    """The Gaussians of a shape alone."""
    e = shape.elements
    radius = np.sqrt(np.asarray(e.variance, np.float64))
    axes = axes_of(e, shape.rotated)
    return sif.Shape(np.asarray(e.constant, np.float64), np.asarray(e.center, np.float64), radius, axes, shape.symmetric)


def modes(shape: Shape) -> tuple[str, ...]:
    """What a shape's surface can be coloured by: features where it has more than two."""
    return (ELEMENT, FEATURES, PLACE, PLAIN) if shape.elements.features.shape[1] > 2 else (ELEMENT, PLACE, PLAIN)


def of_features(shape: Shape) -> np.ndarray:
    """Colours of the elements, u8 [N, 3]: the first three principal components of their features as red, green, blue.

    Elements of like colours add like details; grey is the mean of all.
    """
    features = np.asarray(shape.elements.features, np.float64)
    centred = features - features.mean(0)
    _, _, directions = np.linalg.svd(centred, full_matrices=False)
    largest = directions[np.arange(len(directions)), np.abs(directions).argmax(1)]
    found = centred @ (directions * np.sign(largest)[:, None])[:3].T  # whose signs are arbitrary otherwise
    found = found / np.maximum(found.std(0), 1e-12)
    found = np.pad(found, ((0, 0), (0, 3 - found.shape[1])))
    return np.rint(255 * np.clip(0.5 + _SPREAD * found, 0, 1)).astype(np.uint8)


def of_elements(shape: Shape, mode: str) -> np.ndarray:
    """Colours of the elements themselves, u8 [N, 3]."""
    if mode == FEATURES:
        return of_features(shape)
    if mode == PLACE:
        return of_places(np.asarray(shape.elements.center))
    return palette(len(shape.elements.constant))


def of_places(points: np.ndarray) -> np.ndarray:
    """x, y, z as red, green, blue: points [P, 3] to u8 [P, 3]."""
    return np.rint(255 * np.clip(0.5 + 0.75 * np.asarray(points) / HALF_SIDE, 0, 1)).astype(np.uint8)


def of_vertices(shape: Shape, mode: str, vertices: np.ndarray) -> np.ndarray:
    """Colours of a surface's vertices [V, 3], u8 [V, 3].

    `ELEMENT`: of the element that is felt most at the vertex, which is |constant| times its Gaussian; reflected elements have the colour of
    what they are reflections of. `FEATURES`: of the elements' features, mixed by how much each is felt. `PLACE`: of x, y, z.
    """
    if mode == PLAIN:
        return np.broadcast_to(np.array(_GREY, np.uint8), vertices.shape).copy()
    if mode == PLACE:
        return of_places(vertices)
    gaussians, own = as_sif(shape), of_elements(shape, mode)
    count = len(own)
    which = np.r_[:count, : shape.symmetric]
    found = np.empty(vertices.shape, np.uint8)
    for first in range(0, len(vertices), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        felt = np.abs(gaussians.constant[which, None]) * gaussians.influences(vertices[part])
        if mode == ELEMENT:
            found[part] = own[which[felt.argmax(0)]]
        else:
            found[part] = np.rint(felt.T @ own[which] / np.maximum(felt.sum(0), 1e-30)[:, None]).astype(np.uint8)
    return found


def corresponding(shape: Shape, other: Shape, vertices: np.ndarray) -> np.ndarray:
    """Colours of another shape's vertices [V, 3]: those of the places on `shape` that they correspond to, u8 [V, 3].

    Raises:
      ValueError: the shapes have other numbers of elements.
    """
    return of_places(sif.correspond(as_sif(other), as_sif(shape), vertices))
