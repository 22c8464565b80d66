"""Which triangle of a mesh each pixel sees, and where on it. Differentiable in the vertices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array
from ava_jax.ops import native
from ava_jax.ops.mesh.checks import choose_native, require_axes, require_faces
from ava_jax.ops.mesh.rasterize_jax import locate, rasterize_jax
from ava_jax.ops.mesh.types import Fragments
from ava_jax.ops.per_image import call_per_image
from ava_jax.ops.varying import vary_together

NEAR = 1e-2
_FARTHEST = np.finfo(np.float32).max


def rasterize(
    vertices: Array,
    faces: Array,
    height: int,
    width: int,
    *,
    near: float = NEAR,
    behind: Fragments | None = None,
    implementation: str | None = None,
) -> Fragments:
    """Finds the nearest triangle at each pixel centre.

    Both sides of a triangle are seen. A centre on an edge belongs to the triangle whose left or top edge it is: where two triangles
    share an edge, one of them has it. At equal depth (in float32) the lower index wins. Triangles that come nearer than `near`, or reach
    behind the camera, are clipped there; what is not finite, has no area or names no vertex is left out.

    Works under jit, vmap and grad; the same bits from run to run, gradients included, but for gradients in plain JAX on GPUs: those are
    sums in any order (docs/design/rasterizer.md). Gradients are those of the barycentrics and depth of the triangle that a pixel sees;
    which one that is is taken as constant (`with_outlines` gives outlines their gradient).

    Args:
      vertices: f32 [B, V, 3]: column * depth, row * depth, depth, as `project` gives them; or [B, V, 4] as `from_clip` does.
      faces: int32 [T, 3], the same for all images.
      height, width: of the images, pixels.
      near: least depth that is seen, in the unit of depth, > 0. Clip space has its own limits, -1 and 1.
      behind: a layer that was drawn of the same mesh; only what lies behind it is seen, and nothing where it saw nothing.
      implementation: "native" (compiled, float32), "jax" (the reference implementation, float32 or float64), or None for the best there is.

    Returns:
      Fragments [B, height, width, ...].

    Raises:
      ValueError: a shape, dtype or option does not fit; the message names the argument.
    """
    vertices, faces = jnp.asarray(vertices), require_faces("rasterize", faces)
    require_axes("rasterize", "vertices", vertices, "B, V, 3 or 4", 3)
    if vertices.shape[-1] not in (3, 4):
        raise ValueError(f"rasterize: vertices must be [B, V, 3 or 4]; got {vertices.shape}. `project` makes them of points.")
    if height < 1 or width < 1 or not near > 0:
        raise ValueError(f"rasterize: height, width and near must be positive; got {height}, {width}, {near}.")
    if behind is not None and jnp.shape(behind.index) != (len(vertices), height, width):
        raise ValueError(f"rasterize: behind must be [{len(vertices)}, {height}, {width}]; got {jnp.shape(behind.index)}.")
    use_native = choose_native("rasterize", implementation, vertices.dtype, serves=native.rasterizes())
    vertices, faces, behind = vary_together(vertices, faces, behind)
    if not use_native:
        return rasterize_jax(vertices, faces, height, width, near, behind)
    none = jnp.zeros(0, jnp.int32), jnp.zeros(0, jnp.float32)
    before = none if behind is None else (behind.index, jax.lax.stop_gradient(behind.depth))
    return _native(height, width, float(near), vertices, faces, *before)


def peel(
    vertices: Array, faces: Array, height: int, width: int, layers: int, *, near: float = NEAR, implementation: str | None = None
) -> list[Fragments]:
    """Draws the nearest triangle at each pixel, the next one behind it, and so on.

    Args:
      vertices: [B, V, 3 or 4], as `rasterize` takes them.
      faces: int32 [T, 3].
      height, width: of the images, pixels.
      layers: how many, at least 1.
      near: as in `rasterize`.
      implementation: as in `rasterize`.

    Returns:
      `layers` Fragments [B, height, width, ...], nearest first.

    Raises:
      ValueError: as `rasterize`, or there is no layer to draw.
    """
    if layers < 1:
        raise ValueError(f"peel: layers must be at least 1; got {layers}.")
    drawn = [rasterize(vertices, faces, height, width, near=near, implementation=implementation)]
    for _ in range(layers - 1):
        drawn.append(rasterize(vertices, faces, height, width, near=near, behind=drawn[-1], implementation=implementation))
    return drawn


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _native(height, width, near, vertices, faces, behind_index, behind_depth) -> Fragments:
    return _native_forward(height, width, near, vertices, faces, behind_index, behind_depth)[0]


def _native_forward(height, width, near, vertices, faces, behind_index, behind_depth):
    # Result types come from the arguments': inside shard_map a bare ShapeDtypeStruct counts as replicated.
    def results(v):
        image = jnp.broadcast_to(v[:, :1, :1], (len(v), height, width))
        return image.astype(jnp.int32), jnp.stack([image] * 3, -1), image

    types = jax.eval_shape(results, jax.eval_shape(_with_a_vertex, vertices))
    layered = behind_index.size > 0
    per_image = True, False, layered, layered
    arguments = vertices, faces, behind_index, behind_depth
    fragments = Fragments(*call_per_image("ava_rasterize", types, arguments, per_image, **limits(vertices, near)))
    return fragments, (vertices, faces, fragments.index)


def _native_backward(height, width, near, residuals, cotangent):
    del height, width
    vertices, faces, index = residuals
    if not native.serves_meshes():  # GPUs without AVA_RASTERIZE_CUDA: the compiled call has no gradient there
        _, pull = jax.vjp(lambda v: jax.vmap(lambda own, at: locate(own, faces, at))(v, index), vertices)
        return *pull(tuple(map(jnp.asarray, (cotangent.barycentrics, cotangent.depth)))), None, None, None
    result, arguments = jax.eval_shape(lambda x: x, vertices), (vertices, faces, index, cotangent.barycentrics, cotangent.depth)
    per_image, seen = (True, False, True, True, True), limits(vertices, near)
    return call_per_image("ava_rasterize_gradient", result, arguments, per_image, scratch=_scratch, **seen), None, None, None


def _scratch(arguments, results) -> int | None:
    return native.mesh_scratch("gradient", *results[0].shape, len(arguments[1]))


_native.defvjp(_native_forward, _native_backward)


def _with_a_vertex(vertices):
    return jnp.concatenate([vertices, jnp.sum(vertices, 1, keepdims=True)], 1)


def limits(vertices: Array, near: float) -> dict[str, np.float32]:
    """Attributes of the compiled calls: the depths that are seen of vertices [B, V, 3 or 4]."""
    low, high = (-1.0, 1.0) if vertices.shape[-1] == 4 else (near, _FARTHEST)
    return {"low": np.float32(low), "high": np.float32(high)}
