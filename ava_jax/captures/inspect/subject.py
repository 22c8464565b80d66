"""A capture as it is looked at: what is there of it, read leniently; what cannot be read is noted, and left out of the pictures."""

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import tqdm
from scipy import spatial

from ava_jax.captures import ava256, calibration, photographs, projection, reading
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.inspect import coverage
from ava_jax.captures.inspect.coverage import ABSENT, THERE, Coverage
from ava_jax.captures.multiface import as_ava256, layout, packed_copy
from ava_jax.captures.multiface.as_ava256 import MultifaceCapture
from ava_jax.captures.packed import index
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.captures.verify import tree
from ava_jax.core.mesh import Topology
from ava_jax.data import images, mesh_files
from ava_jax.data.archive import Archives
from ava_jax.data.remote.location import RemotePath

_TEXELS = 512  # of the texture that heads are painted with
_OFF = 30.0  # mm between keypoints and mesh that are doubted
_NAMED = 5  # cameras in a line
_MOST_POSES, _MOST_ASKED = 300, 40  # that the path of the head is drawn through; of a server


class Frame(NamedTuple):
    """What all cameras share of a frame; None is what it lacks.

    Attributes:
      number: its id.
      segment: its segment.
      vertices: f64 [V, 3], world, mm.
      pose: head to world, f64 [3, 4], mm.
      texture: u8 [T, T, 3].
      keypoints: f64 [K, 6]: index, x, y, z (world, mm), sum of confidences, inliers.
    """

    number: int
    segment: str
    vertices: np.ndarray | None
    pose: np.ndarray | None
    texture: np.ndarray | None
    keypoints: np.ndarray | None


