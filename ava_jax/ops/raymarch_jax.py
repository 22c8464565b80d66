"""The reference implementation of the raymarcher, in plain JAX: serves where no compiled one does, which is tested against it.

Clear before fast. Only samples inside primitives' bounds are looked at: those of a ray are listed primitive by primitive,
and read in blocks until the longest list of a chunk of rays ends. Memory is bounded by the chunk, not by the image.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from ava_jax.core.types import Array, Primitives, Rays
from ava_jax.ops.varying import zeros_beside

_PAIRS = 1 << 20  # rays x primitives of a chunk
_BLOCK = 16  # samples of each ray that are read at once
_SEGMENT = 1024  # steps searched at once for saturation
_NEVER = jnp.iinfo(jnp.int32).max  # the step at which a ray saturates that does not


class _Chunk(NamedTuple):
    """R rays against the primitives of their frame: constants of differentiation."""

    origin: Array  # [R, 3]
    direction: Array  # [R, 3]
    near: Array  # [R]
    first: Array  # int32 [R, K]: the steps first <= n < last hold all samples inside of the primitive
    last: Array  # int32 [R, K]


def raymarch_jax(rays: Rays, prims: Primitives, step_size: float, warp: Array | None) -> jax.Array:
    """`ops.raymarch` on checked arguments: [F, N, H, W, 4]."""
    return lax.map(lambda frame: _march_frame(*frame, step_size=step_size), (rays, prims, warp))


def _march_frame(rays: Rays, prims: Primitives, warp: Array | None, *, step_size: float) -> jax.Array:
    """One frame's rays [N, H, W, ...], in chunks: [N, H, W, 4]."""
    pixels = rays.origin.shape[:3]
    count = pixels[0] * pixels[1] * pixels[2]
    size = max(16, _PAIRS // prims.position.shape[0])
    if isinstance(count, int):  # an exported program may leave it open
        size = min(count, size)
    chunks = -(-count // size)

    def chunked(x):
        x = jnp.pad(x.reshape(count, x.shape[-1]), ((0, chunks * size - count), (0, 0)))  # rays of zeros are empty
        return x.reshape(chunks, size, x.shape[-1])

    # The backward pass computes a chunk again, but for what is small and took a search.
    keep = jax.checkpoint_policies.save_only_these_names("searched", "summed")
    march = jax.checkpoint(lambda chunk: _march_chunk(Rays(*chunk), prims, warp, step_size), policy=keep)
    rgba = lax.map(march, jax.tree.map(chunked, tuple(rays)))
    return rgba.reshape(-1, 4)[:count].reshape(*pixels, 4)


def _march_chunk(rays: Rays, prims: Primitives, warp: Array | None, step_size: float) -> jax.Array:
    """Rays [R, ...] of one frame: [R, 4].

    Compositing is a sum up to the sample at which a ray saturates; that one counts for what is left.
    """
    params = (prims, warp)
    chunk = _bound_samples(*lax.stop_gradient((rays, prims)), step_size)
    step, primitive = checkpoint_name(_find_saturation(chunk, lax.stop_gradient(params), step_size), "searched")
    ends = _list_samples(chunk, jnp.zeros_like(step), jnp.where(step < _NEVER, step + 1, _NEVER))
    blocks = -(-ends[:, -1].max() // _BLOCK)
    total = _sum_terms(functools.partial(_sum_block, step_size), blocks, params, (chunk, ends, step, primitive))
    total, last = jnp.split(checkpoint_name(total, "summed"), 2, axis=-1)
    return total + (1.0 - total[:, 3:]) * last


def _bound_samples(rays: Rays, prims: Primitives, step_size: float) -> _Chunk:
    """Slab test of R rays against K boxes."""
    near, far = rays.bounds[:, 0], rays.bounds[:, 1]
    count = jnp.where(near < far, jnp.ceil((far - near) / step_size), 0.0)[:, None]
    start = rays.origin + jnp.where(near < far, near, 0.0)[:, None] * rays.direction
    start = _to_box(prims, start[:, None] - prims.position)  # [R, K, 3]
    slope = _to_box(prims, jnp.broadcast_to(rays.direction[:, None] * step_size, start.shape))
    a, b = (-1.0 - start) / slope, (1.0 - start) / slope
    # 0 / 0, on a face and along it, bounds nothing; _read_samples decides.
    enter = jnp.nanmax(jnp.where(jnp.isnan(a + b), -jnp.inf, jnp.minimum(a, b)), -1)
    leave = jnp.nanmin(jnp.where(jnp.isnan(a + b), jnp.inf, jnp.maximum(a, b)), -1)
    valid = jnp.all(jnp.isfinite(start) & jnp.isfinite(slope), -1) & (leave > -1.0) & (enter < count + 1.0)
    first = jnp.where(valid, jnp.floor(jnp.clip(enter, 0.0, count)), 0.0)
    last = jnp.where(valid, jnp.ceil(jnp.clip(leave + 1.0, 0.0, count)), 0.0)  # one sample more than needed, at most
    first, last = first.astype(jnp.int32), last.astype(jnp.int32)
    return _Chunk(rays.origin, rays.direction, near, first, jnp.maximum(first, last))


def _to_box(prims: Primitives, v: Array) -> jax.Array:
    """Scale * (rotation^T v), v [..., 3]. Written out: a matmul may round to bfloat16 or TF32."""
    return prims.scale * sum(prims.rotation[..., i, :] * v[..., i, None] for i in range(3))


def _list_samples(chunk: _Chunk, begin: Array, end: Array) -> jax.Array:
    """Lists each ray's samples with begin <= step < end [R] by primitive: where in the list each primitive's end, [R, K]."""
    first = jnp.maximum(chunk.first, begin[:, None])
    last = jnp.minimum(chunk.last, end[:, None])
    return jnp.cumsum(jnp.maximum(last - first, 0), -1, dtype=jnp.int32)


def _look_up(chunk: _Chunk, ends: Array, begin: Array, block: Array):
    """Primitive, step and existence [R, _BLOCK] of the samples of one block of the lists."""
    index = block * _BLOCK + jnp.arange(_BLOCK, dtype=jnp.int32)
    primitive = jax.vmap(lambda row: jnp.searchsorted(row, index, side="right"))(ends)
    exists = primitive < ends.shape[1]
    primitive = jnp.where(exists, primitive, 0)
    at = functools.partial(jnp.take_along_axis, indices=primitive, axis=1, mode="clip")
    start = at(ends) - at(jnp.diff(ends, axis=1, prepend=0))
    first = jnp.maximum(at(chunk.first), begin[:, None])
    return primitive, first + index - start, exists


def _read_samples(chunk: _Chunk, params, step_size: float, k: Array, n: Array, exists: Array) -> jax.Array:
    """Colour and alpha [R, J, 4] of step n of each ray in primitive k, int32 [R, J]; zeros where it is not inside."""
    prims, warp = params
    pose = Primitives(*(jnp.take(p, k, axis=0, mode="clip") for p in prims[:3]), None)
    t = chunk.near[:, None] + n.astype(chunk.near.dtype) * step_size
    x = chunk.origin[:, None] + t[..., None] * chunk.direction[:, None]
    inside = exists & jnp.all(jnp.abs(_to_box(pose, x - pose.position)) < 1.0, -1)
    # A sample outside reads numbers that are finite whatever the primitive holds: 0 x NaN would reach its gradient.
    pose = jax.tree.map(lambda p: jnp.where(inside.reshape(inside.shape + (1,) * (p.ndim - 2)), p, 0.0), pose)
    x = jnp.where(inside[..., None], x, 0.0)
    y = _to_box(pose, x - pose.position)
    value = _trilinear(prims.rgba, k, y if warp is None else _trilinear(warp, k, y))
    opacity = jnp.exp(-8.0 * jnp.sum(y**8, -1)) * step_size
    sample = jnp.concatenate([value[..., :3], (value[..., 3] * opacity)[..., None]], -1)
    return jnp.where(inside[..., None], sample, 0.0)


def _trilinear(volume: Array, k: Array, at: Array) -> jax.Array:
    """Reads volume [K, S, S, S, C] at x, y, z in [-1, 1] [R, J, 3]; -1 and 1 are centres of voxels, zeros lie outside."""
    side = volume.shape[1]
    at = ((at + 1.0) * (0.5 * (side - 1)))[..., None, :]
    cell = jnp.floor(lax.stop_gradient(at))
    upper = jnp.array([(i, j, l) for i in (0, 1) for j in (0, 1) for l in (0, 1)])  # the cell's corners, [8, 3]
    voxel = cell + upper
    within = jnp.all((voxel >= 0) & (voxel < side), -1)
    weight = jnp.where(upper == 1, at - cell, 1.0 - (at - cell))
    weight = jnp.where(within, weight[..., 0] * weight[..., 1] * weight[..., 2], 0.0)
    voxel = jnp.clip(voxel, 0, side - 1).astype(jnp.int32)
    index = ((k[..., None] * side + voxel[..., 2]) * side + voxel[..., 1]) * side + voxel[..., 0]
    return jnp.sum(weight[..., None] * jnp.take(volume.reshape(-1, volume.shape[-1]), index, axis=0, mode="clip"), -2)


def _sum_block(step_size: float, block: Array, params, constants) -> jax.Array:
    """Sums [R, 8] over a block of samples: (alpha colour, alpha) of those before saturation; (colour, 1) of the one at it."""
    chunk, ends, step, primitive = constants
    k, n, exists = _look_up(chunk, ends, jnp.zeros_like(step), block)
    step, primitive = step[:, None], primitive[:, None]
    at = exists & (n == step) & (k == primitive)
    before = (n < step) | (k < primitive)  # the list ends with the step of saturation
    sample = _read_samples(chunk, params, step_size, k, n, exists & (before | at))
    colour, alpha = sample[..., :3], jnp.where(at[..., None], 0.0, sample[..., 3:])
    last = jnp.where(at[..., None], jnp.concatenate([colour, jnp.ones_like(alpha)], -1), 0.0)
    return jnp.sum(jnp.concatenate([alpha * colour, alpha, last], -1), 1)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum_terms(term, count: Array, params, constants) -> jax.Array:
    """Sum over i < count of term(i, params, constants) [R, 8]. A loop of unknown length, with a gradient in `params`."""
    like = constants[0].near
    zeros = zeros_beside((like.shape[0], 8), like.dtype, like)
    return lax.fori_loop(0, count, lambda i, total: total + term(i, params, constants), zeros)


def _sum_terms_forward(term, count, params, constants):
    return _sum_terms(term, count, params, constants), (count, params, constants)


def _sum_terms_backward(term, residuals, cotangent):
    count, params, constants = residuals

    def add(i, total):
        (gradient,) = jax.vjp(lambda p: term(i, p, constants), params)[1](cotangent)
        return jax.tree.map(jnp.add, total, gradient)

    zeros = jax.tree.map(lambda p: zeros_beside(p.shape, p.dtype, p), params)
    return None, lax.fori_loop(0, count, add, zeros), None


_sum_terms.defvjp(_sum_terms_forward, _sum_terms_backward)


def _find_saturation(chunk: _Chunk, params, step_size: float):
    """Step and primitive [R] of the sample with which each ray's alpha reaches 1; _NEVER where it does not."""
    like = chunk.near
    rows = jnp.arange(like.shape[0])[:, None]
    end = jnp.max(chunk.last)

    def search(state):
        begin, before, step = state
        lower = jnp.where(step < _NEVER, _NEVER, begin + jnp.zeros_like(step))  # nothing more of a ray that saturated
        ends = _list_samples(chunk, lower, lower + jnp.minimum(_SEGMENT, _NEVER - lower))

        def add(block, alpha):
            k, n, exists = _look_up(chunk, ends, lower, block)
            sample = _read_samples(chunk, params, step_size, k, n, exists)
            return alpha.at[rows, jnp.where(exists, n - begin, _SEGMENT)].add(sample[..., 3], mode="drop")

        alpha = zeros_beside((like.shape[0], _SEGMENT), like.dtype, like)
        alpha = lax.fori_loop(0, -(-ends[:, -1].max() // _BLOCK), add, alpha)
        after = before[:, None] + jnp.cumsum(alpha, -1)
        reached = after >= 1.0
        found = jnp.any(reached, -1) & (step == _NEVER)
        at = jnp.argmax(reached, -1).astype(jnp.int32)
        # `before` stops just before the step of saturation.
        until = jnp.where(found, jnp.where(at > 0, after[rows[:, 0], jnp.maximum(at - 1, 0)], before), after[:, -1])
        before = jnp.where(step < _NEVER, before, until)
        return begin + _SEGMENT, before, jnp.where(found, begin + at, step)

    never = zeros_beside(like.shape, jnp.int32, like) + _NEVER
    zero = zeros_beside((), jnp.int32, like)
    state = (zero, zeros_beside(like.shape, like.dtype, like), never)
    _, before, step = lax.while_loop(lambda s: (s[0] < end) & jnp.any(s[2] == _NEVER), search, state)
    return step, _find_primitive(chunk, params, step_size, step, before)


def _find_primitive(chunk: _Chunk, params, step_size: float, step: Array, before: Array) -> jax.Array:
    """The primitive [R] with which alpha, `before` at the start of step `step`, reaches 1 in it."""
    begin = jnp.where(step < _NEVER, step, 0)
    ends = _list_samples(chunk, begin, jnp.where(step < _NEVER, step + 1, 0))

    def add(block, state):
        alpha, primitive, found = state
        k, n, exists = _look_up(chunk, ends, begin, block)
        sample = _read_samples(chunk, params, step_size, k, n, exists)
        after = alpha[:, None] + jnp.cumsum(sample[..., 3], -1)
        reached = (after >= 1.0) & exists
        # Sums in another order may round to just below 1: the last sample of the step it is then.
        last = jnp.max(jnp.where(sample[..., 3] > 0, k, -1), -1)
        here = jnp.where(jnp.any(reached, -1), jnp.take_along_axis(k, jnp.argmax(reached, -1)[:, None], 1)[:, 0], last)
        primitive = jnp.where(found | (here < 0), primitive, here)
        return after[:, -1], primitive, found | jnp.any(reached, -1)

    never = jnp.full_like(step, _NEVER)
    state = (before, jnp.where(step < _NEVER, 0, never), step == _NEVER)
    return lax.fori_loop(0, -(-ends[:, -1].max() // _BLOCK), add, state)[1].astype(jnp.int32)
