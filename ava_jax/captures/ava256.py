"""The layout of ava-256's captures: `<root>/<mcd>--<mct>--<sid>/decoder/...`, and the reader of their small files.

mcd is the date, mct the time, sid the subject's id. Here is what a capture is; `folders` finds them on disks and servers, `tables` reads
lists, `calibration` cameras, `reading` images and meshes, and `capture_set` is what is parsed once for a run. The other modules use
`Capture` alone: another layout needs a reader of its own that fills a `Capture`, or a subclass of it where the zips have other names.
"""

import dataclasses
import functools
import pathlib

import numpy as np

from ava_jax.captures import calibration
from ava_jax.captures.folders import CALIBRATION as CALIBRATION
from ava_jax.captures.folders import cameras_with_images
from ava_jax.captures.folders import find as find
from ava_jax.captures.packed import index
from ava_jax.captures.tables import frame_list as frame_list
from ava_jax.captures.tables import names_listed as names_listed
from ava_jax.core import names
from ava_jax.data import mesh_files

SENSOR = (4096, 2668)  # height and width, pixels, that calibrations refer to which name no other size
NEUTRAL = "EXP_neutral_peak"  # the segment whose first complete frame is a person's neutral face
TOPOLOGY = "face_topology.obj"  # beside the captures


@dataclasses.dataclass(frozen=True)
class Capture:
    """One person's recording.

    Attributes:
      name: of its folder.
      decoder: the folder `decoder/`.
      cameras: ids, sorted, of the cameras that have both a calibration and images: C of them.
      focal: f64 [C, 2]; principal: f64 [C, 2]; pixels of the full sensor.
      rotation: f64 [C, 3, 3], world to camera; translation: f64 [C, 3], mm.
      frames: int32 [N], frame ids in the order of the frame list.
      segments: [N], segment of each frame: an object array, in which equal names are one string.
      sensor: height and width, pixels, that focal lengths and principal points refer to.
      neutral_segment: the first complete frame of it is the neutral face.
      cropped: whether images show a part of the sensor that calibrations were made for; `sensor` is that part.
      distorted: ids of the cameras whose calibration gives a distortion. It is not modelled: images must be undistorted.
      positions: int32 [C], each camera's position in the calibration file, whatever cameras are used.
      calibrated: cameras that the file has.
      measured: what was found by reading many files, kept for those who ask again.
    """

    name: str
    decoder: pathlib.Path
    cameras: tuple[str, ...]
    focal: np.ndarray
    principal: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    frames: np.ndarray
    segments: np.ndarray
    sensor: tuple[int, int] = SENSOR
    neutral_segment: str = NEUTRAL
    distorted: tuple[str, ...] = ()
    positions: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(0, np.int32))
    calibrated: int = 0
    cropped: bool = False
    measured: dict[str, int] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def calibration(self) -> pathlib.Path:
        """JSON of the cameras' K and T."""
        return self.decoder / CALIBRATION

    @property
    def subject(self) -> str:
        """The subject's id, the last part of the name."""
        return self.name.rpartition("--")[2]

    @property
    def data_set(self) -> str:
        """Whose cameras' ids these are; "": ava-256's. Equal ids of two data sets are two cameras."""
        return ""

    @property
    def has_segmentation(self) -> bool:
        """Whether there may be label pictures."""
        return True

    @property
    def has_keypoints(self) -> bool:
        """Whether there may be keypoints."""
        return True

    @property
    def black_is_unseen(self) -> bool:
        """Whether texels of textures that are 0 in all channels were seen by no camera."""
        return False

    @property
    def list_of_frames(self) -> pathlib.Path:
        """CSV of segments and frames."""
        return self.decoder / "frame_list.csv"

    def image_size(self, downsample: int) -> tuple[int, int]:
        """(height, width) of its images at `downsample`."""
        return image_size(downsample, self.sensor)

    @functools.cached_property
    def _zips(self) -> dict[tuple[str, str], pathlib.Path]:
        """Paths that were asked for, by kind and camera: a full data set asks for each of 40,000 some times, and twice per sample."""
        return {}

    def _zip(self, kind: str, camera: str) -> pathlib.Path:
        path = self._zips.get((kind, camera))
        if path is None:
            path = self._zips[kind, camera] = self.decoder / f"{kind}/cam{camera}.zip"
        return path

    @functools.cached_property
    def head_pose(self) -> pathlib.Path:
        """Zip of head poses, one text file per frame."""
        return self.decoder / "head_pose" / "head_pose.zip"

    @functools.cached_property
    def vertices(self) -> pathlib.Path:
        """Zip of meshes, one PLY per frame."""
        return self.decoder / "kinematic_tracking" / "registration_vertices.zip"

    @functools.cached_property
    def texture(self) -> pathlib.Path:
        """Zip of textures, one AVIF per frame."""
        return self.decoder / "uv_image" / "color.zip"

    @property
    def texture_mean(self) -> pathlib.Path:
        """Mean texture."""
        return self.texture.with_name("color_mean.png")

    @property
    def vertices_mean(self) -> pathlib.Path:
        """Mean mesh."""
        return self.vertices.with_name("registration_vertices_mean.npy")

    @property
    def vertices_variance(self) -> pathlib.Path:
        """Text of one number, the vertices' variance, mm^2."""
        return self.vertices.with_name("registration_vertices_variance.txt")

    def parse_vertices(self, data: bytes) -> np.ndarray:
        """Vertices f32 [V, 3], mm, of a frame's file.

        Raises:
          ValueError: it is no mesh.
        """
        return mesh_files.read_vertices(data)

    @functools.cached_property
    def keypoints(self) -> pathlib.Path:
        """Zip of keypoints, one NPY per frame; not every capture has it."""
        return self.decoder / "keypoints_3d" / "keypoints_3d.zip"

    def image(self, camera: str) -> pathlib.Path:
        """Zip of a camera's images, one AVIF per frame."""
        return self._zip("image", camera)

    def segmentation(self, camera: str) -> pathlib.Path:
        """Zip of a camera's label pictures, one PNG per frame."""
        return self._zip("segmentation_parts", camera)


