"""The best answer that needs no learning: each identity's mean texture on its mean mesh, whatever the expression.

A codec that has learnt anything of expressions, geometry or light must beat it.
"""

import dataclasses
import functools
from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import statistics
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.types import Assets, Batch, Cameras
from ava_jax.data import images
from ava_jax.metrics import image as metrics
from ava_jax.ops import mesh as ops
from ava_jax.tasks.ava256.evaluation import scores
from ava_jax.tasks.ava256.model.codec import cameras_of

SUPERSAMPLING = 2  # samples per pixel along each axis: point samples of a texture would alias, and cost this answer a decibel

# Where in a pixel its centre lies. Cameras are given with centres at whole numbers; the centres of an image that was resized lie up to
# half a pixel further, which costs a mesh without a way to learn it 1.6 dB at 128 x 83.
PIXEL_CENTERS = (0.0, 0.5)


@dataclasses.dataclass(frozen=True)
class MeanHeads:
    """Mean heads of the identities at hand.

    Attributes:
      vertices: identity's index -> f32 [V, 3], mm, head space.
      textures: identity's index -> u8 or f32 [T, T, 3], 0-255.
      faces, face_uvs: int32 [M, 3]; uvs: f32 [U, 2]: the topology.
    """

    vertices: Mapping[int, np.ndarray]
    textures: Mapping[int, np.ndarray]
    faces: np.ndarray
    face_uvs: np.ndarray
    uvs: np.ndarray

    @functools.cached_property
    def _rows(self) -> tuple[dict[int, int], jax.Array, jax.Array]:
        """Where each identity stands in the arrays of all: its row; vertices [N, V, 3], textures u8 or f32 [N, T, T, 3]."""
        order = list(self.vertices)
        stacked = (np.stack([of[i] for i in order]) for of in (self.vertices, self.textures))
        return {identity: row for row, identity in enumerate(order)}, *map(jnp.asarray, stacked)

    def scores(self, batch: Batch) -> dict[str, np.ndarray]:
        """`face_psnr`, `face_ssim`, `face_l1` and `vertex_error` [B] of the heads in a batch. NaN for an identity that is not among them.

        Of each score of pictures the better one over PIXEL_CENTERS counts. One compiled call.
        """
        row_of, vertices, textures = self._rows
        identities = np.asarray(batch["identity"]).tolist()
        known = np.array([identity in row_of for identity in identities])
        rows = np.array([row_of.get(identity, 0) for identity in identities])
        compared = {name: batch[name] for name in ("image", "segmentation", "vertices")}
        found = _scores(vertices, textures, *self._chart, rows, cameras_of(batch), compared)
        found["vertex_error"] = scores.vertex_error(found.pop("vertex_distances"), self.faces)
        # By name: a compiled function gives dicts in alphabetical order, and the gain is taken in the first score.
        return {name: np.where(known, found[name], np.nan) for name in ("face_psnr", "face_ssim", "face_l1", "vertex_error")}

    def render(self, identity: int, camera: Cameras, height: int, width: int) -> np.ndarray:
        """A mean head seen by one camera, as `_render`.

        Args:
          identity: the index of one that is at hand.
          camera: without leading axes.

        Returns:
          f32 [H, W, 3], 0-255.
        """
        row_of, vertices, textures = self._rows
        at = np.array([row_of[identity]])
        cameras = Cameras(*(np.asarray(value, np.float32)[None] for value in camera))
        return np.asarray(_render(vertices[at], textures[at], *self._chart, cameras, height, width)[0])

    @property
    def _chart(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.faces, self.face_uvs, self.uvs


@jax.jit
def _scores(vertices, textures, faces, face_uvs, uvs, rows, cameras: Cameras, batch: Batch) -> dict[str, jax.Array]:
    """Scores of pictures, and distances of vertices [B, V], of the heads that `rows` names."""
    meshes, face, size = vertices[rows], scores.face_mask(batch["segmentation"]), batch["image"].shape[1:3]
    tries = []
    for center in PIXEL_CENTERS:
        moved = cameras._replace(principal=cameras.principal - jnp.float32(center))
        rendered = _render(meshes, textures[rows], faces, face_uvs, uvs, moved, *size)
        tries.append(metrics.scores(rendered, batch["image"], face))
    best = {"psnr": jnp.maximum, "ssim": jnp.maximum, "l1": jnp.minimum}
    found = {f"face_{name}": best[name](*(one[name] for one in tries)) for name in best}
    return found | {"vertex_distances": jnp.linalg.norm(meshes - batch["vertices"], axis=-1)}


@functools.partial(jax.jit, static_argnums=(6, 7))
def _render(vertices, textures, faces, face_uvs, uvs, cameras: Cameras, height: int, width: int) -> jax.Array:
    """Heads [B, V, 3] with textures [B, T, T, 3] seen by one camera each: f32 [B, H, W, 3], 0-255.

    What a mesh does not cover takes the mean colour of what is seen of it: hair that stands out of the mesh is scored too, and this is the
    constant that hurts least.
    """
    s, textures = SUPERSAMPLING, jnp.asarray(textures, jnp.float32)
    finer = cameras._replace(focal=cameras.focal * s, principal=(cameras.principal + 0.5) * s - 0.5)
    chart = {"uvs": jnp.stack([uvs[:, 0], 1.0 - uvs[:, 1]], axis=-1), "uv_faces": face_uvs}  # rows run from v = 1 down
    drawn = ops.render_mesh(vertices, faces, finer, height * s, width * s, texture=textures, **chart)
    covered = drawn.mask > 0
    count = covered.sum((1, 2))[:, None]
    seen = jnp.where(covered[..., None], drawn.colour, 0.0).sum((1, 2)) / jnp.maximum(count, 1)
    fallback = jnp.where(count > 0, seen, textures.mean((1, 2)))
    picture = jnp.where(covered[..., None], drawn.colour, fallback[:, None, None])
    return picture.reshape(len(picture), height, s, width, s, 3).mean((2, 4))


def load(captures: CaptureSet, config: ConfigDict, assets: Assets) -> MeanHeads:
    """Reads the means that the captures at hand hold over all their frames (held-out ones too, which favours this answer).

    Raises:
      ValueError: a capture's mean cannot be read.
    """
    vertices, textures = {}, {}
    for number, capture in enumerate(captures):
        known = assets.names["identities"]
        index = known.index(capture.name) if capture.name in known else -1 - number  # as `data.source` numbers people
        # A chart of side 2 H has about one texel per sample on a face that fills the image.
        height, _ = capture.image_size(config.data.downsample)
        size = min(1024, 2 * 2 ** int(np.ceil(np.log2(height))))
        try:
            vertices[index] = statistics.vertex_means([capture.vertices_mean])[0].astype(np.float32)
            textures[index] = images.decode(capture.texture_mean.read_bytes(), (size, size))
        except (OSError, ValueError) as e:
            raise ValueError(f"baseline: the mean mesh and texture of {capture.decoder} cannot be read ({e}).") from e
    return MeanHeads(vertices, textures, *(np.asarray(assets.arrays[name]) for name in ("faces", "face_uvs", "uvs")))
