"""Rays through the pixels of pinhole cameras."""

import jax.numpy as jnp

from ava_jax.core.types import Array, Cameras, Rays


def camera_rays(cameras: Cameras, height: int, width: int, *, radius: float) -> Rays:
    """Rays from the cameras through every pixel, bounded by the volume [-1, 1]^3.

    Integer pixel coordinates (column, row) are pixel centres: nothing is added for half a pixel.

    Args:
      cameras: leading axes [F, N]: N views of each of F frames; position in mm, focal and principal in pixels.
      height, width: of the image, pixels.
      radius: of the volume, mm: lengths of the result are in these units.

    Returns:
      Rays [F, N, height, width, ...] in volume radii; bounds have near >= 0, and near >= far where the ray misses the volume.

    Raises:
      ValueError: the cameras' axes do not fit, or a size is not positive.
    """
    _check(cameras, height, width, radius)
    return grid_rays(cameras, jnp.arange(height), jnp.arange(width), radius=radius)


def grid_rays(cameras: Cameras, rows: Array, columns: Array, *, radius: float) -> Rays:
    """As `camera_rays`, through the places where rows [H] and columns [W] cross, in pixels: parts of a picture, or places between."""
    column, row = jnp.meshgrid(columns, rows)  # [H, W]
    pixel = jnp.stack([column, row], -1).astype(jnp.result_type(cameras.focal))
    plane = (pixel - cameras.principal[..., None, None, :]) / cameras.focal[..., None, None, :]
    along = jnp.concatenate([plane, jnp.ones_like(plane[..., :1])], -1)  # camera axes
    # The camera's axes are the rows of its rotation. Written out: a matmul may round to bfloat16 or TF32.
    rotation = cameras.rotation[..., None, None, :, :]
    direction = sum(along[..., i, None] * rotation[..., i, :] for i in range(3))
    direction = direction / jnp.sqrt(jnp.sum(direction * direction, -1, keepdims=True))
    origin = jnp.broadcast_to(cameras.position[..., None, None, :] / radius, direction.shape)
    return Rays(origin, direction, _cube_bounds(origin, direction))


def _cube_bounds(origin: Array, direction: Array) -> Array:
    """Where rays [..., 3] are inside [-1, 1]^3: (near, far) [..., 2], near >= 0."""
    parallel = direction == 0.0
    step = jnp.where(parallel, 1.0, direction)
    a, b = (-1.0 - origin) / step, (1.0 - origin) / step
    within = jnp.abs(origin) < 1.0
    near = jnp.where(parallel, jnp.where(within, -jnp.inf, jnp.inf), jnp.minimum(a, b)).max(-1)
    far = jnp.where(parallel, jnp.where(within, jnp.inf, -jnp.inf), jnp.maximum(a, b)).min(-1)
    near = jnp.maximum(near, 0.0)
    missed = ~(near < far)  # finite numbers there too, so that arithmetic on bounds stays finite
    return jnp.stack([jnp.where(missed, 0.0, near), jnp.where(missed, 0.0, far)], -1)


def _check(cameras: Cameras, height: int, width: int, radius: float) -> None:
    if height < 1 or width < 1 or not radius > 0:
        raise ValueError(f"camera_rays: height, width and radius must be positive; got {height}, {width}, {radius}.")
    leading = jnp.shape(cameras.position)[:-1]
    required = Cameras((3, 3), (3,), (2,), (2,))
    for name, array, trailing in zip(Cameras._fields, cameras, required):
        if len(leading) != 2 or jnp.shape(array) != (*leading, *trailing):
            axes = ", ".join(("F", "N", *map(str, trailing)))
            raise ValueError(f"camera_rays: cameras.{name} must be [{axes}], F and N as in cameras.position; got {jnp.shape(array)}.")
