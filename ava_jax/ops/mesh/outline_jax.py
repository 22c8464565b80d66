"""Reference implementation of `outline` in plain JAX: all edges at once, pixel after pixel along them.

`ffi/rasterize/outline.h` says why.
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ava_jax.core.types import Array
from ava_jax.ops.varying import zeros_beside

_LEAST_W, _FAR = 1e-6, 1e9  # of clip space; pixels
_SAME_DEPTH, _HIDDEN = 1 - 1e-6, 1 - 1e-4


class _View(NamedTuple):
    """One image. pixel [V, 2], w [V], front [V]; given [V, 3 or 4]; index, depth (camera's axis) [H * W]; barycentrics [H * W, 3]."""

    pixel: Array
    w: Array
    front: Array
    given: Array
    faces: Array
    index: Array
    depth: Array
    barycentrics: Array
    height: int
    width: int


class _Crossing(NamedTuple):
    """A part of each edge within one pixel: fields of `Crossing` in outline.h, [E, ...]."""

    seen: Array
    t: Array
    normal: Array
    pixel: Array
    inside: Array
    outside: Array
    further: Array
    beside: Array
    depth: Array
    cut_right: Array
    cut_below: Array


@functools.partial(jax.jit, static_argnums=6)
def mark(vertices: Array, faces: Array, edges: Array, index: Array, barycentrics: Array, depth: Array, near: float) -> jax.Array:
    """As `find_outlines`.

    Args:
      vertices: [B, V, 3 or 4].
      faces: int32 [T, 3].
      edges: int32 [E, 4].
      index: int32 [B, H, W].
      barycentrics: [B, H, W, 3].
      depth: [B, H, W].
      near: least depth.

    Returns:
      uint8 [B, H, W].
    """

    def one(vertices, index, barycentrics, depth):
        view = _view(vertices, faces, index, barycentrics, depth, near)

        def add(bits, c):
            for column, at in enumerate((c.pixel, c.cut_right, c.cut_below)):
                bits = bits.at[jnp.where(c.seen & (at >= 0), at, len(bits)), column].set(True, mode="drop")
            return bits

        start = zeros_beside((index.size, 3), jnp.int32, vertices) > 0
        bits = _along_outlines(view, edges, add, start)
        return (bits @ jnp.asarray([1, 2, 4], jnp.int32)).astype(jnp.uint8).reshape(index.shape)

    return jax.vmap(one)(vertices, index, barycentrics, depth)


@functools.partial(jax.jit, static_argnums=9)
def gradient(
    vertices: Array,
    faces: Array,
    edges: Array,
    index: Array,
    barycentrics: Array,
    depth: Array,
    marks: Array,
    image: Array,
    cotangent: Array,
    near: float,
) -> jax.Array:
    """The gradient of the vertices that `with_outlines` adds.

    Args:
      vertices: [B, V, 3 or 4].
      faces: int32 [T, 3].
      edges: int32 [E, 4].
      index: int32 [B, H, W].
      barycentrics: [B, H, W, 3].
      depth: [B, H, W].
      marks: uint8 [B, H, W].
      image: [B, H, W, C].
      cotangent: [B, H, W, C].
      near: least depth.

    Returns:
      [B, V, 3 or 4].
    """

    def one(vertices, index, barycentrics, depth, marks, image, cotangent):
        view = _view(vertices, faces, index, barycentrics, depth, near)
        colour, weight = (x.reshape(index.size, -1) for x in (image, cotangent))
        marks = marks.reshape(-1).astype(jnp.int32)

        def add(d_pixel, c):
            p, o, f = (jnp.clip(x, 0, index.size - 1) for x in (c.pixel, c.outside, c.further))
            shifted = ~_shows_triangle(view, c.inside, c) & _shows_triangle(view, c.beside, c)
            i = jnp.clip(jnp.where(shifted, c.beside, c.inside), 0, index.size - 1)
            beyond = ~shifted & (c.inside != c.pixel) & (c.further >= 0) & ~_cut(marks, i, f, view.width)
            beyond &= (view.index[f] >= 0) & (view.index[i] >= 0)
            within = colour[i] + 0.5 * jnp.where(beyond[:, None], colour[i] - colour[f], 0.0)
            along = jnp.where(c.seen, jnp.sum(weight[p] * (within - colour[o]), -1), 0.0)
            along = along[:, None] * jnp.where(c.seen[:, None], c.normal, 0.0)
            for end, share in ((0, 1.0 - c.t), (1, c.t)):
                d_pixel = d_pixel.at[edges[:, end]].add(jnp.where(c.seen, share, 0.0)[:, None] * along)
            return d_pixel

        d_pixel = _along_outlines(view, edges, add, zeros_beside((len(vertices), 2), vertices.dtype, vertices))
        over = 1.0 / jnp.where(view.front, view.w, 1.0)
        d = jnp.concatenate([d_pixel * over[:, None], -(jnp.sum(d_pixel * view.pixel, -1) * over)[:, None]], -1)
        d += _flows(view, marks, colour, weight)
        d = jnp.pad(d, ((0, 0), (0, vertices.shape[-1] - 3)))
        return d + jax.grad(lambda v: _meetings(view, v, marks, colour, weight))(vertices)

    return jax.vmap(one)(vertices, index, barycentrics, depth, marks, image, cotangent)


def _view(vertices, faces, index, barycentrics, depth, near) -> _View:
    is_clip = vertices.shape[-1] == 4
    w = vertices[:, 2]
    front = (w >= (_LEAST_W if is_clip else near)) & jnp.isfinite(vertices).all(-1)
    pixel = jnp.where(front[:, None], vertices[:, :2] / jnp.where(front, w, 1.0)[:, None], 0.0)
    height, width = index.shape
    index, depth, barycentrics = index.reshape(-1), depth.reshape(-1), barycentrics.reshape(-1, 3)
    if is_clip:
        depth = jnp.sum(barycentrics * w[faces[jnp.maximum(index, 0)]], -1)
    return _View(pixel, w, front, vertices, faces, index, depth, barycentrics, height, width)


def _along_outlines(view: _View, edges, add, start):
    """add(carry, crossing) for all pixels along all edges; what is not `seen` in a crossing is to be left out."""
    if not edges.shape[0] or not view.faces.shape[0]:
        return start
    a, b = edges[:, 0], edges[:, 1]
    origin, by = view.pixel[a], view.pixel[b] - view.pixel[a]
    is_outline, sign = _outlines(view, edges)
    normal = sign[:, None] * jnp.stack([by[:, 1], -by[:, 0]], -1)
    size = jnp.asarray([view.width, view.height], by.dtype)
    moves = by != 0
    over = 1.0 / jnp.where(moves, by, 1.0)
    ends = jnp.stack([(-0.5 - origin) * over, (size - 0.5 - origin) * over])
    t = jnp.maximum(jnp.where(moves, ends.min(0), 0.0).max(-1), 0.0)
    end = jnp.minimum(jnp.where(moves, ends.max(0), 1.0).min(-1), 1.0)
    within = jnp.all(moves | ((origin >= -0.5) & (origin < size - 0.5)), -1)
    end = jnp.where(is_outline & within, end, -1.0)
    cell = jnp.ceil(origin + t[:, None] * by + 0.5) - 1.0
    border = jnp.where(by > 0, cell + 0.5, cell - 0.5)
    last = 2 * (view.height + view.width) + 8

    def step(state):
        n, t, border, carry = state
        following = jnp.where(moves, (border - origin) * over, 2.0)
        to = jnp.minimum(following.min(-1), end)
        crossing = _crossing(view, edges, origin, by, normal, t, to, (to > t) & (t < end))
        border = jnp.where(moves & (following <= to[:, None]), border + jnp.sign(by), border)
        return n + 1, jnp.maximum(to, t), border, add(carry, crossing)

    return lax.while_loop(lambda s: (s[0] < last) & jnp.any(s[1] < end), step, (0, t, border, start))[-1]


def _outlines(view: _View, edges):
    """Which edges are outlines [E], and on which side of them their triangles lie."""
    a, b = edges[:, 0], edges[:, 1]
    p, q = view.pixel[a], view.pixel[b]

    def side(corner):
        c = jnp.maximum(corner, 0)
        flat = (p[:, 1] - q[:, 1]) * (view.pixel[c, 0] - p[:, 0]) + (q[:, 0] - p[:, 0]) * (view.pixel[c, 1] - p[:, 1])
        x, y, w = (view.given[c, i] for i in range(3))
        behind = (p[:, 1] - q[:, 1]) * (x - p[:, 0] * w) + (q[:, 0] - p[:, 0]) * (y - p[:, 1] * w)
        known = (corner >= 0) & jnp.isfinite(view.given[c]).all(-1)
        return jnp.where(known, jnp.where(view.front[c], flat, behind), 0.0)

    first, second = side(edges[:, 2]), side(edges[:, 3])
    first, second = jnp.where(first == 0, second, first), jnp.where(first == 0, 0.0, second)
    near = jnp.all((jnp.abs(p) < _FAR) & (jnp.abs(q) < _FAR), -1)
    return view.front[a] & view.front[b] & near & (first != 0) & ~(first * second < 0), jnp.where(first > 0, 1.0, -1.0)


def _crossing(view: _View, edges, origin, by, normal, t0, t1, real) -> _Crossing:
    t = 0.5 * (t0 + t1)
    low, high, middle = (origin + x[:, None] * by for x in (t0, t1, t))
    over = 1.0 / jnp.where(view.front, view.w, 1.0)
    depth = 1.0 / ((1.0 - t) * over[edges[:, 0]] + t * over[edges[:, 1]])
    at = jnp.floor(middle + 0.5)
    column, row = at[:, 0].astype(jnp.int32), at[:, 1].astype(jnp.int32)
    across = jnp.abs(normal[:, 0]) > jnp.abs(normal[:, 1])
    forward = jnp.where(jnp.where(across, normal[:, 0], normal[:, 1]) > 0, 1, -1)
    floor = jnp.floor(jnp.where(across, middle[:, 0], middle[:, 1])).astype(jnp.int32)
    first = jnp.where(forward > 0, floor, floor + 1)
    places = [jnp.where(across, _at(view, row, x), _at(view, x, column)) for x in (first, first + forward, first - forward)]
    cuts = []
    for axis, centre in ((1, at[:, 1]), (0, at[:, 0])):
        crosses = (low[:, axis] < centre) != (high[:, axis] < centre)
        s = (centre - low[:, axis]) / jnp.where(crosses, high[:, axis] - low[:, axis], 1.0)
        other = jnp.floor(low[:, 1 - axis] + s * (high[:, 1 - axis] - low[:, 1 - axis])).astype(jnp.int32)
        cuts.append(jnp.where(crosses, _at(view, row, other) if axis else _at(view, other, column), -1))
    pixel = _at(view, row, column)
    inside, outside = (jnp.maximum(x, 0) for x in places[:2])
    open_ = (view.index[outside] < 0) | (view.depth[outside] >= depth * _SAME_DEPTH)
    seen = real & (pixel >= 0) & (places[0] >= 0) & (places[1] >= 0) & open_ & ~_hides(view, inside, middle, depth)
    towards = jnp.where(jnp.where(across, by[:, 1], by[:, 0]) * (0.5 - t) > 0, 1, -1)
    beside = jnp.where(across, _at(view, row + towards, first), _at(view, first, column + towards))
    return _Crossing(seen, t, normal * (t1 - t0)[:, None], pixel, *places, beside, depth, *cuts)


def _shows_triangle(view: _View, pixel, c: _Crossing):
    """Whether pixels [E] show the triangle at the edge, and not what lies behind it."""
    p, o = jnp.maximum(pixel, 0), jnp.maximum(c.outside, 0)
    nearer = jnp.abs(view.depth[p] - c.depth) < jnp.abs(view.depth[o] - c.depth)
    return (pixel >= 0) & (view.index[p] >= 0) & ((view.index[o] < 0) | nearer)


def _at(view: _View, row, column):
    inside = (row >= 0) & (column >= 0) & (row < view.height) & (column < view.width)
    return jnp.where(inside, row * view.width + column, -1)


def _over_depth(given, faces, triangle, point):
    """Barycentrics over depth [E, 3] of points [E, 2] in triangles [E]; those of triangle 0 where it is -1."""
    corners = given[faces[jnp.maximum(triangle, 0)]]
    w = corners[..., 2]
    x, y = corners[..., 0] - point[:, :1] * w, corners[..., 1] - point[:, 1:] * w
    area = jnp.stack([x[:, j] * y[:, k] - x[:, k] * y[:, j] for j, k in ((1, 2), (2, 0), (0, 1))], -1)
    whole = jnp.sum(area * w, -1, keepdims=True)
    return jnp.where(whole == 0, 0.0, area / jnp.where(whole == 0, 1.0, whole))


def _meetings(view: _View, given, marks, colour, weight) -> jax.Array:
    """Sum over neighbours that see triangles which pass through each other: weight * difference of colours * where they meet."""
    total = jnp.zeros((), colour.dtype)
    if not view.faces.shape[0] or not len(given):
        return total
    pixel = jnp.arange(colour.shape[0])
    row, column = pixel // view.width, pixel % view.width
    for dy, dx in ((0, 1), (1, 0)):
        beside = _at(view, row + dy, column + dx)
        q = jnp.maximum(beside, 0)
        first, second = view.index, view.index[q]
        used = (beside >= 0) & (first >= 0) & (second >= 0) & (first != second) & ~_cut(marks, pixel, q, view.width)
        gaps = []
        for ry, rx in ((0, 0), (dy, dx), (1 - dy, 1 - dx)):  # here, beside, and beside along the other axis
            point = jnp.stack([column + rx, row + ry], -1).astype(colour.dtype)
            c, d = (_over_depth(given, view.faces, t, point) for t in (first, second))
            gaps.append(c.sum(-1) - d.sum(-1))
            if len(gaps) < 3:
                used &= jnp.all((c >= 0) & (d >= 0), -1)
        near, far, other = gaps
        across, along = jnp.abs(far - near), jnp.abs(other - near)
        used &= (near >= 0) & (far <= 0) & (near - far > 0) & ((across >= along) if dx else (across > along))
        at = jnp.where(used, near, 0.5) / jnp.where(used, near - far, 1.0)
        here = jnp.where((lax.stop_gradient(at) < 0.5)[:, None], weight, weight[q])
        total += jnp.sum(jnp.where(used, at * jnp.sum(here * (colour - colour[q]), -1), 0.0))
    return total


def _hides(view: _View, pixel, point, depth):
    """Whether the triangle that a pixel sees lies before a point [E, 2] of some depth."""
    c = _over_depth(view.given, view.faces, view.index[pixel], point)
    return (view.index[pixel] >= 0) & jnp.all(c >= 0, -1) & (jnp.sum(c, -1) * depth * _HIDDEN > 1.0)


def _cut(marks, p, q, width):
    """Whether an outline passes between neighbouring pixels."""
    first = jnp.minimum(p, q)
    return (marks[first] & jnp.where(jnp.abs(q - p) == width, 4, 2)) > 0


def _flows(view: _View, marks, colour, weight) -> jax.Array:
    """Gradient [V, 3] of the flow of colour between pixels on outlines and their neighbours."""
    out = jnp.zeros((len(view.given), 3), colour.dtype)
    if not view.faces.shape[0] or not len(view.given):
        return out
    pixel = jnp.arange(colour.shape[0])
    row, column = pixel // view.width, pixel % view.width
    for dy, dx in ((0, 1), (0, -1), (1, 0), (-1, 0)):
        beside = _at(view, row + dy, column + dx)
        q = jnp.maximum(beside, 0)
        used = (beside >= 0) & ((marks & 1) > 0) & (view.index >= 0) & (view.index[q] >= 0) & ~_cut(marks, pixel, q, view.width)
        along = jnp.where(used, -0.25 * jnp.sum(weight * (colour[q] - colour), -1), 0.0)
        for at in (pixel, q):
            x, y = (at % view.width).astype(colour.dtype), (at // view.width).astype(colour.dtype)
            over = jnp.where(used, along / jnp.where(used, view.depth[at], 1.0), 0.0)
            d = jnp.stack([dx * over, dy * over, -(dx * x + dy * y) * over], -1)
            corners = view.faces[jnp.maximum(view.index[at], 0)]
            out = out.at[corners].add(view.barycentrics[at][..., None] * d[:, None])
    return out
