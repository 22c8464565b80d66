"""Reference implementation of `rasterize` in plain JAX: every triangle at every pixel. For tests, and where nothing is compiled."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core.types import Array
from ava_jax.ops.mesh.types import Fragments
from ava_jax.ops.varying import zeros_beside

_LEAST_W = 1e-6  # of clip space, where no near plane gives one
_AT_A_TIME = 1 << 20  # pairs of triangle and pixel


@functools.partial(jax.jit, static_argnums=(2, 3, 4))  # called eagerly it would compile each operation by itself
def rasterize_jax(vertices: Array, faces: Array, height: int, width: int, near: float, behind: Fragments | None) -> Fragments:
    """As `rasterize`, whose arguments it takes, in the dtype of the vertices.

    Args:
      vertices: [B, V, 3 or 4].
      faces: int32 [T, 3].
      height, width: of the images.
      near: least depth that is seen.
      behind: the layer before, or None.

    Returns:
      Fragments [B, height, width, ...].
    """
    constant = lax.stop_gradient(vertices)
    draw = functools.partial(_draw, faces, height, width, near)
    if behind is None:
        index = jax.vmap(lambda v: draw(v, None))(constant)
    else:
        index = jax.vmap(draw)(constant, (behind.index, lax.stop_gradient(behind.depth)))
    barycentrics, depth = jax.vmap(lambda v, i: locate(v, faces, i))(vertices, index)
    return Fragments(index, barycentrics, depth)


def locate(vertices: Array, faces: Array, index: Array) -> tuple[jax.Array, jax.Array]:
    """Where pixels lie on the triangles that they see.

    Args:
      vertices: [V, 3 or 4].
      faces: int32 [T, 3].
      index: int32 [H, W], -1 for none.

    Returns:
      Barycentrics [H, W, 3] and depth [H, W]; 0 where there is no triangle. Differentiable in the vertices.
    """
    height, width = index.shape
    seen = index >= 0
    if not faces.shape[0] or not vertices.shape[0]:
        return jnp.zeros((height, width, 3), vertices.dtype), jnp.zeros((height, width), vertices.dtype)
    corners = vertices[faces[jnp.maximum(index, 0)]]  # [H, W, 3, 3 or 4]
    # Moved so that the pixel is the origin: what is left of the cross products of corners is their third component.
    w = jnp.where(seen[..., None], corners[..., 2], 1.0)
    column, row = jnp.meshgrid(jnp.arange(width, dtype=w.dtype), jnp.arange(height, dtype=w.dtype))
    x, y = corners[..., 0] - column[..., None] * w, corners[..., 1] - row[..., None] * w
    area = jnp.stack([x[..., j] * y[..., k] - x[..., k] * y[..., j] for j, k in ((1, 2), (2, 0), (0, 1))], -1)
    area = jnp.where(seen[..., None], area, 1.0)
    over_depth = area / jnp.sum(area * w, -1, keepdims=True)
    total = jnp.sum(over_depth, -1)
    barycentrics = over_depth / total[..., None]
    depth = jnp.sum(over_depth * corners[..., 3], -1) if corners.shape[-1] == 4 else 1.0 / total
    return jnp.where(seen[..., None], barycentrics, 0.0), jnp.where(seen, depth, 0.0)


def _draw(faces, height, width, near, vertices, behind) -> jax.Array:
    """Index [H, W] of the nearest triangle of one image, among those of the layers behind."""
    count = max(1, _AT_A_TIME // (height * width))
    triangles = faces.shape[0]
    if not triangles or not vertices.shape[0]:
        return zeros_beside((height, width), jnp.int32, vertices) - 1
    padded = jnp.concatenate([faces, jnp.full((-triangles % count, 3), -1, faces.dtype)]).reshape(-1, count, 3)

    def step(nearest, chunk):
        first, chunk_faces = chunk
        return _nearer(*nearest, _depths(vertices, chunk_faces, height, width, near), first, behind), None

    dtype = vertices.dtype
    start = zeros_beside((height, width), dtype, vertices) + jnp.inf, zeros_beside((height, width), jnp.int32, vertices) - 1
    firsts = jnp.arange(len(padded), dtype=jnp.int32) * count
    return lax.scan(step, start, (firsts, padded))[0][1]


def _nearer(depth, index, depths, first, behind):
    """The nearest so far, [H, W], against triangles first, first + 1, ... of `depths` [N, H, W]; infinite where not covered."""
    own = first + jnp.arange(len(depths), dtype=jnp.int32)[:, None, None]
    if behind is not None:
        before, of = behind[1], behind[0]
        depths = jnp.where((of >= 0) & ((depths > before) | ((depths == before) & (own > of))), depths, jnp.inf)
    found = jnp.argmin(depths, 0)
    least = jnp.min(depths, 0)
    return jnp.minimum(depth, least), jnp.where(least < depth, first + found.astype(jnp.int32), index)


def _depths(vertices, faces, height, width, near) -> jax.Array:
    """Depth [N, H, W] of triangles, faces [N, 3], at the pixels that they cover; infinite elsewhere."""
    is_clip = vertices.shape[-1] == 4
    real = jnp.all((faces >= 0) & (faces < len(vertices)), -1)
    corners = vertices[jnp.clip(faces, 0, len(vertices) - 1)]
    real &= jnp.all(jnp.isfinite(corners), (-2, -1))
    corners = jnp.where(real[:, None, None], corners, jnp.asarray([1.0, 1.0, 1.0, 1.0])[: vertices.shape[-1]])
    x, y, w = (corners[..., i] for i in range(3))
    front = w >= (_LEAST_W if is_clip else near)
    over = jnp.where(front, w, 1.0)
    x, y = x / over, y / over
    edges = [_edge(x, y, w, front, j, k) for j, k in ((1, 2), (2, 0), (0, 1))]
    px, py, pw = x * over, y * over, w
    det = sum(px[:, i] * (py[:, j] * pw[:, k] - pw[:, j] * py[:, k]) for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)))
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    det = jnp.where(front.all(-1), area * pw[:, 0] * pw[:, 1] * pw[:, 2], det)
    sign = jnp.sign(det)[:, None, None]
    column, row = jnp.meshgrid(jnp.arange(width, dtype=x.dtype), jnp.arange(height, dtype=x.dtype))
    inside = (real & front.any(-1) & (det != 0) & jnp.isfinite(det))[:, None, None]
    over_depth = 0.0
    for i, (a, b, c, x0, y0, scale) in enumerate(edges):
        value = a * (column - x0) + (b * (row - y0) + c)
        owns = (sign * a > 0) | ((a == 0) & (sign * b > 0))
        inside &= (sign * value > 0) | ((value == 0) & owns)
        term = value * (scale / jnp.where(det == 0, 1.0, det)[:, None, None])
        over_depth += term * (corners[:, i, 3][:, None, None] if is_clip else 1.0)
    depth = over_depth if is_clip else 1.0 / over_depth
    seen = inside & ((depth >= -1) & (depth <= 1) if is_clip else depth >= near)
    return jnp.where(seen, depth, jnp.inf)


def _edge(x, y, w, front, j, k):
    """Line a (x - x0) + b (y - y0) + c, [N, 1, 1] each, of the edge from corner j to k: the same, but for the sign, from k to j."""
    p, q = ((x[:, i], y[:, i], w[:, i], front[:, i]) for i in (j, k))
    ordered = (p[0] < q[0]) | ((p[0] == q[0]) & ((p[1] < q[1]) | ((p[1] == q[1]) & (p[2] < q[2]))))
    p, q = ([jnp.where(ordered, *pair) for pair in zip(*ends)] for ends in ((p, q), (q, p)))
    projected = p[3] & q[3]
    px, py, qx, qy = (jnp.where(end[3], end[i] * end[2], end[i]) for end in (p, q) for i in (0, 1))
    a = jnp.where(projected, p[1] - q[1], py * q[2] - p[2] * qy)
    b = jnp.where(projected, q[0] - p[0], p[2] * qx - px * q[2])
    c = jnp.where(projected, 0.0, px * qy - py * qx)
    x0, y0 = (jnp.where(projected, at, 0.0) for at in p[:2])
    scale = jnp.where(projected, p[2] * q[2], 1.0)
    sign = jnp.where(ordered, 1.0, -1.0)
    return tuple(part[:, None, None] for part in (a * sign, b * sign, c * sign, x0, y0, scale))
