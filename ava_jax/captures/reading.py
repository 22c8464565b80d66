"""Reading one sample: the files of a frame and of one camera's view of it, decoded.

What all views of a frame share (texture, mesh, pose) is decoded once for as many views as ask for it while it is among the last
`frames_kept` frames; nothing else is kept but neutral faces, which every sample needs.
"""

import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ava_jax.captures import ava256 as layout
from ava_jax.captures.ava256 import Capture
from ava_jax.core import cameras
from ava_jax.core.types import Batch
from ava_jax.data import images, mesh_files
from ava_jax.data.archive import Archives
from ava_jax.data.cache import Cache

_NEUTRAL_BYTES = 1 << 30  # the neutral textures of 256 people at 1024 x 1024 fit
_SURFACE = 3  # zips that a frame has besides its views: head pose, vertices, texture


class Unreadable(Exception):
    """A file is there and cannot be decoded."""


class Frame(NamedTuple):
    """What all views of a frame share: u8 [T, T, 3]; f32 [V, 3], mm, head space; head to world, f64 [3, 4], mm."""

    texture: np.ndarray
    vertices: np.ndarray
    pose: np.ndarray


class Presence(NamedTuple):
    """Which files of a capture there are.

    Attributes:
      views: bool [C, N]: camera's image of each frame of the list, with all that a sample of it needs.
      neutral: id of the neutral frame.
    """

    views: np.ndarray
    neutral: int


def presence(archives: Archives, capture: Capture, used: Sequence[int], *, segmentation: bool, threads: int) -> Presence:
    """Looks up which samples of a capture can be read.

    Args:
      used: positions of the cameras that matter; others count as absent.
      segmentation: whether a sample needs one.
      threads: that read zips' directories.

    Raises:
      ValueError: a zip is missing or not whole, next to none of the listed frames are in them, or none can be the neutral face.
    """
    names = [capture.cameras[i] for i in used]
    paths = [capture.head_pose, capture.vertices, capture.texture, *map(capture.image, names)]
    paths += map(capture.segmentation, names) if segmentation else ()
    numbers, place = np.unique(capture.frames, return_inverse=True)
    members = archives.index(paths, numbers, threads=threads)[:, place]
    surface = members[:_SURFACE].all(0)
    views = members[_SURFACE:].reshape(1 + segmentation, len(used), len(place)).all(0) & surface
    if views.size and views.mean() < 1 - layout.MOST_MISSING:
        raise ValueError(
            f"{capture.decoder}: frame_list.csv does not match the zips: of the {views.size} images it lists for {len(used)} cameras, "
            f"{int(views.sum())} are there with texture, mesh and head pose."
        )
    possible = np.flatnonzero((capture.segments == layout.NEUTRAL) & members[1] & members[2])
    if not len(possible):
        raise ValueError(f"{capture.decoder}: no frame of {layout.NEUTRAL} has both vertices and texture, so there is no neutral face.")
    everywhere = np.zeros((len(capture.cameras), len(capture.frames)), bool)
    everywhere[list(used)] = views
    return Presence(everywhere, int(capture.frames[possible[0]]))


class Reader:
    """Reads samples of captures. Safe from several threads."""

    def __init__(
        self, archives: Archives, *, downsample: int, texture_size: int, vertices: int, segmentation: bool, frames_kept: int
    ) -> None:
        """Reads nothing yet.

        Args:
          downsample: of images: the full sensor over it.
          texture_size: T.
          vertices: V, which every mesh must have.
          segmentation: whether to read it.
          frames_kept: frames whose texture and mesh are held, 3 MB each at T = 1024.
        """
        self._archives = archives
        self._downsample, self._texture_size, self._vertices, self._segmentation = downsample, texture_size, vertices, segmentation
        self._frames: Cache = Cache(frames_kept, lambda frame: 1)
        self._neutrals: Cache = Cache(_NEUTRAL_BYTES, lambda surface: sum(array.nbytes for array in surface))

    def read(self, capture: Capture, camera: int, frame: int, neutral: int) -> Batch:
        """The arrays of a sample that come from files; see `source`.

        Args:
          camera: position in the capture's cameras.
          frame: id.
          neutral: id of the capture's neutral frame.

        Raises:
          Unreadable: one of its files cannot be decoded; the message names it.
        """
        name, size = capture.cameras[camera], layout.image_size(self._downsample)
        sample = {"image": self._decoded(capture.image(name), frame, lambda data: images.decode(data, size))}
        if self._segmentation:
            sample["segmentation"] = self._decoded(capture.segmentation(name), frame, lambda data: images.decode_labels(data, size))
        shared = self._frames.get((capture.name, frame), lambda: Frame(*self._surface(capture, frame), self._pose(capture, frame)))
        face = self._neutrals.get(capture.name, lambda: self._surface(capture, neutral))
        rotation, position = cameras.head_to_camera(capture.rotation[camera], capture.translation[camera], shared.pose)
        return sample | {
            "texture": shared.texture,
            "vertices": shared.vertices,
            "neutral_texture": face[0],
            "neutral_vertices": face[1],
            "camera_rotation": rotation.astype(np.float32),
            "camera_position": position.astype(np.float32),
            "focal": (capture.focal[camera] / self._downsample).astype(np.float32),
            "principal": (capture.principal[camera] / self._downsample).astype(np.float32),
        }

    def _surface(self, capture: Capture, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Texture and vertices of a frame."""
        size = (self._texture_size, self._texture_size)
        texture = self._decoded(capture.texture, frame, lambda data: images.decode(data, size))
        return texture, self._decoded(capture.vertices, frame, self._mesh)

    def _mesh(self, data: bytes) -> np.ndarray:
        vertices = mesh_files.read_vertices(data)
        if len(vertices) != self._vertices or not np.isfinite(vertices).all():
            raise ValueError(f"must have {self._vertices} vertices, as the assets, all finite; got {len(vertices)}")
        return vertices

    def _pose(self, capture: Capture, frame: int) -> np.ndarray:
        return self._decoded(capture.head_pose, frame, _parse_pose)

    def _decoded(self, path: pathlib.Path, frame: int, decode: Callable[[bytes], Any]) -> Any:
        try:
            data = self._archives.read(path, frame)
            if data is None:
                raise ValueError("it is no longer in the zip")
            return decode(data)
        except ValueError as e:
            raise Unreadable(f"{path}, frame {frame}: {e}") from e


def _parse_pose(data: bytes) -> np.ndarray:
    """Head to world, f64 [3, 4], mm."""
    pose = np.array(data.split(), np.float64)
    if pose.shape != (12,) or not np.isfinite(pose).all():
        raise ValueError(f"a head pose must be 3 x 4 finite numbers; got {pose.size}")
    return pose.reshape(3, 4)
