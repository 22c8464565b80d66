"""Reading one sample: the files of a frame and of one camera's view of it, decoded.

What all views of a frame share (texture, mesh, pose) is decoded once for as many views as ask for it while it is among the last
`frames_kept` frames; nothing else is kept but neutral faces, which every sample needs.
"""

import copy
import io
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from ava_jax.captures import statistics
from ava_jax.captures.ava256 import Capture
from ava_jax.core import cameras as geometry
from ava_jax.core import zbuffer
from ava_jax.core.sampling import thin
from ava_jax.core.types import Batch, Cameras
from ava_jax.data import images, text_files
from ava_jax.data.archive import Archives
from ava_jax.data.cache import Cache

MOST_MISSING = 0.9  # of the images listed; where more are absent, list and zips do not belong together
SILHOUETTE = 11  # label of a mesh's pixels where there is no segmentation; no part of one has it
_MOST_MEASURED = 400  # meshes that are held against the mean
_NEUTRAL_BYTES = 1 << 30  # the neutral textures of 256 people at 1024 x 1024 fit
_SURFACE = 3  # zips that a frame has besides its views: head pose, vertices, texture


class Unreadable(Exception):
    """A file is there and cannot be decoded."""


class Frame(NamedTuple):
    """What all views of a frame share: u8 [T, T, 3]; f32 [V, 3], mm, head space; head to world, f64 [3, 4], mm."""

    texture: np.ndarray
    vertices: np.ndarray
    pose: np.ndarray


def availability(
    archives: Archives, capture: Capture, used: Sequence[int], *, segmentation: bool, threads: int, image: bool = True
) -> np.ndarray:
    """Looks up which samples of a capture can be read.

    Args:
      used: indices of the U cameras that matter.
      segmentation, image: whether a sample needs one.
      threads: that read zips' directories.

    Returns:
      bool [U, N]: whether a camera's view of a frame of the list is there, with all that a sample of it needs.

    Raises:
      ValueError: a zip is missing or not whole, or next to none of the listed frames are in them.
    """
    names = [capture.cameras[i] for i in used]
    kinds = [capture.image] * image + [capture.segmentation] * (segmentation and capture.has_segmentation)
    paths = [capture.head_pose, capture.vertices, capture.texture, *(path(name) for path in kinds for name in names)]
    there = members(archives, capture, paths, threads)
    surface = there[:_SURFACE].all(0)
    views = there[_SURFACE:].reshape(len(kinds), len(used), len(capture.frames)).all(0) & surface
    if views.size and views.mean() < 1 - MOST_MISSING:
        kind = "files" if capture.data_set else "zips"
        raise ValueError(
            f"{capture.list_of_frames} does not match the {kind}: of the {views.size} images it lists for {len(used)} cameras, "
            f"{int(views.sum())} are there with texture, mesh and head pose."
        )
    return views


def neutral_frame(archives: Archives, capture: Capture) -> int:
    """Id of the frame that is a person's neutral face: the first of the neutral segment that has vertices and texture.

    Of a capture without such a segment: of some hundred frames the one nearest to the mean mesh.

    Raises:
      ValueError: there is none, or a zip is missing or not whole.
    """
    complete = members(archives, capture, [capture.vertices, capture.texture], threads=2).all(0)
    if not capture.neutral_segment:
        return _nearest_to_mean(archives, capture, capture.frames[complete])
    possible = np.flatnonzero((capture.segments == capture.neutral_segment) & complete)
    if not len(possible):
        raise ValueError(
            f"{capture.decoder}: no frame of {capture.neutral_segment} has both vertices and texture, so there is no neutral face."
        )
    return int(capture.frames[possible[0]])


def _nearest_to_mean(archives: Archives, capture: Capture, frames: np.ndarray) -> int:
    """Of frames, int32 [N], the one whose vertices are nearest to the capture's mean mesh, root of the mean square.

    Raises:
      ValueError: the mean cannot be read, or none of the meshes.
    """
    found = capture.measured.get("nearest to mean")
    if found is not None:
        return found
    (mean,) = statistics.vertex_means([capture.vertices_mean])
    best, least = -1, np.inf
    for frame in frames[thin(len(frames), _MOST_MEASURED)].tolist():
        try:
            vertices = decoded(archives, capture.vertices, frame, capture.parse_vertices)
        except Unreadable:
            continue  # training counts it where it is read
        if vertices.shape == mean.shape and (distance := float(np.square(vertices - mean).mean())) < least:
            best, least = frame, distance
    if best < 0:
        raise ValueError(f"{capture.decoder}: no frame has both vertices and texture that can be read, so there is no neutral face.")
    capture.measured["nearest to mean"] = best
    return best


