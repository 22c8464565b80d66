"""The best answer that needs no learning: each identity's mean texture on its mean mesh, whatever the expression.

A codec that has learnt anything of expressions, geometry or light must beat it.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np
from ml_collections import ConfigDict
from scipy import ndimage

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core import zbuffer
from ava_jax.core.types import Assets, Batch, Cameras
from ava_jax.data import images
from ava_jax.metrics import image as metrics
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
      textures: identity's index -> f32 [T, T, 3], 0-255.
      faces, face_uvs: int32 [M, 3]; uvs: f32 [U, 2]: the topology.
    """

    vertices: Mapping[int, np.ndarray]
    textures: Mapping[int, np.ndarray]
    faces: np.ndarray
    face_uvs: np.ndarray
    uvs: np.ndarray

    def scores(self, batch: Batch) -> dict[str, np.ndarray]:
        """`face_psnr`, `face_ssim`, `face_l1` and `vertex_error` [B] of the heads in a batch. NaN for an identity that is not among them.

        Of each score the better one over PIXEL_CENTERS counts.
        """
        identities = np.asarray(batch["identity"])
        known = np.isin(identities, list(self.vertices))
        face = np.asarray(scores.face_mask(batch["segmentation"])) & known[:, None, None]
        tries = []
        for center in PIXEL_CENTERS:
            cameras = cameras_of(batch)
            cameras = cameras._replace(principal=np.asarray(cameras.principal) - np.float32(center))
            rendered = np.zeros(batch["image"].shape, np.float32)
            for i in np.flatnonzero(known):
                rendered[i] = self.render(int(identities[i]), Cameras(*(value[i] for value in cameras)), *rendered.shape[1:3])
            tries.append(metrics.scores(rendered, batch["image"], face))
        meshes = zip(identities.tolist(), np.asarray(batch["vertices"]), strict=True)
        best = {"psnr": np.maximum, "ssim": np.maximum, "l1": np.minimum}
        found = {f"face_{name}": best[name](*(np.asarray(found[name]) for found in tries)) for name in best}
        off = [np.linalg.norm(self.vertices[i] - mesh, axis=-1) if i in self.vertices else np.full(len(mesh), np.nan) for i, mesh in meshes]
        return found | {"vertex_error": scores.vertex_error(np.stack(off), self.faces)}

    def render(self, identity: int, camera: Cameras, height: int, width: int) -> np.ndarray:
        """A mean head seen by one camera.

        What it does not cover takes the mean colour of what is seen of it: hair that stands out of the mesh is scored too, and this is the
        constant that hurts least.

        Args:
          identity: the index of one that is at hand.
          camera: without leading axes.

        Returns:
          f32 [H, W, 3], 0-255.
        """
        s = SUPERSAMPLING
        corners = zbuffer.project(self.vertices[identity], camera)
        corners[:, :2] = (corners[:, :2] + 0.5) * s - 0.5
        triangle, weights = zbuffer.rasterize(corners, self.faces, height * s, width * s)
        covered = triangle >= 0
        uv = (self.uvs[self.face_uvs[triangle[covered]]] * weights[covered][..., None]).sum(1)
        colours = _sample(self.textures[identity], uv)
        fallback = colours.mean(0) if len(colours) else self.textures[identity].mean((0, 1))
        picture = np.broadcast_to(fallback, (*covered.shape, 3)).astype(np.float32)
        picture[covered] = colours
        return picture.reshape(height, s, width, s, 3).mean((1, 3))


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
            vertices[index] = np.load(capture.vertices.with_name("registration_vertices_mean.npy")).astype(np.float32)
            textures[index] = images.decode(capture.texture.with_name("color_mean.png").read_bytes(), (size, size)).astype(np.float32)
        except (OSError, ValueError) as e:
            raise ValueError(f"baseline: the mean mesh and texture of {capture.decoder} cannot be read ({e}).") from e
    return MeanHeads(vertices, textures, *(np.asarray(assets.arrays[name]) for name in ("faces", "face_uvs", "uvs")))


def _sample(texture: np.ndarray, uv: np.ndarray) -> np.ndarray:
    """Bilinear colours f32 [P, 3] at uv [P, 2]; rows run from v = 1 down."""
    size = len(texture)
    at = np.stack([(1.0 - uv[:, 1]) * size - 0.5, uv[:, 0] * size - 0.5])
    return np.stack([ndimage.map_coordinates(texture[..., c], at, order=1, mode="nearest") for c in range(3)], axis=-1)
