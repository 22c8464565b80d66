"""Surfaces in grids of values: marching cubes with vertices that faces share, on CPUs and GPUs."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core import tracing
from ava_jax.core.types import Array
from ava_jax.ops import native
from ava_jax.ops.marching import table
from ava_jax.ops.marching.reference import extract_jax

_REINSTALL = "Install again where there is a C++ compiler: pip install -e ."
_LARGEST = 2**29  # vertices, which are numbered in 32 bits beside their three axes


class Triangles(NamedTuple):
    """A surface.

    Attributes:
      vertices: f32 [V, 3], x, y, z, in places of the grid: place i of an axis is at i.
      faces: int32 [F, 3]; seen from where values are greater, their corners turn to the left.
    """

    vertices: np.ndarray
    faces: np.ndarray


def extract_padded(
    grid: Array, level: float, vertex_capacity: int, face_capacity: int, *, implementation: str | None = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The surface where values cross `level`, in arrays of fixed size. Works under jit; the same bits from run to run, CPU and GPU.

    A place is inside where its value is not greater than the level. There is a vertex on each edge between an inside and an outside place,
    where the line between the two values crosses the level. Meshes are closed where the grid's border is outside; no edge belongs to more
    than two faces. Vertices follow the places (z, y, x) that their edges start at, then the axis; faces follow the cells.

    Args:
      grid: f32 [Z, Y, X].
      level: the value.
      vertex_capacity, face_capacity: rows of the results; further ones are left out, but counted.
      implementation: "native" (compiled), "jax" (the reference implementation), or None for the best there is.

    Returns:
      Vertices f32 [vertex_capacity, 3] and faces int32 [face_capacity, 3], as of `Triangles`, then zeros; int32 [3], how many
      vertices and faces there are, and how many values are not finite.

    Raises:
      ValueError: the grid has not three axes, or a capacity is negative, or there is no such implementation here.
    """
    grid = jnp.asarray(grid, jnp.float32)
    if grid.ndim != 3:
        raise ValueError(f"extract_padded: the grid must be [Z, Y, X]; got {grid.shape}.")
    if vertex_capacity < 0 or face_capacity < 0:
        raise ValueError(f"extract_padded: capacities must not be negative; got {vertex_capacity} and {face_capacity}.")
    if implementation not in (None, "native", "jax"):
        raise ValueError(f'extract_padded: implementation must be "native", "jax" or None; got {implementation!r}.')
    serves = native.serves_implicit()
    if implementation == "native" and not serves:
        raise ValueError('extract_padded: implementation="native" needs the compiled module, or "jax". ' + _REINSTALL)
    types = [((vertex_capacity, 3), jnp.float32), ((face_capacity, 3), jnp.int32), ((3,), jnp.int32)]
    if min(grid.shape) == 0:
        return tuple(jnp.zeros(*kind) for kind in types)
    if implementation == "jax" or not serves:
        if 5 * grid.size >= 2**31:
            raise ValueError(f"extract_padded: plain JAX extracts from under {2**31 // 5:,} places; got {grid.shape}. {_REINSTALL}")
        return extract_jax(grid, level, vertex_capacity, face_capacity)
    types = [jax.ShapeDtypeStruct(*kind) for kind in types]
    if tracing.backend() == "gpu":
        types.append(jax.ShapeDtypeStruct((native.marching_scratch(*grid.shape),), jnp.int32))
    call = jax.ffi.ffi_call("ava_marching", types, vmap_method="sequential")
    return tuple(call(grid, table.triangles(), level=np.float32(level))[:3])


_padded = jax.jit(
    lambda target, *arguments, **options: extract_padded(*arguments, **options),
    static_argnums=(0, 2, 3, 4),
    static_argnames="implementation",
)


def extract(grid: Array, level: float, *, implementation: str | None = None) -> Triangles:
    """The surface where values cross `level`: `extract_padded`, again with more room where the first guess was too small.

    Args:
      grid: f32 [Z, Y, X], on the host or on a device.
      level: the value.
      implementation: as of `extract_padded`.

    Returns:
      The mesh, on the host; of no vertices where nothing crosses.

    Raises:
      ValueError: values are not finite, or there are too many crossings for 32 bits; else as `extract_padded`.
    """
    if implementation is None and not native.serves_implicit() and tracing.backend() != "cpu":
        with tracing.traced_for("cpu"), jax.default_device(jax.devices("cpu")[0]):  # the compiled call is worth the way to the host
            if native.serves_implicit():
                return extract(np.asarray(grid, np.float32), level)
    grid = jnp.asarray(grid, jnp.float32)
    vertex_capacity, face_capacity = _first_guess(grid.shape)
    while True:
        found = _padded(tracing.backend(), grid, float(level), vertex_capacity, face_capacity, implementation=implementation)
        vertex_count, face_count, bad = (int(count) for count in np.asarray(found[2]))
        if bad:
            raise ValueError(f"extract: {bad:,} of the grid's {grid.size:,} values are not finite.")
        if not (0 <= vertex_count < _LARGEST and 0 <= face_count < _LARGEST):
            raise ValueError(f"extract: there are over {_LARGEST:,} vertices or faces; take fewer places.")
        if vertex_count <= vertex_capacity and face_count <= face_capacity:
            break
        vertex_capacity, face_capacity = (_rounded(n, c) for n, c in ((vertex_count, vertex_capacity), (face_count, face_capacity)))
    # What is fetched is as long as a power of two, so that few programs are compiled.
    vertices = np.asarray(_head(found[0], min(_rounded(vertex_count, 0), vertex_capacity)))[:vertex_count]
    return Triangles(vertices, np.asarray(_head(found[1], min(_rounded(face_count, 0), face_capacity)))[:face_count])


_head = jax.jit(lambda array, count: array[:count], static_argnums=1)


def _first_guess(shape: tuple[int, ...]) -> tuple[int, int]:
    """Room for the surface of a shape that fills the grid: about three times its faces' places."""
    largest = sorted(shape)[1:] if len(shape) == 3 else (1, 1)
    places = 3 * largest[0] * largest[1]
    return _rounded(places, 1024), _rounded(2 * places, 2048)


def _rounded(count: int, least: int) -> int:
    return max(least, 1 << max(count - 1, 0).bit_length())