class Subject:
    """A capture that is looked at.

    Attributes:
      folder: its.
      capture: with every calibrated camera, those without images too.
      coverage: what is there.
      topology: faces and chart of its meshes; None where there is none.
      notes: what is wrong or lacking, in words, a line each.
    """

    def __init__(self, folder: pathlib.Path | RemotePath, *, topology: pathlib.Path | RemotePath | None, threads: int) -> None:
        """Reads calibration, frame list and the zips' directories.

        Args:
          folder: the capture's.
          topology: OBJ of the meshes; None: `face_topology.obj` beside the capture, or beside a mesh of multiface.
          threads: that read.

        Raises:
          ValueError: calibration or frame list is missing or malformed, or a packed capture's index is.
        """
        self.folder, self.threads, self.notes = folder, threads, []
        self.archives: Archives = RecordArchives()
        self.capture = _whole(folder)
        self.coverage: Coverage = coverage.look(self.archives, self.capture, threads=threads)
        self._topology_path, self._required = topology or _topology(self.capture, folder), topology is not None
        self._topologies: dict[int, Topology | None] = {}
        self._tell_rows()

    def note(self, line: str) -> None:
        """Adds a line, once."""
        if line not in self.notes:
            self.notes.append(line)

    def _tell_rows(self) -> None:
        rows = self.coverage.rows
        for row in rows:
            if row.fault:
                self.note(f"{row.name}: nothing can be read: {row.fault}")
        gone = [row for row in rows if not row.exists]
        for kind in dict.fromkeys(row.kind for row in gone):
            cameras = [row.camera for row in gone if row.kind == kind and row.camera]
            if not cameras or len(cameras) == len(self.capture.cameras):
                self.note(f"{kind}: there is none")
            else:
                more = ", ..." if len(cameras) > _NAMED else ""
                plural = "s" if len(cameras) > 1 else ""
                self.note(f"{kind}: no file of {len(cameras)} calibrated camera{plural} ({', '.join(cameras[:_NAMED])}{more})")
        for kind, may_be in (("keypoints", self.capture.has_keypoints), ("segmentation", self.capture.has_segmentation)):
            if may_be and not any(row.kind == kind for row in rows):
                self.note(f"{kind}: there is none")
        if unknown := sorted(self._with_images() - set(self.capture.cameras)):
            self.note(f"images of cameras without calibration, which are not shown: {', '.join(unknown)}")

    def _with_images(self) -> set[str]:
        """Ids of the cameras that have images; {} of a server's, which is not asked."""
        if isinstance(self.capture, MultifaceCapture):
            return self.capture.small.cameras_in(layout.IMAGES)
        return set() if isinstance(self.folder, RemotePath) else index.cameras_with_images(self.folder)

    @property
    def kept_as(self) -> str:
        """How its files are kept, in words."""
        if isinstance(self.capture, MultifaceCapture):
            return "arrays of multiface" if packed_copy.is_one(self.folder) else "files of multiface"
        return "zips" if isinstance(self.folder, RemotePath) or index.find(self.folder) is None else "packed records"

    def tell_absent(self) -> None:
        """Notes how much is absent of the files that are there: listed frames that they lack."""
        coverage = self.coverage
        for kind in coverage.kinds():
            rows = [i for i, row in enumerate(coverage.rows) if row.kind == kind and row.exists and not row.fault]
            absent = coverage.state[rows] == ABSENT
            if not absent.any():
                continue
            none = int(absent.all(0).sum())
            text = f"{kind}: {int(absent.sum())} of {absent.size} absent"
            if len(rows) > 1:
                text += f", in {int(absent.any(1).sum())} of {len(rows)} cameras"
                text += f"; {none} listed frames have none at all" if none else ""
            self.note(text)

    def topology(self, vertices: int) -> Topology | None:
        """Faces and chart of meshes of so many vertices; None, and a note, where there are none.

        Raises:
          ValueError: the OBJ was named by the user, and is not of such meshes or cannot be read.
        """
        if vertices not in self._topologies:
            try:
                self._topologies[vertices] = mesh_files.read_topology(self._topology_path, vertices)
            except ValueError as e:
                if self._required:
                    raise ValueError(f"--topology: {e}") from e
                self.note(f"faces: meshes are not drawn: {e} (--topology=FILE names another)")
                self._topologies[vertices] = None
        return self._topologies[vertices]

    def frame(self, number: int) -> Frame:
        """What all cameras share of a frame, by id; what it lacks is noted."""
        archives, capture = self.archives, self.capture
        pose = self._try("head pose", "", number, lambda: reading.head_pose(archives, capture, number))
        mesh = self._try("mesh", "", number, lambda: reading.decoded(archives, capture.vertices, number, self._vertices))
        texture = self._try(
            "texture",
            "",
            number,
            lambda: reading.decoded(archives, capture.texture, number, lambda data: images.decode(data, (_TEXELS,) * 2)),
        )
        keypoints = self._try("keypoints", "", number, lambda: reading.keypoints(archives, capture, number))
        world = None if mesh is None or pose is None else mesh @ pose[:, :3].T + pose[:, 3]
        segment = capture.segments[np.flatnonzero(capture.frames == number)[0]]
        return Frame(number, str(segment), world, pose, texture, keypoints)

    def _vertices(self, data: bytes) -> np.ndarray:
        vertices = self.capture.parse_vertices(data).astype(np.float64)
        if not len(vertices) or not np.isfinite(vertices).all():
            raise ValueError(
                f"a mesh must have vertices, all finite; of {len(vertices)}, {int((~np.isfinite(vertices)).any(1).sum())} are not"
            )
        return vertices

    def photograph(self, camera: int, frame: int, height: int) -> np.ndarray | None:
        """A camera's image of a frame, u8 [H, W, 3]; None where it lacks it. As `photographs.photograph`."""
        name = self.capture.cameras[camera]
        return self._try("image", name, frame, lambda: photographs.photograph(self.archives, self.capture, camera, frame, height))

    def labels(self, camera: int, frame: int, height: int) -> np.ndarray | None:
        """Class numbers of a camera's image, u8 [H, W]; None where it lacks them. As `photographs.labels`."""
        name = self.capture.cameras[camera]
        return self._try("segmentation", name, frame, lambda: photographs.labels(self.archives, self.capture, camera, frame, height))

    def _try(self, kind: str, camera: str, frame: int, read: Callable[[], Any]) -> Any:
        """What `read` gives; None where the file is not there, or cannot be read, which is noted."""
        if not self.coverage.has(kind, camera, frame):
            return None
        try:
            return read()
        except reading.Unreadable as e:
            self.coverage.mark(kind, camera, frame)
            self.note(f"cannot be read: {str(e).removeprefix(f'{self.folder}/')}")
            return None

    def decode_all(self) -> None:
        """Decodes every image, so that the coverage knows of all that cannot be read; with a progress bar."""
        todo = [
            (camera, int(frame))
            for camera, name in enumerate(self.capture.cameras)
            for frame in np.unique(self.capture.frames[self.coverage.of("image", name) == THERE])
        ]
        with (
            tqdm.tqdm(total=len(todo), desc="images", unit="image", dynamic_ncols=True, leave=False) as bar,
            concurrent.futures.ThreadPoolExecutor(self.threads) as pool,
        ):
            for _ in pool.map(lambda one: self.photograph(*one, self.capture.sensor[0]) is None, todo):
                bar.update()

    def head_path(self) -> np.ndarray:
        """Where the head's origin is over the frames, f64 [P, 3], world, mm: evenly chosen ones, those that can be read."""
        there = np.unique(self.capture.frames[self.coverage.of("head pose") == THERE])
        most = _MOST_ASKED if isinstance(self.folder, RemotePath) else _MOST_POSES
        chosen = there[np.unique(np.linspace(0, len(there) - 1, most).round().astype(int))] if len(there) else there

        def pose(number: int) -> np.ndarray | None:
            return self._try("head pose", "", number, lambda: reading.head_pose(self.archives, self.capture, number))

        with concurrent.futures.ThreadPoolExecutor(self.threads) as pool:
            return np.array([found[:, 3] for found in pool.map(pose, chosen.tolist()) if found is not None]).reshape(-1, 3)

    def inside(self, frame: Frame) -> np.ndarray:
        """How much of a frame's mesh falls into each camera's image, f64 [C]; NaN without a mesh."""
        if frame.vertices is None:
            return np.full(len(self.capture.cameras), np.nan)
        return projection.inside(frame.vertices, self.capture, self.capture.rotation, self.capture.translation)[0]

    def keypoints_off(self, frame: Frame) -> float | None:
        """Median distance of a frame's keypoints from the mesh's vertices, mm, noted where it is large; None without both."""
        if frame.vertices is None or frame.keypoints is None or not len(frame.keypoints):
            return None
        off = float(np.median(spatial.cKDTree(frame.vertices).query(frame.keypoints[:, 1:4])[0]))
        if off > _OFF:
            where = f"frame {frame.number}: they lie {off:.3g} mm from the mesh (median)"
            self.note(f"keypoints, {where}; they must be in the world, in mm, as the cameras are")
        return off

    def doubt_calibration(self, frame: Frame) -> None:
        """Notes what is doubtful of the calibration, as a frame's mesh tells."""
        if self.capture.distorted:
            self.note(f"calibration: {len(self.capture.distorted)} cameras have a distortion; images are taken as undistorted")
        if frame.vertices is None or frame.pose is None:
            return
        found = projection.Reference(frame.number, frame.vertices, frame.pose)
        try:
            lines = projection.doubts_of(found, self.capture)
        except ValueError as e:
            lines = [str(e)]
        for line in lines:
            self.note(f"calibration: {line.removeprefix(f'{self.capture.calibration}: ')}")


def _whole(folder: pathlib.Path | RemotePath) -> Capture:
    """The capture with every calibrated camera, whether it has images or not; calibrations as they stand, wrong ones too."""
    if not isinstance(folder, RemotePath) and tree.is_multiface(folder):
        return as_ava256.whole(folder)
    capture = ava256.load(folder, judge=False)
    entries = calibration.read(capture.calibration)
    names = sorted(entries)
    every = calibration.cameras(capture.calibration, names, entries, judge=False)
    return dataclasses.replace(
        capture,
        cameras=tuple(names),
        focal=every.focal,
        principal=every.principal,
        rotation=every.rotation,
        translation=every.translation,
        positions=np.array([list(entries).index(name) for name in names], np.int32),
    )


def _topology(capture: Capture, folder: pathlib.Path | RemotePath) -> pathlib.Path | RemotePath:
    """The OBJ of a capture's meshes, where nobody names one."""
    beside = capture.small.topology() if isinstance(capture, MultifaceCapture) else None
    return beside or folder.parent / ava256.TOPOLOGY