def load(folder: pathlib.Path, cameras: tuple[str, ...] = (), *, judge: bool = True) -> Capture:
    """Reads a capture's calibration and frame list.

    Args:
      folder: the capture's.
      cameras: only these; () = all.
      judge: as of `calibration.camera`.

    Raises:
      ValueError: a file is missing or malformed, or no camera is left.
    """
    packed = index.find(folder)
    decoder = folder / "decoder"
    path = decoder / CALIBRATION
    entries = calibration.read(path)
    position = {camera: i for i, camera in enumerate(entries)}
    # Of a capture without photographs, which can be predicted all the same, every camera is used.
    with_images = cameras_with_images(folder, list(entries)) or set(entries)
    have = set(entries) & with_images
    used = sorted(have & (set(cameras) or have))
    if not have:
        raise ValueError(f"{folder}: no camera to use: {len(entries)} calibrated, {len(with_images)} with images, none with both.")
    if not used:
        near = ", ".join(names.near(cameras[0], have))
        raise ValueError(f"{folder}: no camera to use: it has none of config.data.cameras; of {len(have)}, the nearest are {near}.")
    frames, segments = frame_list(decoder / "frame_list.csv")
    found = calibration.cameras(path, used, entries, judge=judge)
    return Capture(
        name=folder.name,
        decoder=decoder,
        cameras=tuple(used),
        focal=found.focal,
        principal=found.principal,
        rotation=found.rotation,
        translation=found.translation,
        frames=frames,
        segments=segments,
        sensor=calibration.sensor(path, {name: entries[name] for name in used}, SENSOR) if packed is None else packed.sensor,
        distorted=tuple(name for name, distorted in zip(used, found.distorted, strict=True) if distorted),
        cropped=packed is not None and packed.cropped,
        positions=np.array([position[camera] for camera in used], np.int32),
        calibrated=len(entries),
    )


def image_size(downsample: int, sensor: tuple[int, int] = SENSOR) -> tuple[int, int]:
    """(height, width) of images at `downsample` of a sensor's."""
    return sensor[0] // downsample, sensor[1] // downsample
