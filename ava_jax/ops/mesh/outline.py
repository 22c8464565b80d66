"""Gradients of outlines: how a picture changes when what covers a pixel moves away from it, or onto it.

Differentiating the colour at pixels' centres misses this, and near the outline of a round surface it says too much: there a small motion
sweeps the surface's colours through the pixel. With `hold_outlines` and `with_outlines` around the shading the gradient is that of the mean
colour over each pixel's square, as well as one sample a pixel tells it:

    fragments = rasterize(vertices, faces, height, width)
    marks = find_outlines(vertices, faces, edges, fragments)
    image = shade(hold_outlines(fragments, marks))
    image = with_outlines(image, vertices, faces, edges, fragments, marks)
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ava_jax.core.types import Array
from ava_jax.ops import native
from ava_jax.ops.mesh import outline_jax
from ava_jax.ops.mesh.checks import choose_native, require_axes, require_faces
from ava_jax.ops.mesh.rasterize import NEAR, limits
from ava_jax.ops.mesh.types import Fragments
from ava_jax.ops.per_image import call_per_image
from ava_jax.ops.varying import vary_together

ON_OUTLINE, CUT_RIGHT, CUT_BELOW = 1, 2, 4  # bits of a mark; `ffi/rasterize/outline.h` has them too
_PER_IMAGE = True, False, False, True, True, True  # of vertices, faces, edges, index, barycentrics, depth


def mesh_edges(faces: Array) -> np.ndarray:
    """The edges of a mesh and the triangles that meet there; outside of jit, once per mesh.

    Args:
      faces: int [T, 3].

    Returns:
      int32 [E, 4]: two ends, and the third corner of each of the two triangles, -1 where there is one alone. An edge of more than two
      triangles is listed once per triangle, as if each stood alone.

    Raises:
      ValueError: faces are not integers [T, 3].
    """
    faces = np.asarray(faces)
    if faces.ndim != 2 or faces.shape[1] != 3 or not np.issubdtype(faces.dtype, np.integer):
        raise ValueError(f"mesh_edges: faces must be integers [T, 3]; got {faces.dtype} {faces.shape}.")
    sides = np.concatenate([faces[:, [0, 1, 2]], faces[:, [1, 2, 0]], faces[:, [2, 0, 1]]]).astype(np.int32)
    ends = np.sort(sides[:, :2], 1)
    order = np.lexsort((sides[:, 2], ends[:, 1], ends[:, 0]))
    ends, third = ends[order], sides[order, 2]
    starts = np.flatnonzero(np.concatenate([[True], (ends[1:] != ends[:-1]).any(1)])) if len(ends) else np.zeros(0, int)
    count = np.diff(np.append(starts, len(ends)))
    pairs = starts[count == 2]
    single = np.concatenate([starts[count == 1], *(s + np.arange(n) for s, n in zip(starts[count > 2], count[count > 2]))]).astype(int)
    double = np.concatenate([ends[pairs], third[pairs, None], third[pairs + 1, None]], 1)
    alone = np.concatenate([ends[single], third[single, None], np.full((len(single), 1), -1, np.int32)], 1)
    edges = np.concatenate([double, alone]).astype(np.int32)
    return edges[edges[:, 0] != edges[:, 1]]


def find_outlines(
    vertices: Array, faces: Array, edges: Array, fragments: Fragments, *, near: float = NEAR, implementation: str | None = None
) -> jax.Array:
    """Finds the pixels that outlines cross: edges of one triangle alone, or of two on the same side of it, where nothing hides them.

    Args:
      vertices: f32 [B, V, 3 or 4], as `rasterize` took them.
      faces: int32 [T, 3].
      edges: int32 [E, 4], of `mesh_edges`.
      fragments: [B, H, W, ...], the nearest layer.
      near: as in `rasterize`; edges that come nearer are left out.
      implementation: "native", "jax" or None, as in `rasterize`.

    Returns:
      uint8 [B, H, W], bits: 1 where an outline crosses the pixel's square, 2 where it passes between this and the next column's centre, 4
      between this and the next row's. Constant under differentiation.

    Raises:
      ValueError: a shape, dtype or option does not fit; the message names the argument.
    """
    scene = _scene("find_outlines", vertices, faces, edges, fragments)
    use_native = choose_native("find_outlines", implementation, scene[0].dtype)
    scene = vary_together(*lax.stop_gradient(scene))
    if not use_native:
        return outline_jax.mark(*scene, near)
    result = jax.eval_shape(lambda x: x.astype(jnp.uint8), scene[-1])
    return call_per_image("ava_outline_mark", result, scene, _PER_IMAGE, scratch=_mark_scratch, **limits(scene[0], near))


def hold_outlines(fragments: Fragments, marks: Array) -> Fragments:
    """Takes barycentrics and depth as constant where outlines cross: `with_outlines` has the gradient there.

    Args:
      fragments: [B, H, W, ...].
      marks: uint8 [B, H, W], of `find_outlines`.

    Returns:
      The same values.
    """
    on = (jnp.asarray(marks) & ON_OUTLINE) > 0
    barycentrics, depth = fragments.barycentrics, fragments.depth
    return Fragments(
        fragments.index,
        jnp.where(on[..., None], lax.stop_gradient(barycentrics), barycentrics),
        jnp.where(on, lax.stop_gradient(depth), depth),
    )


def with_outlines(
    image: Array,
    vertices: Array,
    faces: Array,
    edges: Array,
    fragments: Fragments,
    marks: Array,
    *,
    near: float = NEAR,
    implementation: str | None = None,
) -> jax.Array:
    """Gives a picture the gradient that comes from its outlines; its values stay.

    At a pixel that an outline crosses, the derivative is (colour within - colour outside) times that of the area within, and the flow of
    colour over the pixel's other borders. Colours are those of the centres around. Gradients arise in the vertices alone; the image's own
    passes unchanged.

    Args:
      image: f32 [B, H, W, C], shaded, with its background.
      vertices: f32 [B, V, 3 or 4], as `rasterize` took them.
      faces: int32 [T, 3].
      edges: int32 [E, 4], of `mesh_edges`.
      fragments: [B, H, W, ...], of `rasterize`.
      marks: uint8 [B, H, W], of `find_outlines`.
      near: as in `rasterize`.
      implementation: "native", "jax" or None, as in `rasterize`.

    Returns:
      The image [B, H, W, C].

    Raises:
      ValueError: a shape, dtype or option does not fit; the message names the argument.
    """
    scene = _scene("with_outlines", vertices, faces, edges, fragments)
    image, marks = jnp.asarray(image), jnp.asarray(marks)
    if image.ndim != 4 or image.shape[:3] != scene[-1].shape or marks.shape != image.shape[:3]:
        required = f"[B, H, W, C] and [B, H, W] with B, H, W = {scene[-1].shape} as the fragments"
        raise ValueError(f"with_outlines: image and marks must be {required}; got {image.shape} and {marks.shape}.")
    use_native = choose_native("with_outlines", implementation, jnp.result_type(image, scene[0]))
    image, marks, *scene = vary_together(image, marks, *scene)
    index, barycentrics, depth = scene[3:]
    seen = index, lax.stop_gradient(barycentrics), lax.stop_gradient(depth)
    return _with_outlines(use_native, float(near), image, *scene[:3], *seen, marks)


def _scene(who, vertices, faces, edges, fragments) -> tuple:
    vertices, faces, edges = jnp.asarray(vertices), require_faces(who, faces), jnp.asarray(edges)
    require_axes(who, "vertices", vertices, "B, V, 3 or 4", 3)
    if edges.ndim != 2 or edges.shape[1] != 4:
        raise ValueError(f"{who}: edges must be [E, 4], as `mesh_edges` gives them; got {edges.shape}.")
    if jnp.ndim(fragments.index) != 3 or len(fragments.index) != len(vertices):
        raise ValueError(f"{who}: fragments must be those of {len(vertices)} images as vertices are; got {jnp.shape(fragments.index)}.")
    return vertices, faces, edges.astype(jnp.int32), *(jnp.asarray(x) for x in fragments)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _with_outlines(use_native, near, image, vertices, faces, edges, index, barycentrics, depth, marks) -> jax.Array:
    del use_native, near, vertices, faces, edges, index, barycentrics, depth, marks
    return image


def _forward(use_native, near, image, *rest):
    del use_native, near
    return image, (image, *rest)


def _backward(use_native, near, residuals, cotangent):
    image, vertices, faces, edges, index, barycentrics, depth, marks = residuals
    scene = vertices, faces, edges, index, barycentrics, depth
    if use_native:
        result, arguments = jax.eval_shape(lambda x: x, vertices), (*scene, marks, image, cotangent)
        per_image, seen = (*_PER_IMAGE, True, True, True), limits(vertices, near)
        d_vertices = call_per_image("ava_outline_gradient", result, arguments, per_image, scratch=_gradient_scratch, **seen)
    else:
        d_vertices = outline_jax.gradient(*scene, marks, image, cotangent, near)
    return cotangent, d_vertices, None, None, None, jnp.zeros_like(barycentrics), jnp.zeros_like(depth), None


def _mark_scratch(arguments, results) -> int | None:
    return native.mesh_scratch("mark", *results[0].shape)


def _gradient_scratch(arguments, results) -> int | None:
    return native.mesh_scratch("outline", *results[0].shape, len(arguments[1]), len(arguments[2]))


_with_outlines.defvjp(_forward, _backward)
