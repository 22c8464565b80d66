"""From where it is seen: one of a capture's cameras, several, or one in front of the head; standing still or on a path."""

import pathlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import camera_table, reading
from ava_jax.captures.ava256 import SENSOR, Capture, image_size
from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core import cameras as geometry
from ava_jax.core.names import pick
from ava_jax.core.types import Assets, Cameras
from ava_jax.tasks.ava256.apps import camera_paths, keyframes, selection
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.apps.choices import AROUND, PATHS, THROUGH
from ava_jax.tasks.ava256.data.codes_file import Codes

PORTRAIT = "portrait"  # the camera in front of the head that needs no capture
_TURNTABLES = ("swing", "circle", "orbit", "still")
_IN_FRONT = 0.3  # frontality of the cameras that a path goes through unless they are named


class View:
    """Where the camera is, moment by moment.

    Attributes:
      camera: id of the capture's camera that is looked through, or that a path starts from; None: the one in front of the head.
      row: name of that camera's row of the colour calibrations; None: it has none.
      size: (height, width) of pictures.
    """

    def __init__(
        self,
        avatar: Avatar,
        captures: CaptureSet | None,
        config: ConfigDict,
        assets: Assets,
        capture: Capture | None,
        cameras: Sequence[str],
        path: str,
    ) -> None:
        """Finds the cameras.

        Args:
          capture: whose cameras and poses; None: the first at hand, where cameras are named.
          cameras: ids, the first of which is looked through; (): the one most in front.
          path: one of `choices.PATHS`, a file of keyframes, or "".

        Raises:
          ValueError: a camera or a path is not there, with those nearest to it.
        """
        self._avatar, self._captures, self._path = avatar, captures, path
        self._downsample = config.data.downsample
        if path and pathlib.Path(path).suffix.lower() != ".json":
            pick("--path", path, PATHS)
        if len(cameras) > 1 and path not in THROUGH:
            raise ValueError(f"--camera={','.join(cameras)}: several are for --path={' or '.join(THROUGH)}; name one.")
        if PORTRAIT in cameras and path in THROUGH:
            raise ValueError(f"--camera={PORTRAIT}: is none of the cameras that --path={path} goes through; name the capture's.")
        named = [name for name in cameras if name != PORTRAIT]
        self._capture = capture
        if capture is None and captures is not None and (named or path in THROUGH):
            self._capture = captures.captures[0]
        if self._capture is None and (named or path in THROUGH):
            what = f"--camera={','.join(named)}" if named else f"--path={path}"
            raise ValueError(f"{what}: cameras are captures': none is at hand; give --data=FOLDER.")
        portrait = PORTRAIT in cameras or self._capture is None
        self._ids = [] if portrait else self._found(captures, assets, named)
        self.camera = None if portrait else self._ids[0]
        rows = assets.names["cameras"]
        index = -1 if portrait else int(camera_table.indices(self._capture, rows)[self._capture.cameras.index(self.camera)])
        self.row = rows[index] if index >= 0 else None
        sensor = tuple(int(side) for side in assets.arrays.get("sensor", SENSOR)) if self._capture is None else self._capture.sensor
        self.size = image_size(self._downsample, sensor)

    @property
    def name(self) -> str:
        """Of files."""
        if self._path:
            return "turntable" if self._path in _TURNTABLES else pathlib.Path(self._path).stem
        return PORTRAIT if self.camera is None else f"cam{self.camera}"

    @property
    def about(self) -> str:
        """In words."""
        camera = "a camera in front" if self.camera is None else f"camera {self.camera}"
        return f"path {self._path} from {camera}" if self._path in PATHS else f"path {self._path}" if self._path else camera

    def length(self, fps: float) -> int:
        """Pictures that the path wants; 0: any number."""
        if self._path == "raw":
            return len(self._ids)
        return 0 if self._path in ("", *PATHS) else round(self._keyframes(None).seconds * fps) + 1

    def cameras(self, track: Codes, count: int, degrees: float, fps: float, *, loops: bool, keep: bool) -> Cameras:
        """Cameras of `count` moments, head space.

        Args:
          track: `count` codes, whose first head pose is where paths are laid around.
          degrees: how far a path goes to either side.
          fps: pictures per second, by which keyframes are met unless the video loops.
          keep: whether cameras stand in the world and the head moves, or the head stands still.

        Raises:
          ValueError: as `keyframes.read`.
        """
        pose = self._reference(track)
        path = self._path
        if path in THROUGH:
            every = self._of_rig(self._ids, pose)
            found = camera_paths.one_by_one(every, count) if path == "raw" else camera_paths.through(every, self._avatar.middle, count)
        elif path in AROUND:
            found = camera_paths.around(path, self._start(pose), self._avatar.middle, count, self.size, degrees)
        elif path:
            keys = self._keyframes(pose)
            at = np.linspace(0, keys.seconds, count) if loops else np.arange(count) / fps
            found = keys.at(at, self._avatar.middle)
        else:
            found = Cameras(*(np.repeat(np.asarray(value, np.float32)[None], count, axis=0) for value in self._start(pose)))
        return camera_paths.in_world(found, pose, track.head_pose) if keep else found

    def _found(self, captures: CaptureSet, assets: Assets, named: Sequence[str]) -> list[str]:
        """Ids of cameras: those named, or the one in front, with those that a path goes through."""
        capture = self._capture
        if named:
            return [selection.camera(captures, assets, capture, name) for name in named]
        first = selection.camera(captures, assets, capture)
        if self._path not in THROUGH:
            return [first]
        seen = camera_table.known(capture, assets.names["cameras"]) or list(capture.cameras)
        every = self._of_rig(seen, self._pose_of_capture())
        front = geometry.frontality(every.position) > _IN_FRONT
        ids = [first, *(name for name, faces in zip(seen, front, strict=True) if faces and name != first)]
        return [ids[i] for i in camera_paths.tour(self._of_rig(ids, self._pose_of_capture()), self._avatar.middle)]

    def _reference(self, track: Codes) -> np.ndarray | None:
        """The head pose that cameras are placed by; None where none is needed."""
        if track.head_pose is not None:
            return np.asarray(track.head_pose[0], np.float64)
        return None if self._capture is None else self._pose_of_capture()

    def _pose_of_capture(self) -> np.ndarray:
        """Of the neutral frame."""
        archives = self._captures.archives
        try:
            return reading.head_pose(archives, self._capture, reading.neutral_frame(archives, self._capture))
        except reading.Unreadable as e:
            raise ValueError(str(e)) from e

    def _start(self, pose: np.ndarray | None) -> Cameras:
        """The camera that is looked through, without leading axes."""
        every = self._avatar.portrait(*self.size) if self.camera is None else self._of_rig([self.camera], pose)
        return Cameras(*(np.asarray(value)[0] for value in every))

    def _of_rig(self, ids: Sequence[str], pose: np.ndarray) -> Cameras:
        """Cameras of the capture in the space of a head with this pose, leading axis [len(ids)]."""
        capture, scale = self._capture, 1 / self._downsample
        index = [capture.cameras.index(name) for name in ids]
        rotation, position = geometry.head_to_camera(capture.rotation[index], capture.translation[index], pose)
        return Cameras(
            *(x.astype(np.float32) for x in (rotation, position, capture.focal[index] * scale, capture.principal[index] * scale))
        )

    def _keyframes(self, pose: np.ndarray | None) -> keyframes.Path:
        focal = np.asarray(self._avatar.portrait(*self.size).focal)[0]
        return keyframes.read(self._path, keyframes.Setting(self._avatar.middle, focal, *self.size, lambda name: self._named(name, pose)))

    def _named(self, name: str, pose: np.ndarray | None) -> Cameras:
        """A keyframe's camera."""
        if self._capture is None:
            raise ValueError(f"camera {name}: cameras are captures': none is at hand; give --data=FOLDER")
        pick("camera", name, self._capture.cameras)
        every = self._of_rig([name], self._pose_of_capture() if pose is None else pose)
        return Cameras(*(np.asarray(value, np.float64)[0] for value in every))
