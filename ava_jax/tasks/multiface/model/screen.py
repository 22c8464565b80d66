"""What a camera sees of the decoded mesh and texture, and how far that is from the photograph.

Better than published in two ways that change no value of the loss by more than rounding at the camera's distance: interpolation is
perspective-correct, and outlines have a gradient.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from ava_jax.core.types import Array, Assets, Batch, Cameras
from ava_jax.core.variables import Constant
from ava_jax.ops import mesh


class Screen(nnx.Module):
    """The mesh's triangles and chart, and how much each place of the chart counts."""

    def __init__(self, assets: Assets, *, outlines: bool):
        """`assets`: as `data.source` gives them; `outlines`: whether the photograph pulls at the mesh's outlines."""
        arrays = assets.arrays
        self.faces = Constant(jnp.asarray(arrays["faces"], jnp.int32))
        self.uv_faces = Constant(jnp.asarray(arrays["face_uvs"], jnp.int32))
        self.uvs = Constant(jnp.asarray(arrays["uvs"], jnp.float32))
        self.edges = Constant(jnp.asarray(mesh.mesh_edges(arrays["faces"]))) if outlines else None
        self.weights = Constant(jnp.asarray(arrays["weight_mask"], jnp.float32)) if "weight_mask" in arrays else None

    def draw(self, vertices: Array, texture: Array, batch: Batch, size: tuple[int, int], background: Array | float = 0.0) -> mesh.Rendering:
        """Draws meshes by the cameras of a batch.

        Args:
          vertices: f32 [B, V, 3], mm, head space.
          texture: f32 [B, T, T, C], row 0 at v = 0.
          batch: `camera_rotation`, `camera_position`, `focal`, `principal`.
          size: H, W, pixels.
          background: where the mesh is not, as `ops.mesh.render_mesh` takes it.
        """
        seen_by = Cameras(*(jnp.asarray(batch[name]) for name in ("camera_rotation", "camera_position", "focal", "principal")))
        chart = {"texture": texture, "uvs": self.uvs[...], "uv_faces": self.uv_faces[...], "wrap": "wrap"}
        edges = None if self.edges is None else self.edges[...]
        return mesh.render_mesh(vertices, self.faces[...], seen_by, *size, **chart, background=background, edges=edges)

    def error(self, vertices: Array, texture: Array, batch: Batch) -> jax.Array:
        """Weighted squared error of the drawn colour, a mean over an image's pixels and channels: [B], in the texture's unit squared.

        Pixels that the mesh does not cover count as 0. They are drawn with the photograph's own colour, so that the gradient of an outline
        compares what the mesh shows with what the photograph has beside it; the weights are constants to it.

        Args:
          vertices: f32 [B, V, 3], mm.
          texture: f32 [B, T, T, 3], raw, 0-255.
          batch: as `draw`, and `image` u8 [B, H, W, 3].
        """
        photo = jnp.asarray(batch["image"]).astype(jnp.float32)
        drawn = self.draw(vertices, texture, batch, photo.shape[1:3], photo)
        return jnp.mean(self._weight(drawn.fragments) * jnp.square(drawn.colour - photo), axis=(1, 2, 3))

    def _weight(self, fragments: mesh.Fragments) -> jax.Array:
        """[B, H, W, 3 or 1], 0 where nothing is seen."""
        fragments = jax.lax.stop_gradient(fragments)
        seen = fragments.index >= 0
        if self.weights is None:
            return seen[..., None].astype(jnp.float32)
        at = mesh.interpolate(self.uvs[...], self.uv_faces[...], fragments)
        return mesh.sample_texture(self.weights[...], at, wrap="wrap", where=seen)
