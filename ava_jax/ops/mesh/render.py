"""Pictures of a mesh in one call: colour, mask, depth and normals, with the gradient of outlines."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Array, Cameras
from ava_jax.ops.mesh.checks import require_faces
from ava_jax.ops.mesh.corners import corner_values, sum_at_corners
from ava_jax.ops.mesh.derivatives import barycentric_derivatives, uv_derivatives
from ava_jax.ops.mesh.interpolate import interpolate
from ava_jax.ops.mesh.outline import find_outlines, hold_outlines, with_outlines
from ava_jax.ops.mesh.project import project
from ava_jax.ops.mesh.rasterize import NEAR, rasterize
from ava_jax.ops.mesh.texture import mipmaps, sample_texture, texture_level
from ava_jax.ops.mesh.types import Fragments

_OUTPUTS = ("colour", "mask", "depth", "normals")


class Rendering(NamedTuple):
    """What `render_mesh` was asked for, None for what it was not.

    Attributes:
      colour: [B, H, W, C], the background where nothing is seen.
      mask: [B, H, W], 1 where a triangle is seen.
      depth: [B, H, W], along the camera's axis; 0 where nothing is seen.
      normals: [B, H, W, 3], unit length, in the space of the points; 0 where nothing is seen.
      fragments: [B, H, W, ...], always.
    """

    colour: Array | None
    mask: Array | None
    depth: Array | None
    normals: Array | None
    fragments: Fragments


def render_mesh(
    points: Array,
    faces: Array,
    cameras: Cameras,
    height: int,
    width: int,
    *,
    colours: Array | None = None,
    texture: Array | None = None,
    uvs: Array | None = None,
    uv_faces: Array | None = None,
    filtering: str = "bilinear",
    wrap: str = "clamp",
    background: Array | float = 0.0,
    edges: Array | None = None,
    outputs: Sequence[str] = ("colour", "mask"),
    near: float = NEAR,
    implementation: str | None = None,
) -> Rendering:
    """Draws a mesh with a colour per vertex or a texture. Differentiable in points, colours or texture, and cameras.

    Args:
      points: f32 [B, V, 3], in the space that the cameras are given in.
      faces: int32 [T, 3].
      cameras: leading axis B.
      height, width: of the images, pixels.
      colours: [B, V, C] or [V, C], of vertices; or else a texture.
      texture: [B, S, T, C] or [S, T, C], row 0 at v = 0.
      uvs: [A, 2], with the texture: its chart.
      uv_faces: int32 [T, 3], rows of `uvs`; None for those of the vertices.
      filtering, wrap: as in `sample_texture`; "trilinear" makes mip levels of the texture and finds the level of each pixel.
      background: [C], [B, H, W, C] or a number, where nothing is seen.
      edges: int32 [E, 4], of `mesh_edges`: colour, mask and normals then have the gradient of outlines. None for none.
      outputs: of "colour", "mask", "depth", "normals".
      near: least depth that is seen, in the unit of the points.
      implementation: as in `rasterize`.

    Raises:
      ValueError: an argument does not fit; the message names it.
    """
    _check(outputs, colours, texture, uvs)
    faces = require_faces("render_mesh", faces)
    vertices = project(points, cameras)
    chosen = {"implementation": implementation}
    fragments = rasterize(vertices, faces, height, width, near=near, **chosen)
    marks = None if edges is None else find_outlines(vertices, faces, edges, fragments, near=near, **chosen)
    held = fragments if marks is None else hold_outlines(fragments, marks)
    seen, layers = fragments.index >= 0, {}
    textured = functools.partial(_textured, vertices, faces, held, chosen)
    if "colour" in outputs:
        shaded = textured(texture, uvs, uv_faces, filtering, wrap) if colours is None else interpolate(colours, faces, held, **chosen)
        layers["colour"] = shaded if _is_zero(background) else jnp.where(seen[..., None], shaded, jnp.asarray(background, shaded.dtype))
    if "mask" in outputs:
        layers["mask"] = seen[..., None].astype(vertices.dtype)
    if "normals" in outputs:
        layers["normals"] = _unit(interpolate(vertex_normals(points, faces), faces, held, **chosen))
    if edges is not None and layers:
        image = jnp.concatenate(list(layers.values()), -1)
        layers = _split(layers, with_outlines(image, vertices, faces, edges, fragments, marks, near=near, **chosen))
    return _as_asked(outputs, layers, fragments)


def _as_asked(outputs: Sequence[str], layers: dict[str, jax.Array], fragments: Fragments) -> Rendering:
    mask = layers["mask"][..., 0] if "mask" in layers else None
    return Rendering(layers.get("colour"), mask, fragments.depth if "depth" in outputs else None, layers.get("normals"), fragments)


def _is_zero(background) -> bool:
    """Whether the shaded picture needs no background: it is 0 where nothing is seen, and a pass more takes as long as reading textures."""
    return isinstance(background, (int, float)) and background == 0


def _split(layers: dict[str, jax.Array], image: jax.Array) -> dict[str, jax.Array]:
    """The layers of an image that has theirs side by side, [..., C]."""
    ends = np.cumsum([layer.shape[-1] for layer in layers.values()])[:-1]
    return dict(zip(layers, jnp.split(image, ends, -1)))


def vertex_normals(points: Array, faces: Array) -> jax.Array:
    """Unit normals of vertices: means of their triangles', weighted by area.

    Args:
      points: [..., V, 3].
      faces: int32 [T, 3], counter-clockwise seen from outside.

    Returns:
      [..., V, 3]; 0 at vertices of no triangle that has an area.
    """
    points, faces = jnp.asarray(points), require_faces("vertex_normals", faces)
    if not faces.shape[0] or not points.size:
        return jnp.zeros_like(points)
    each = points.reshape(-1, *points.shape[-2:])
    triangles = jnp.broadcast_to(jnp.arange(len(faces), dtype=jnp.int32), (len(each), 1, len(faces)))
    corners = corner_values(each, faces, triangles)[:, 0]
    normal = jnp.cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])
    return _unit(sum_at_corners(normal, faces, points.shape[-2])).reshape(points.shape)


def _unit(x: jax.Array) -> jax.Array:
    square = jnp.sum(x * x, -1, keepdims=True)
    some = square > 0
    return jnp.where(some, x / jnp.sqrt(jnp.where(some, square, 1.0)), 0.0)


def _textured(vertices, faces, fragments, chosen, texture, uvs, uv_faces, filtering, wrap) -> jax.Array:
    uv_faces = faces if uv_faces is None else uv_faces
    coordinates = interpolate(uvs, uv_faces, fragments, **chosen)
    options = {"filtering": filtering, "wrap": wrap, "where": fragments.index >= 0, **chosen}
    if filtering != "trilinear":
        return sample_texture(texture, coordinates, **options)
    change = uv_derivatives(uvs, uv_faces, fragments, barycentric_derivatives(vertices, faces, fragments))
    level = texture_level(change, *jnp.shape(texture)[-3:-1])
    return sample_texture(mipmaps(texture), coordinates, level=level, **options)


def _check(outputs, colours, texture, uvs) -> None:
    unknown = [name for name in outputs if name not in _OUTPUTS]
    if unknown or not outputs:
        raise ValueError(f"render_mesh: outputs must be some of {', '.join(_OUTPUTS)}; got {tuple(outputs)}.")
    if "colour" in outputs and (colours is None) == (texture is None):
        raise ValueError("render_mesh: colour needs either colours or a texture; give one of them.")
    if texture is not None and uvs is None:
        raise ValueError("render_mesh: a texture needs uvs, its chart; got None.")
