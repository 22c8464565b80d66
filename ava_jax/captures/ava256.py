"""The layout of ava-256's captures: `<root>/<mcd>--<mct>--<sid>/decoder/...`, and the reader of their small files.

mcd is the date, mct the time, sid the subject's id. Here are folders, calibration and frame lists; `reading` has images and meshes,
`capture_set` what is parsed once for a run. The other modules use `Capture` alone: another layout needs a reader of its own that fills
a `Capture`, or a subclass of it where the zips have other names.
"""

import concurrent.futures
import csv
import dataclasses
import fnmatch
import functools
import io
import pathlib
import sys
from collections.abc import Collection

import numpy as np

from ava_jax.captures import calibration
from ava_jax.captures.packed import index
from ava_jax.core import names
from ava_jax.data import text_files
from ava_jax.data.remote import location
from ava_jax.data.remote.location import RemotePath

SENSOR = (4096, 2668)  # height and width, pixels, that calibrations refer to
NEUTRAL = "EXP_neutral_peak"  # the segment whose first complete frame is a person's neutral face
TOPOLOGY = "face_topology.obj"  # beside the captures
_SEPARATORS = ",;\t "  # of the columns of a CSV, the first that its header has
_MOST_FRAME = 2**31 - 1
_ASKED_AT_ONCE = 16  # files of a capture that are looked for on a server
CALIBRATION = "camera_calibration.json"


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

    @property
    def calibration(self) -> pathlib.Path:
        """JSON of the cameras' K and T."""
        return self.decoder / CALIBRATION

    @property
    def subject(self) -> str:
        """The subject's id, the last part of the name."""
        return self.name.rpartition("--")[2]

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

    def image(self, camera: str) -> pathlib.Path:
        """Zip of a camera's images, one AVIF per frame."""
        return self._zip("image", camera)

    def segmentation(self, camera: str) -> pathlib.Path:
        """Zip of a camera's label pictures, one PNG per frame."""
        return self._zip("segmentation_parts", camera)


def find(root: str | pathlib.Path | RemotePath, ids: str) -> list[pathlib.Path | RemotePath]:
    """Folders of captures, sorted by name.

    Args:
      root: the folder that holds them; a path or a URL as text, or what `location.at` makes of one.
      ids: CSV, a path or a URL, with the columns `mcd,sid,mct` of those to use; "" = all.

    Raises:
      ValueError: there are none, or one that `ids` lists is not there.
    """
    if not root:
        raise ValueError("config.data.root must name the folder of captures; it is empty (--config.data.root=FOLDER).")
    folder = location.at(root) if isinstance(root, str) else root
    if not ids:
        if isinstance(folder, RemotePath):
            return _listed(folder)
        found = sorted(path.parent for path in folder.glob("*--*--*/decoder"))
        if missing := index.begun(folder) - {path.name for path in found}:
            raise ValueError(f"{folder / min(missing)}: was not packed; run the same ava pack again, which goes on.")
        if not found:
            raise ValueError(f"{folder}: no capture there (a folder <mcd>--<mct>--<sid> with decoder/ inside); ava-synth makes some.")
        return found
    listed = sorted(set(names_listed(location.at(ids))))
    for name in listed:
        decoder = folder / name / "decoder"
        if not ((decoder / CALIBRATION).is_file() if isinstance(folder, RemotePath) else decoder.is_dir()):
            raise ValueError(f"{folder / name}: no capture there, but {ids} lists it.")
    return [folder / name for name in listed]


def names_listed(ids: pathlib.Path | RemotePath) -> list[str]:
    """Names of the captures that a CSV with the columns `mcd,sid,mct` lists, in its order.

    Raises:
      ValueError: it cannot be read, or lacks a column.
    """
    mcd, mct, sid = _columns(ids, ("mcd", "mct", "sid"))
    # A spreadsheet makes 900 of the time 0900.
    return ["--".join((date, time.zfill(4), subject)) for date, time, subject in zip(mcd, mct, sid, strict=True)]


def _listed(folder: RemotePath) -> list[RemotePath]:
    """Folders of the captures that a server lists.

    Raises:
      ValueError: there are none, or it lists none.
    """
    names = folder.names()
    found = sorted(name for name in names or () if fnmatch.fnmatchcase(name, "*--*--*"))
    if not found:
        fault = "the server does not list the folder" if names is None else "no capture is listed there, <mcd>--<mct>--<sid>"
        raise ValueError(f"{folder}: {fault}; config.data.ids=FILE, a CSV with the columns mcd,sid,mct, names those to use.")
    return [folder / name for name in found]