def head_pose(archives: Archives, capture: Capture, frame: int) -> np.ndarray:
    """Head to world, f64 [3, 4], mm.

    Args:
      frame: id.

    Raises:
      Unreadable: the file is missing or cannot be decoded; the message names it.
    """
    return decoded(archives, capture.head_pose, frame, _parse_pose)


def keypoints(archives: Archives, capture: Capture, frame: int) -> np.ndarray:
    """Keypoints of a frame, f64 [K, 6]: index, x, y, z (world, mm), sum of confidences, inliers.

    Args:
      frame: id.

    Raises:
      Unreadable: the file is missing or cannot be decoded; the message names it.
    """
    return decoded(archives, capture.keypoints, frame, parse_keypoints)


def parse_keypoints(data: bytes) -> np.ndarray:
    """Keypoints f64 [K, 6] of an NPY file's bytes.

    Raises:
      ValueError: they are no such array.
    """
    try:
        rows = np.load(io.BytesIO(data), allow_pickle=False)
    except Exception as e:  # NumPy raises many kinds on nonsense
        raise ValueError(f"no array that NumPy saved ({' '.join(str(e).split())[:100]})") from e
    if rows.ndim != 2 or rows.shape[1] != 6 or not np.isfinite(rows).all():
        raise ValueError(f"must be rows of 6 finite numbers (index, x, y, z, confidences, inliers); got {rows.shape}")
    return rows.astype(np.float64)


