"""What the viewer shows of a decoded avatar: colours, or what they are made of. Each is a compiled function that gives bytes."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.mesh import Topology
from ava_jax.core.types import Array, Cameras, Primitives
from ava_jax.ops.mesh.render import render_mesh
from ava_jax.tasks.ava256.model.background import composite
from ava_jax.tasks.ava256.model.codec import AvatarCodec, Decoded
from ava_jax.tasks.base import Compile
from ava_jax.viz.colours import heat, to_u8

PICTURE, ALPHA, DEPTH, NORMALS, MESH, PRIMITIVES = "Picture", "Alpha", "Depth", "Normals", "Mesh", "Primitives"
LAYERS = (PICTURE, ALPHA, DEPTH, NORMALS, MESH, PRIMITIVES)
DEPTH_RANGE = 110.0  # mm in front of and behind the head's middle, over which the depth's colours run
_BOX_DENSITY = 2000.0  # per volume radius: opaque within a fraction of a millimetre
_EDGE = 0.35  # brightness of a box's edges
_GOLDEN = 0.618034  # steps of it around the colour circle keep neighbours apart
_SKIN = np.array([205.0, 200.0, 195.0], np.float32)  # of the bare mesh


class Drawer:
    """Pictures of decoded avatars, compiled once for each layer and size."""

    def __init__(self, compile_model: Compile, topology: Topology, middle: np.ndarray):
        """Compiles nothing yet.

        Args:
          compile_model: makes a compiled function of `args` from `fn(model, *args)`.
          topology: of the meshes.
          middle: f32 [3], mm, of the head; the depth's colours are about it.
        """
        self._compile, self._faces, self._middle = compile_model, jnp.asarray(topology.faces), jnp.asarray(middle, jnp.float32)
        self._drawers = functools.cache(self._make)

    def __call__(
        self, layer: str, decoded: Decoded, cameras: Cameras, height: int, width: int, *, identity: int, background: Array
    ) -> jax.Array:
        """One picture.

        Args:
          layer: of LAYERS.
          decoded: B = 1.
          cameras: leading axis 1; of the picture, mm, head space.
          height, width: of the picture, pixels.
          identity: index of the person whose colour calibration is taken; -1: the mean.
          background: [3], 0-255.

        Returns:
          u8 [height, width, 3], on the device.
        """
        drawn = decoded.vertices if layer in (NORMALS, MESH) else decoded.primitives
        return self._drawers(layer, height, width)(drawn, cameras, np.array([identity], np.int32), np.asarray(background, np.float32))

    def _make(self, layer: str, height: int, width: int) -> Callable[..., jax.Array]:
        def draw(model: AvatarCodec, drawn, cameras: Cameras, identity, background):
            return to_u8(painters[layer](model, drawn, cameras, identity, background))[0]

        def march(model: AvatarCodec, primitives: Primitives, cameras: Cameras) -> jax.Array:
            return model.render(primitives, cameras, height, width)

        def picture(model, primitives, cameras, identity, background):
            rgba = model.calibration.of_render(march(model, primitives, cameras), np.array([-1], np.int32), identity)
            return composite(rgba, background)

        def alpha(model, primitives, cameras, identity, background):
            return jnp.repeat(255.0 * march(model, primitives, cameras)[..., 3:], 3, axis=-1)

        def depth(model, primitives, cameras, identity, background):
            rgba = march(model, with_depth(primitives, cameras, model.volume_radius), cameras)
            return depth_colours(rgba, cameras, self._middle, background)

        def normals(model, vertices, cameras, identity, background):
            seen, normal = self._surface(vertices, cameras, height, width)
            return jnp.where(seen, 127.5 * (normal + 1.0), background)

        def mesh(model, vertices, cameras, identity, background):
            seen, normal = self._surface(vertices, cameras, height, width)
            light = -jnp.einsum("bhwc,bc->bhw", normal, cameras.rotation[:, 2])  # a lamp at the camera
            return jnp.where(seen, (0.25 + 0.75 * jnp.abs(light))[..., None] * _SKIN, background)

        def boxes(model, primitives, cameras, identity, background):
            return composite(march(model, as_boxes(primitives, cameras), cameras), background)

        painters = {PICTURE: picture, ALPHA: alpha, DEPTH: depth, NORMALS: normals, MESH: mesh, PRIMITIVES: boxes}
        return self._compile(draw)

    def _surface(self, vertices: jax.Array, cameras: Cameras, height: int, width: int) -> tuple[jax.Array, jax.Array]:
        """Where the mesh is seen, bool [B, H, W, 1], and its normals there, [B, H, W, 3], head space."""
        drawn = render_mesh(vertices, self._faces, cameras, height, width, outputs=("mask", "normals"))
        return drawn.mask[..., None] > 0, drawn.normals


def with_depth(primitives: Primitives, cameras: Cameras, radius: float) -> Primitives:
    """Primitives whose first colour is how deep a voxel lies along the camera's axis, mm: rendered, it is the mean depth along a ray.

    Args:
      cameras: leading axis [F], mm, head space.
      radius: of the volume, mm.
    """
    axis = jnp.asarray(cameras.rotation)[:, 2]  # [F, 3]
    offset = radius * primitives.position - jnp.asarray(cameras.position)[:, None]
    centre = jnp.einsum("fkc,fc->fk", offset, axis)
    slope = radius * jnp.einsum("fkcj,fc->fkj", primitives.rotation, axis) / primitives.scale  # for half a box along each of its axes
    line = jnp.linspace(-1.0, 1.0, primitives.rgba.shape[2])
    x, y, z = (slope[..., i, None] * line for i in range(3))
    depth = centre[..., None, None, None] + z[..., :, None, None] + y[..., None, :, None] + x[..., None, None, :]
    density = primitives.rgba[..., 3].astype(jnp.float32)
    nothing = jnp.zeros_like(depth)
    return primitives._replace(rgba=jnp.stack([depth, nothing, nothing, density], axis=-1))


def depth_colours(rgba: jax.Array, cameras: Cameras, middle: jax.Array, background: Array) -> jax.Array:
    """A render [B, H, W, 4] of `with_depth` as colours, 0-255: near is pale, far dark, over DEPTH_RANGE about a point [3], mm."""
    alpha = rgba[..., 3:]
    depth = rgba[..., 0] / jnp.maximum(alpha[..., 0], 1e-6)
    centre = jnp.einsum("bc,bc->b", middle - jnp.asarray(cameras.position), jnp.asarray(cameras.rotation)[:, 2])
    nearness = centre[:, None, None] + DEPTH_RANGE - depth
    return composite(jnp.concatenate([alpha * heat(nearness, 2 * DEPTH_RANGE), alpha], axis=-1), background)


def as_boxes(primitives: Primitives, cameras: Cameras) -> Primitives:
    """Primitives as opaque boxes, each in a colour of its own, with dark edges and a lamp at the camera."""
    count, side = primitives.rgba.shape[1:3]
    hue = 2 * np.pi * _GOLDEN * np.arange(count)[:, None] + np.array([0.0, 2.1, 4.2])
    colour = jnp.asarray(150.0 + 80.0 * np.cos(hue), jnp.float32)  # [K, 3]
    line = np.linspace(-1.0, 1.0, side)
    place = np.stack(np.meshgrid(line, line, line, indexing="ij"), -1)[..., ::-1]  # voxels z, y, x; last axis x, y, z
    outside = np.abs(place) > 1 - 1e-6
    edges = outside.sum(-1) >= 2
    face = np.eye(3)[np.argmax(np.abs(place), -1)]  # the axis that a voxel's face is across
    toward = jnp.abs(jnp.einsum("fkcj,fc->fkj", primitives.rotation, jnp.asarray(cameras.rotation)[:, 2]))
    light = 0.45 + 0.55 * jnp.einsum("zyxj,fkj->fkzyx", jnp.asarray(face, jnp.float32), toward)
    light = jnp.where(jnp.asarray(edges), _EDGE * light, light)
    rgb = light[..., None] * colour[None, :, None, None, None]
    return primitives._replace(rgba=jnp.concatenate([rgb, jnp.full_like(light, _BOX_DENSITY)[..., None]], axis=-1))
