"""The layout of ava-256's captures: `<root>/<mcd>--<mct>--<sid>/decoder/...`, and the reader of their small files.

mcd is the date, mct the time, sid the subject's id. Here are folders, calibration and frame lists; `reading` has images and meshes,
`capture_set` what is parsed once for a run. The other modules use `Capture` alone: another layout needs a reader of its own that fills
a `Capture`, or a subclass of it where the zips have other names.
"""

import csv
import dataclasses
import json
import pathlib
import sys

import numpy as np

SENSOR = (4096, 2668)  # height and width, pixels, that calibrations refer to
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

    @property
    def subject(self) -> str:
        """The subject's id, the last part of the name."""
        return self.name.rpartition("--")[2]

    def image_size(self, downsample: int) -> tuple[int, int]:
        """(height, width) of its images at `downsample`."""
        return image_size(downsample, self.sensor)

    @property
    def head_pose(self) -> pathlib.Path:
        """Zip of head poses, one text file per frame."""
        return self.decoder / "head_pose" / "head_pose.zip"

    @property
    def vertices(self) -> pathlib.Path:
        """Zip of meshes, one PLY per frame."""
        return self.decoder / "kinematic_tracking" / "registration_vertices.zip"

    @property
    def texture(self) -> pathlib.Path:
        """Zip of textures, one AVIF per frame."""
        return self.decoder / "uv_image" / "color.zip"

    def image(self, camera: str) -> pathlib.Path:
        """Zip of a camera's images, one AVIF per frame."""
        return self.decoder / "image" / f"cam{camera}.zip"

    def segmentation(self, camera: str) -> pathlib.Path:
        """Zip of a camera's label pictures, one PNG per frame."""
        return self.decoder / "segmentation_parts" / f"cam{camera}.zip"


def find(root: str, ids: str) -> list[pathlib.Path]:
    """Folders of captures, sorted by name.

    Args:
      root: the folder that holds them.
      ids: CSV with the columns `mcd,sid,mct` of those to use; "" = all.

    Raises:
      ValueError: there are none, or one that `ids` lists is not there.
    """
    if not root:
        raise ValueError("config.data.root must name the folder of captures; it is empty (--config.data.root=FOLDER).")
    folder = pathlib.Path(root).expanduser()
    if not ids:
        found = sorted(path.parent for path in folder.glob("*--*--*/decoder"))
        if not found:
            raise ValueError(f"{folder}: no capture there (a folder <mcd>--<mct>--<sid> with decoder/ inside); ava-synth makes some.")
        return found
    listed = sorted({"--".join(row) for row in zip(*_columns(pathlib.Path(ids).expanduser(), ("mcd", "mct", "sid")), strict=True)})
    for name in listed:
        if not (folder / name / "decoder").is_dir():
            raise ValueError(f"{folder / name}: no capture there, but {ids} lists it.")
    return [folder / name for name in listed]


def load(folder: pathlib.Path, cameras: tuple[str, ...] = ()) -> Capture:
    """Reads a capture's calibration and frame list.

    Args:
      cameras: only these; () = all.

    Raises:
      ValueError: a file is missing or malformed, or no camera is left.
    """
    decoder = folder / "decoder"
    calibration = _read_calibration(decoder / "camera_calibration.json")
    # Of a capture without photographs, which can be predicted all the same, every camera is used.
    with_images = {path.stem.removeprefix("cam") for path in (decoder / "image").glob("cam*.zip")} or set(calibration)
    used = sorted(set(calibration) & with_images & (set(cameras) or with_images))
    if not used:
        raise ValueError(
            f"{folder}: no camera to use: {len(calibration)} calibrated, {len(with_images)} with images, {len(cameras) or 'any'} asked for."
        )
    segments, frame_ids = _columns(decoder / "frame_list.csv", ("seg_id", "frame_id"))
    try:
        frames = np.array([int(frame) for frame in frame_ids], np.int32)
    except ValueError as e:
        raise ValueError(f"{decoder / 'frame_list.csv'}: every frame_id must be a whole number ({e}).") from e
    intrinsics, rigid = (np.stack([calibration[camera][i] for camera in used]) for i in range(2))
    return Capture(
        name=folder.name,
        decoder=decoder,
        cameras=tuple(used),
        focal=intrinsics[:, (0, 1), (0, 1)],
        principal=intrinsics[:, :2, 2],
        rotation=rigid[:, :, :3],
        translation=rigid[:, :, 3],
        frames=frames,
        segments=np.array([sys.intern(segment) for segment in segments], object),
    )


def image_size(downsample: int, sensor: tuple[int, int] = SENSOR) -> tuple[int, int]:
    """(height, width) of images at `downsample` of a sensor's."""
    return sensor[0] // downsample, sensor[1] // downsample


def _columns(path: pathlib.Path, names: tuple[str, ...]) -> list[list[str]]:
    """Columns of a CSV by name, each [rows]: a frame list has ten thousand, and csv's own dictionaries cost ten times as much."""
    try:
        with open(path, newline="") as file:
            rows = csv.reader(file)
            header = next(rows, [])
            indices = [header.index(name) for name in names]
            values = [row[i] for row in rows if row for i in indices]
        columns = [values[i :: len(indices)] for i in range(len(indices))]
    except (OSError, UnicodeDecodeError, csv.Error) as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    except (ValueError, IndexError):  # a name that is not in the header, a row that is short
        columns = [[]]
    if not columns[0] or not all(map(all, columns)):
        raise ValueError(f"{path}: must have the columns {','.join(names)} and a row or more, all filled in.")
    return columns


def _read_calibration(path: pathlib.Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Camera id -> (K [3, 3], [R, t] [3, 4]); the file holds both transposed."""
    try:
        entries = json.loads(path.read_text())["KRT"]
        cameras = {}
        for entry in entries:
            intrinsics, rigid = np.array(entry["K"], np.float64).T, np.array(entry["T"], np.float64)[:4, :3].T
            if intrinsics.shape != (3, 3) or rigid.shape != (3, 4) or not np.isfinite(rigid).all() or not np.isfinite(intrinsics).all():
                raise ValueError(f"camera {entry['cameraId']}: K must be 3 x 3 and T 4 x 4 finite numbers")
            if not np.allclose(rigid[:, :3] @ rigid[:, :3].T, np.eye(3), atol=1e-3) or min(intrinsics[0, 0], intrinsics[1, 1]) <= 0:
                raise ValueError(f"camera {entry['cameraId']}: T must begin with a rotation, and K's focal lengths must be positive")
            int(entry["cameraId"])
            cameras[str(entry["cameraId"])] = intrinsics, rigid
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as e:
        raise ValueError(f'{path}: must be {{"KRT": [{{"cameraId": "400029", "K": [...], "T": [...]}}, ...]}} ({e!r}).') from e
    return cameras