class Reader:
    """Reads samples of captures. Safe from several threads."""

    def __init__(
        self,
        archives: Archives,
        *,
        downsample: int,
        texture_size: int,
        vertices: int,
        segmentation: bool,
        frames_kept: int,
        image: bool = True,
        unseen: np.ndarray | None = None,
        faces: np.ndarray | None = None,
    ) -> None:
        """Reads nothing yet.

        Args:
          downsample: of images: the full sensor over it.
          texture_size: T.
          vertices: V, which every mesh must have.
          segmentation, image: whether to read them.
          frames_kept: frames whose texture and mesh are held, 3 MB each at T = 1024.
          unseen: f32 [T, T, 3], what texels take that no camera saw, in captures that mark them; None: they stay 0.
          faces: int32 [M, 3] of the meshes: in captures without segmentation, the mesh's silhouette stands for it, as SILHOUETTE.
        """
        self._archives, self._frames_kept = archives, frames_kept
        self._downsample, self._texture_size, self._vertices, self._segmentation = downsample, texture_size, vertices, segmentation
        self._image, self._unseen, self._faces = image, unseen, faces
        self._keep(1)

    def _keep(self, readers: int) -> None:
        """Empty memories, of the size that one of so many readers may have."""
        self._readers = readers
        self._frames: Cache = Cache(-(-self._frames_kept // readers) + 1, lambda frame: 1)
        self._neutrals: Cache = Cache(_NEUTRAL_BYTES // readers, lambda surface: sum(array.nbytes for array in surface))

    def part(self, readers: int) -> "Reader":
        """The same for one of so many readers that share the work and the memory."""
        part = copy.copy(self)
        part._keep(readers)
        return part

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_frames", "_neutrals")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._keep(self._readers)

    def read(self, capture: Capture, camera: int, frame: int, neutral: int) -> Batch:
        """The arrays of a sample that come from files.

        image u8 [H, W, 3] and segmentation u8 [H, W], where the reader has them; texture, neutral_texture u8 [T, T, 3]; vertices,
        neutral_vertices f32 [V, 3], mm, head space; camera_rotation f32 [3, 3], head to camera; camera_position f32 [3], mm, head space;
        focal, principal f32 [2], pixels of `image`.

        Args:
          camera: index in the capture's cameras.
          frame: id.
          neutral: id of the capture's neutral frame.

        Raises:
          Unreadable: one of its files cannot be decoded; the message names it.
        """
        name, size, whole = capture.cameras[camera], capture.image_size(self._downsample), capture.sensor
        sample = {}
        if self._image:
            sample["image"] = self._decoded(capture.image(name), frame, lambda data: images.decode(data, size, whole=whole))
        if self._segmentation and capture.has_segmentation:
            sample["segmentation"] = self._decoded(
                capture.segmentation(name), frame, lambda data: images.decode_labels(data, size, whole=whole)
            )
        shared = self._frames.get(
            (capture.name, frame), lambda: Frame(*self.surface(capture, frame), head_pose(self._archives, capture, frame))
        )
        face = self._neutrals.get(capture.name, lambda: self.surface(capture, neutral))
        rotation, position = geometry.head_to_camera(capture.rotation[camera], capture.translation[camera], shared.pose)
        focal, principal = capture.focal[camera] / self._downsample, capture.principal[camera] / self._downsample
        if self._segmentation and not capture.has_segmentation:
            sample["segmentation"] = self._silhouette(shared.vertices, Cameras(rotation, position, focal, principal), size)
        return sample | {
            "texture": shared.texture,
            "vertices": shared.vertices,
            "neutral_texture": face[0],
            "neutral_vertices": face[1],
            "camera_rotation": rotation.astype(np.float32),
            "camera_position": position.astype(np.float32),
            "focal": focal.astype(np.float32),
            "principal": principal.astype(np.float32),
        }

    def _silhouette(self, vertices: np.ndarray, camera: Cameras, size: tuple[int, int]) -> np.ndarray:
        """Where a mesh [V, 3] is in a picture, u8 [H, W]: SILHOUETTE there, else 0."""
        triangle, _ = zbuffer.rasterize(zbuffer.project(vertices, camera), self._faces, *size)
        return np.where(triangle >= 0, SILHOUETTE, 0).astype(np.uint8)

    def surface(self, capture: Capture, frame: int) -> tuple[np.ndarray, np.ndarray]:
        """Texture u8 [T, T, 3] and vertices f32 [V, 3], mm, head space, of a frame; they are not kept.

        Raises:
          Unreadable: one cannot be decoded; the message names it.
        """
        size = (self._texture_size, self._texture_size)
        if self._unseen is not None and capture.black_is_unseen:
            texture = self._decoded(capture.texture, frame, lambda data: _filled(images.decode(data, whole=(1, 1)), self._unseen))
        else:
            texture = self._decoded(capture.texture, frame, lambda data: images.decode(data, size))
        return texture, self._decoded(capture.vertices, frame, lambda data: self._mesh(capture, data))

    def _mesh(self, capture: Capture, data: bytes) -> np.ndarray:
        vertices = capture.parse_vertices(data)
        if len(vertices) != self._vertices or not np.isfinite(vertices).all():
            raise ValueError(f"must have {self._vertices} vertices, as the assets, all finite; got {len(vertices)}")
        return vertices

    def _decoded(self, path: pathlib.Path, frame: int, decode: Callable[[bytes], Any]) -> Any:
        return decoded(self._archives, path, frame, decode)


def members(archives: Archives, capture: Capture, paths: Sequence[pathlib.Path], threads: int) -> np.ndarray:
    """Which of the listed frames each zip has, bool [len(paths), N].

    Raises:
      ValueError: a zip is missing or not whole.
    """
    numbers, index = np.unique(capture.frames, return_inverse=True)
    return archives.index(paths, numbers, threads=threads)[:, index]


def decoded(archives: Archives, path: pathlib.Path, frame: int, decode: Callable[[bytes], Any]) -> Any:
    """What `decode` makes of a frame's file in a zip.

    Raises:
      Unreadable: it is missing, or `decode` raised a ValueError; the message names zip and frame.
    """
    try:
        data = archives.read(path, frame)
        if data is None:
            raise ValueError("it is not in the zip")
        return decode(data)
    except ValueError as e:
        raise Unreadable(f"{path}, frame {frame}: {e}") from e


def _parse_pose(data: bytes) -> np.ndarray:
    """Head to world, f64 [3, 4], mm."""
    pose = np.array(text_files.numbers(data), np.float64)
    if pose.shape != (12,) or not np.isfinite(pose).all():
        raise ValueError(f"a head pose must be 3 x 4 finite numbers; got {pose.size}")
    pose = pose.reshape(3, 4)
    if fault := geometry.rotation_fault(pose[:, :3]):
        raise ValueError(f"a head pose, 3 x 4 in rows, must begin with a rotation, head to world: {fault}")
    return pose


def _filled(texture: np.ndarray, unseen: np.ndarray) -> np.ndarray:
    """A texture u8 [S, S, 3] at the size of `unseen`, f32 [T, T, 3], which stands where it is 0 in all channels: u8 [T, T, 3]."""
    black = ~texture.any(-1)
    size = unseen.shape[:2]
    if texture.shape[:2] == size:
        return np.where(black[..., None], np.rint(unseen).astype(np.uint8), texture)
    # Black is nothing to be mixed with its neighbours: a texel takes as much of the mean as it has of black ones.
    share = images.resize(np.repeat(np.where(black, 255, 0).astype(np.uint8)[..., None], 3, axis=-1), size) / np.float32(255)
    return np.clip(np.rint(images.resize(texture, size) + share * unseen), 0, 255).astype(np.uint8)
