"""What one vertex is conditioned on: its own last positions, or those of the vertices before it in the file."""

import jax
import jax.numpy as jnp

from ava_jax.core.types import Array

TIME, VERTEX = "time", "vertex"
CONDITIONS = (TIME, VERTEX)


def rows_of_frames(source: Array) -> jax.Array:
    """Each vertex in all n frames.

    Args:
      source: [B, n, V, 3], oldest first.

    Returns:
      [B, V, 3 n]: x, y, z in the oldest frame, ..., x, y, z in the newest.
    """
    batch, frames, vertices, _ = source.shape
    return jnp.moveaxis(jnp.asarray(source), 1, 2).reshape(batch, vertices, 3 * frames)


def rows_of_neighbours(source: Array, n: int) -> jax.Array:
    """Vertices j to j + n - 1 of one mesh, in the file's order, for each j: row j stands for vertex j + n - 1.

    Args:
      source: [B, 1, V, 3].
      n: how many.

    Returns:
      [B, V - n + 1, 3 n]: x, y, z of vertex j, ..., x, y, z of vertex j + n - 1.

    Raises:
      ValueError: the mesh has fewer than n vertices.
    """
    mesh = jnp.asarray(source)[:, 0]
    count = mesh.shape[1] - n + 1
    if count < 1:
        raise ValueError(
            f"rows_of_neighbours: a mesh must have at least config.model.condition_frames = {n} vertices; got {mesh.shape[1]}."
        )
    return jnp.concatenate([mesh[:, j : j + count] for j in range(n)], axis=-1)


def with_motion(rows: Array, gain: float) -> jax.Array:
    """Rows whose positions before the last are given as steps from each to the next, times `gain`: a vertex moves by millimetres.

    Args:
      rows: [B, R, 3 n], as either function gives them.
      gain: see above.

    Returns:
      [B, R, 3 n], the last position as it was.
    """
    rows = jnp.asarray(rows)
    return jnp.concatenate([gain * (rows[..., 3:] - rows[..., :-3]), rows[..., -3:]], axis=-1)
