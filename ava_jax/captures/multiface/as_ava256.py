"""Captures of multiface as everything that reads ava-256's knows captures: the same samples, of other files.

Meshes, head poses, textures' rows and millimetres are the same. What differs: K in KRT is stored as it is, for images of half the sensor's
side; one file per frame instead of zips; vertices as float32; no segmentation and no background; texels that no camera sees are 0.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np

from ava_jax.captures.ava256 import SENSOR, Capture
from ava_jax.captures.multiface import layout, packed_copy, recording
from ava_jax.captures.multiface.recording import Recording
from ava_jax.core import names
from ava_jax.data.frame_files import FrameFiles

DATA_SET = "multiface"
_SCALE = SENSOR[0] // layout.SENSOR[0]  # pixels of the sensor per pixel that KRT refers to


@dataclasses.dataclass(frozen=True)
class MultifaceCapture(Capture):
    """A capture of multiface. `decoder` is its folder; `recording`: its small files."""

    recording: Recording | None = None

    @property
    def data_set(self) -> str:
        """Camera ids look like ava-256's, and are other cameras."""
        return DATA_SET

    @property
    def has_segmentation(self) -> bool:
        """There is none."""
        return False

    @property
    def has_keypoints(self) -> bool:
        """There are none."""
        return False

    @property
    def black_is_unseen(self) -> bool:
        """Texels of textures that are 0 in all channels were seen by no camera."""
        return True

    @property
    def subject(self) -> str:
        """The subject's id, the second last part of the name."""
        return self.small.identity

    @property
    def calibration(self) -> pathlib.Path:
        """KRT."""
        return self.decoder / layout.KRT

    @property
    def list_of_frames(self) -> pathlib.Path:
        """`frame_list.txt`."""
        return self.decoder / layout.FRAME_LIST

    @property
    def head_pose(self) -> FrameFiles:
        """Head poses."""
        return self.small.head_pose

    @property
    def vertices(self) -> FrameFiles:
        """Meshes."""
        return self.small.vertices

    @property
    def texture(self) -> FrameFiles:
        """Average textures."""
        return self.small.texture()

    @property
    def texture_mean(self) -> pathlib.Path:
        """`tex_mean.png`."""
        return self.decoder / layout.TEXTURE_MEAN

    @property
    def vertices_mean(self) -> pathlib.Path:
        """`vert_mean.bin`."""
        return self.decoder / layout.VERTEX_MEAN

    @property
    def vertices_variance(self) -> pathlib.Path:
        """`vert_var.txt`."""
        return self.decoder / layout.VERTEX_VARIANCE

    def image(self, camera: str) -> FrameFiles:
        """A camera's photographs."""
        return self.small.image(camera)

    def parse_vertices(self, data: bytes) -> np.ndarray:
        """Vertices f32 [V, 3] of a `.bin`."""
        return recording.points(data)

    @property
    def small(self) -> Recording:
        """Its small files."""
        assert self.recording is not None, "a capture of multiface is made by `load`"
        return self.recording


def whole(folder: pathlib.Path) -> MultifaceCapture:
    """A capture to look at, released or packed by `ava multiface pack`: every camera of KRT, and numbers as they stand, wrong ones too.

    Its sensor is that of its photographs, 2048 x 1334.

    Raises:
      ValueError: as `recording.load` without judging; or arrays of a packed copy are missing.
    """
    found = packed_copy.load(folder, judge=False) if packed_copy.is_one(folder) else recording.load(folder, judge=False)
    order = sorted(range(len(found.cameras)), key=lambda i: found.cameras[i].name)
    return dataclasses.replace(_capture(found, order, scale=1), sensor=layout.SENSOR)


def load(folder: pathlib.Path, cameras: Sequence[str] = (), *, judge: bool = True) -> MultifaceCapture:
    """Reads a capture's KRT and frame list.

    Args:
      folder: the capture's.
      cameras: only these; () = all.
      judge: as of `recording.load`.

    Raises:
      ValueError: as `recording.load`; or no camera is left.
    """
    found = recording.load(folder, judge=judge)
    calibrated = {camera.name: i for i, camera in enumerate(found.cameras)}
    # Of a capture without photographs, which can be predicted all the same, every camera is used.
    have = set(calibrated) & (found.cameras_in(layout.IMAGES) or set(calibrated))
    if not have:
        raise ValueError(f"{folder}: no camera to use: KRT has {len(calibrated)}, and none of those that have images.")
    used = sorted(have & (set(cameras) or have))
    if not used:
        near = ", ".join(names.near(cameras[0], have))
        raise ValueError(f"{folder}: no camera to use: it has none of config.data.cameras; of {len(have)}, the nearest are {near}.")
    return _capture(found, [calibrated[name] for name in used], scale=_SCALE)


def _capture(found: Recording, used: Sequence[int], *, scale: int) -> MultifaceCapture:
    """A capture of some of KRT's cameras, by their indices; `scale`: pixels of its sensor per pixel that KRT refers to."""
    chosen = [found.cameras[i] for i in used]
    return MultifaceCapture(
        name=found.folder.name,
        decoder=found.folder,
        cameras=tuple(camera.name for camera in chosen),
        focal=np.stack([scale * camera.k[(0, 1), (0, 1)] for camera in chosen]),
        principal=np.stack([scale * camera.k[:2, 2] for camera in chosen]),
        rotation=np.stack([camera.extrinsics[:, :3] for camera in chosen]),
        translation=np.stack([camera.extrinsics[:, 3] for camera in chosen]),
        frames=found.frames,
        segments=found.segments,
        neutral_segment=_neutral(found),
        positions=np.array(used, np.int32),
        calibrated=len(found.cameras),
        recording=found,
    )


def _neutral(found: Recording) -> str:
    """The segment whose first complete frame is the neutral face; "": there is none, and the frame nearest to the mean mesh serves."""
    for name in layout.NEUTRALS:
        numbers = found.frames[found.segments == name].tolist()
        if len(numbers) and (found.vertices.there(numbers) & found.texture().there(numbers)).any():
            return name
    return ""
