"""A texture for a decoded mesh, from the primitives on it.

The model decodes no texture: its colours are volumes'. So each texel is what a ray sees that falls straight onto the texel's point of the
surface: the raymarcher composites the primitives along it. It begins as far outside of the mesh as boxes reach, and ends as far inside.
Hair that stands out farther, and what colour does as the camera moves, are not in it.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy import ndimage

from ava_jax.core.mesh import Topology, uv_barycentric, uv_triangles
from ava_jax.core.types import Primitives, Rays
from ava_jax.ops.mesh import vertex_normals
from ava_jax.ops.raymarch import raymarch
from ava_jax.tasks.ava256.model.codec import AvatarCodec, Decoded
from ava_jax.tasks.base import Compile

_SEEN = 0.05  # alpha from which a texel's colour is taken as known; others show the nearest of those


class Baked(NamedTuple):
    """A mesh's texture.

    Attributes:
      texture: u8 [T, T, 3], row 0 at v = 1.
      unseen: fraction of the texels, of those that faces cover, where there was next to nothing on the ray.
    """

    texture: np.ndarray
    unseen: float


class Baker:
    """Bakes textures of one model's meshes."""

    def __init__(self, compile_model: Compile, topology: Topology, size: int):
        """`size`: T, texels."""
        self._topology = topology
        self._index, self._weights = uv_barycentric(topology, size)
        self._covered = uv_triangles(topology, size)[0] >= 0
        self._draw = compile_model(_draw)

    def __call__(self, decoded: Decoded, volume_radius: float, identity: int) -> Baked:
        """The texture of one frame.

        Args:
          decoded: B = 1.
          volume_radius: mm.
          identity: whose colour calibration is taken, of the run's; -1: the mean.
        """
        vertices = np.asarray(decoded.vertices[0], np.float64)
        points = np.einsum("ijc,ijcl->ijl", self._weights, vertices[self._index])
        normals = np.einsum("ijc,ijcl->ijl", self._weights, self._outward(vertices)[self._index])
        normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-12)
        reach = float(np.median(1.0 / np.asarray(decoded.primitives.scale[0, :, 2])))
        origin = (points / volume_radius + reach * normals).astype(np.float32)[None, None]
        bounds = np.broadcast_to(np.array([0.0, 2.0 * reach], np.float32), (*origin.shape[:-1], 2))
        rays = Rays(origin, -normals.astype(np.float32)[None, None], bounds)
        rgba = np.asarray(self._draw(decoded.primitives, rays, np.array([-1], np.int32), np.array([identity], np.int32))[0])
        seen = (rgba[..., 3] > _SEEN) & self._covered
        if not seen.any():
            raise ValueError("the decoded primitives have next to no density on the mesh: the model has learned too little for a texture.")
        row, column = ndimage.distance_transform_edt(~seen, return_distances=False, return_indices=True)
        colour = rgba[row, column, :3] / rgba[row, column, 3:]
        return Baked(np.rint(np.clip(colour, 0, 255)).astype(np.uint8), float(1.0 - seen.sum() / self._covered.sum()))

    def _outward(self, vertices: np.ndarray) -> np.ndarray:
        """Normals of vertices [V, 3] that point out of the head, whichever way round its faces are."""
        normals = np.asarray(vertex_normals(vertices.astype(np.float32), self._topology.faces))
        return normals if np.sum(normals * (vertices - vertices.mean(0))) > 0 else -normals


def _draw(model: AvatarCodec, primitives: Primitives, rays: Rays, camera: jax.Array, identity: jax.Array) -> jax.Array:
    rgba = raymarch(Rays(*map(jnp.asarray, rays)), primitives, step_size=model.step_size)[:, 0]
    return model.calibration.of_render(rgba, camera, identity)
