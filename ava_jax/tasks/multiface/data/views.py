"""Reading samples of one capture by number; `source` says what a sample holds, and makes these."""

import copy
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures.multiface.recording import Recording
from ava_jax.core import cameras as geometry
from ava_jax.core.sampling import thin
from ava_jax.core.types import Assets, Batch
from ava_jax.data.cache import Cache
from ava_jax.data.faults import Faults, FaultySource
from ava_jax.tasks.multiface.data.files import Reader, Unreadable
from ava_jax.tasks.multiface.data.splits import Part


class ViewSource(FaultySource):
    """Random access to the samples of a split; the module's docstring says what one holds. Safe from several threads.

    All views of a frame are neighbours (`core.sampling.Grouped`): its average texture and mesh are decoded once for as many views as are
    read near each other.
    """

    def __init__(
        self,
        found: Recording,
        part: Part,
        assets: Assets,
        reader: Reader,
        *,
        image: bool,
        texture: bool,
        most: int,
        config: ConfigDict,
    ) -> None:
        """Looks up what there is: each folder is listed once.

        Args:
          found: the capture.
          part: frames and cameras.
          assets: of `prepare`.
          reader: of its files, or of a packed copy of them.
          image, texture: whether samples have them.
          most: thins the split to as many; 0 = all.
          config: of the task.
        """
        self._found, self._part, self._reader = found, part, reader
        self._downsample, self._image, self._texture = config.data.get("downsample", 1), image, texture
        rows = {name: i for i, name in enumerate(assets.names["cameras"])}
        same = list(rows) == [camera.name for camera in found.cameras]
        self._rows = [rows[camera.name] if same else -1 for camera in found.cameras]
        segments = {name: i for i, name in enumerate(assets.names["segments"])}
        self._segment = [segments.get(segment, -1) for segment in found.segments.tolist()]
        self._available = self._look_up()
        count = part.count
        self._thinned = thin(count, most, jitter=True) if 0 < most < count else None
        self._faults = Faults(config.data.get("max_unreadable", 0.01))
        threads = max(config.data.get("read_threads", 1), 1)
        shuffle = config.data.get("shuffle", {})
        self._kept = 2 * threads + shuffle.get("window", 1) * shuffle.get("cameras_per_visit", 1)
        self._keep(1)

    def _keep(self, readers: int) -> None:
        self._frames: Cache = Cache(-(-self._kept // readers) + 1, lambda frame: 1)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_frames", "_faults")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state, _faults=None)
        self._keep(1)

    def _look_up(self) -> np.ndarray:
        """Whether each sample's files are there, bool [frames, cameras]."""
        found, part, reader = self._found, self._part, self._reader
        numbers = found.frames[part.frames].tolist()
        views = np.zeros((len(numbers), len(part.cameras)), bool)
        views[:] = reader.there(numbers)[:, None]
        for at, camera in enumerate(part.cameras):
            views[:, at] &= reader.there(numbers, found.cameras[camera].name, texture=self._texture, image=self._image)
        return views

    def __len__(self) -> int:
        return self._part.count if self._thinned is None else len(self._thinned)

    def __repr__(self) -> str:  # names what is read: the pipeline's state keeps it
        return f"ViewSource({self._found.folder.name}, {len(self)} samples)"

    @property
    def available(self) -> int:
        """Samples whose files are all there, before any thinning."""
        return int(self._available.sum())

    @property
    def groups(self) -> list[tuple[int, int]]:
        """All views of a frame are a group; a thinned split has none."""
        return [(len(self), 1)] if self._thinned is not None else [(len(self._part.frames), len(self._part.cameras))]

    @property
    def counts(self) -> dict[str, int]:
        """Samples listed; how many have a file missing; how many of those read so far could not be decoded."""
        there = self._available.ravel() if self._thinned is None else self._available.ravel()[self._thinned]
        return {"listed": len(self), "missing": int((~there).sum()), "unreadable": len(self._faults.samples)}

    def part(self, count: int) -> "ViewSource":
        """The same for one of `count` processes (`core.sampling.Separable`); it is read, and counts nothing."""
        part = copy.copy(self)
        part._faults = None  # its lock cannot be pickled
        part._keep(count)
        return part

    def has(self, index: int) -> bool:
        """Whether a sample's files are there."""
        return bool(self._available[self._locate(index)])

    def read(self, index: int) -> Batch | str | None:
        """A sample; None where a file is missing; where one cannot be decoded, what is wrong."""
        row, column = self._locate(index)
        if not self._available[row, column]:
            return None
        frame, camera = int(self._part.frames[row]), int(self._part.cameras[column])
        try:
            return self._sample(frame, camera)
        except Unreadable as e:
            return str(e)

    def _locate(self, index: int) -> tuple[int, int]:
        """Row and column of a sample."""
        listed = int(index if self._thinned is None else self._thinned[index])
        return divmod(listed, len(self._part.cameras))

    def _sample(self, frame: int, camera: int) -> Batch:
        """Of a frame of the list and a camera of KRT, both by index."""
        found, number = self._found, int(self._found.frames[frame])
        krt, downsample = found.cameras[camera], self._downsample
        average, vertices, pose = self._frames.get(number, lambda: self._reader.shared(number))
        rotation, position = geometry.head_to_camera(krt.extrinsics[:, :3], krt.extrinsics[:, 3], pose)
        sample = {
            "average_texture": average,
            "vertices": vertices,
            "view_direction": (position / np.linalg.norm(position)).astype(np.float32),
            "camera_position": position.astype(np.float32),
            "camera_rotation": rotation.astype(np.float32),
            "camera_translation": (-rotation @ position).astype(np.float32),
            "focal": (krt.k[(0, 1), (0, 1)] / downsample).astype(np.float32),
            "principal": (krt.k[:2, 2] / downsample - 0.5).astype(np.float32),
            "head_pose": pose.astype(np.float32),
            "camera": np.int32(self._rows[camera]),
            "camera_id": np.int32(krt.name),
            "segment": np.int32(self._segment[frame]),
            "frame": np.int32(number),
        }
        if self._texture:
            sample["texture"] = self._reader.texture(number, krt.name)
        if self._image:
            sample["image"] = self._reader.image(number, krt.name)
        return sample