def cameras_with_images(folder: pathlib.Path | RemotePath, calibrated: Collection[str]) -> set[str]:
    """Ids of the cameras that a capture's folder has images of; {} where it has no photographs.

    Args:
      folder: the capture's.
      calibrated: ids of the cameras that are looked for where a server would have to list the folder.
    """
    if not isinstance(folder, RemotePath):
        return index.cameras_with_images(folder)
    images = folder / "decoder" / "image"
    with concurrent.futures.ThreadPoolExecutor(_ASKED_AT_ONCE) as pool:
        there = pool.map(lambda camera: (images / f"cam{camera}.zip").is_file(), calibrated)
        return {camera for camera, found in zip(calibrated, there, strict=True) if found}


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
        sensor=SENSOR if packed is None else packed.sensor,
        distorted=tuple(name for name, distorted in zip(used, found.distorted, strict=True) if distorted),
        cropped=packed is not None and packed.cropped,
        positions=np.array([position[camera] for camera in used], np.int32),
        calibrated=len(entries),
    )


def frame_list(path: pathlib.Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads a `frame_list.csv`, with the columns `seg_id,frame_id`.

    Returns:
      Frame ids, int32 [N], in the order of the file, and the segment of each, an object array [N], in which equal names are one string.

    Raises:
      ValueError: it is missing or malformed; the message names it.
    """
    segments, frame_ids = _columns(path, ("seg_id", "frame_id"))
    try:
        frames = np.array([int(frame) for frame in frame_ids], np.int64)
    except (ValueError, OverflowError) as e:
        raise ValueError(f"{path}: every frame_id must be a whole number ({str(e)[:120]}).") from e
    if not 0 <= frames.min() <= frames.max() <= _MOST_FRAME:
        wrong = frames[(frames < 0) | (frames > _MOST_FRAME)][0]
        raise ValueError(f"{path}: every frame_id must be from 0 to {_MOST_FRAME}; got {wrong}.")
    return frames.astype(np.int32), np.array([sys.intern(segment) for segment in segments], object)


def image_size(downsample: int, sensor: tuple[int, int] = SENSOR) -> tuple[int, int]:
    """(height, width) of images at `downsample` of a sensor's."""
    return sensor[0] // downsample, sensor[1] // downsample


def _columns(path: pathlib.Path, names: tuple[str, ...]) -> list[list[str]]:
    """Columns of a CSV by name, each [rows], without spaces around; blank lines, and lines of separators alone, are passed over.

    A frame list has ten thousand rows, and csv's own dictionaries cost ten times as much.
    """
    text = text_files.read(path)
    if (plain := _plain_columns(text, names)) is not None:
        return plain
    header_line = text.lstrip().partition("\n")[0].strip()
    separator = next((mark for mark in _SEPARATORS if mark in header_line), ",")
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
    indices: list[int] = []
    columns: list[list[str]] = [[] for _ in names]
    try:
        for row in rows:
            cells = [cell.strip() for cell in row]
            if not any(cells):
                continue
            if not indices:
                indices = [cells.index(name) for name in names]
                continue
            for column, index in zip(columns, indices, strict=True):
                if not cells[index]:
                    raise IndexError
                column.append(cells[index])
    except csv.Error as e:
        raise ValueError(f"{path}, line {rows.line_num}: cannot be read ({e}).") from e
    except (ValueError, IndexError):  # a name that is not in the header, a row that is short
        columns = [[]]
    if not columns[0]:
        raise ValueError(f"{path}, line {rows.line_num}: must have the columns {','.join(names)} and a row or more, all filled in.")
    return columns


def _plain_columns(text: str, names: tuple[str, ...]) -> list[list[str]] | None:
    """What `_columns` finds in a CSV of these columns alone, no quotes, spaces or blank lines, as programs write it; None of others.

    A fifth of its time: a full data set lists a million frames and more.
    """
    body, width = text.removesuffix("\n"), len(names)
    if not body.isascii():
        return None
    data = np.frombuffer(body.encode(), np.uint8)
    ends = data == ord("\n")
    lines = int(ends.sum()) + 1
    expected = np.full(lines * width, ord(","), np.uint8)
    expected[width - 1 :: width] = ord("\n")
    quoted = ((data <= ord('"')) & ~ends & (data != ord("!"))).any()  # or with spaces and the like
    if lines < 2 or quoted or not np.array_equal(data[ends | (data == ord(","))], expected[:-1]):
        return None
    cells = body.replace("\n", ",").split(",")
    header = cells[:width]
    if sorted(header) != sorted(names) or not all(cells):
        return None
    return [cells[width + header.index(name) :: width] for name in names]
