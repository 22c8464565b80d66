"""Which files of a capture are there: a row for each zip, or what stands in its stead, and a column for each frame of the list."""

import concurrent.futures
import pathlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures.ava256 import Capture
from ava_jax.captures.multiface.as_ava256 import MultifaceCapture
from ava_jax.captures.packed import index
from ava_jax.data.archive import Archives
from ava_jax.data.frame_files import FrameFiles

ABSENT, THERE, UNREADABLE = 0, 1, 2
NAMES = ("absent", "there", "unreadable")  # of these three
SURFACES = {"head pose": "head_pose", "mesh": "vertices", "texture": "texture"}  # kind -> attribute of a Capture


class Row(NamedTuple):
    """A zip of a capture, or the packed stream or the folders of files in its stead.

    Attributes:
      kind: "head pose", "mesh", "texture", "keypoints", "image", "segmentation" or, of multiface, "view texture".
      camera: its id; "" of files that all cameras share.
      path: of the zip, or what stands for it.
      fault: why nothing of it can be read; "" where it can, or where it is not there.
      exists: whether it is there at all.
    """

    kind: str
    camera: str
    path: pathlib.Path | FrameFiles
    fault: str = ""
    exists: bool = True

    @property
    def name(self) -> str:
        """In words, as in "image of camera 400029"."""
        return f"{self.kind} of camera {self.camera}" if self.camera else self.kind


class Coverage:
    """What is there.

    Attributes:
      capture: whose.
      rows: R of them: what all cameras share, then images, then segmentations, camera by camera.
      state: u8 [R, N]: ABSENT, THERE or UNREADABLE, by row and frame of the list.
    """

    def __init__(self, capture: Capture, rows: Sequence[Row], state: np.ndarray) -> None:
        """Takes what `look` found.

        Args:
          capture: whose.
          rows: R of them.
          state: u8 [R, N].
        """
        self.capture, self.rows, self.state = capture, tuple(rows), state
        self._at = {(row.kind, row.camera): i for i, row in enumerate(self.rows)}

    def row(self, kind: str, camera: str = "") -> int | None:
        """Index of a row; None where the capture has none of that kind."""
        return self._at.get((kind, camera))

    def of(self, kind: str, camera: str = "") -> np.ndarray:
        """State of a row, u8 [N]; all ABSENT where the capture has none of that kind."""
        at = self.row(kind, camera)
        return np.zeros(len(self.capture.frames), np.uint8) if at is None else self.state[at]

    def has(self, kind: str, camera: str, frame: int) -> bool:
        """Whether a frame, by id, is there and was not found unreadable."""
        return bool((self.of(kind, camera)[self.capture.frames == frame] == THERE).any())

    def mark(self, kind: str, camera: str, frame: int) -> None:
        """Notes that a frame, by id, cannot be read."""
        at = self.row(kind, camera)
        if at is not None:
            self.state[at, self.capture.frames == frame] = UNREADABLE

    def kinds(self) -> dict[str, np.ndarray]:
        """State of the rows of each kind, u8 [R', N], in order."""
        return {kind: self.state[[row.kind == kind for row in self.rows]] for kind in dict.fromkeys(row.kind for row in self.rows)}

    def count(self, kind: str) -> dict[str, int]:
        """How many files of a kind are there, absent, unreadable."""
        values = self.kinds().get(kind, np.zeros((0, 0), np.uint8))
        return {name: int((values == value).sum()) for value, name in enumerate(NAMES)}


def look(archives: Archives, capture: Capture, *, threads: int) -> Coverage:
    """Looks up what is there, in the zips' directories.

    Args:
      archives: the capture's zips.
      capture: whose; of all its cameras.
      threads: that read directories.
    """
    rows = [Row(kind, "", getattr(capture, name)) for kind, name in SURFACES.items()]
    rows += [Row("keypoints", "", capture.keypoints)] * capture.has_keypoints
    by_camera: dict[str, Callable[[str], pathlib.Path | FrameFiles]] = {"image": capture.image}
    if isinstance(capture, MultifaceCapture):
        by_camera["view texture"] = capture.small.texture
    if capture.has_segmentation:
        by_camera["segmentation"] = capture.segmentation
    rows += [Row(kind, camera, path(camera)) for kind, path in by_camera.items() for camera in capture.cameras]
    numbers, column = np.unique(capture.frames, return_inverse=True)

    def one(row: Row) -> tuple[Row, np.ndarray]:
        try:
            if not isinstance(row.path, FrameFiles) and not index.has_stream(row.path):
                return row._replace(exists=False), np.full(len(column), ABSENT, np.uint8)
            there = archives.index([row.path], numbers, threads=1)[0]
        except ValueError as e:
            fault = str(e).removeprefix(f"{row.path}: ")
            return row._replace(fault=fault), np.full(len(column), UNREADABLE, np.uint8)
        return row._replace(exists=not isinstance(row.path, FrameFiles) or bool(there.any())), there[column].astype(np.uint8)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(one, rows))
    # These are no part of every capture: rows of what it has none of would say nothing.
    optional = ("keypoints", "segmentation", "view texture")
    kept = {kind for kind in dict.fromkeys(row.kind for row in rows) if kind not in optional}
    kept |= {row.kind for row, _ in found if row.exists}
    found = [(row, state) for row, state in found if row.kind in kept]
    return Coverage(capture, [row for row, _ in found], np.stack([state for _, state in found]))


def ranges(frames: np.ndarray, listed: np.ndarray) -> str:
    """Frame ids in words: "1003 to 1030, 1060"; those that follow each other in the list are one range.

    Args:
      frames: int [M], of the list.
      listed: int [N], ids in the order of the list.
    """
    order = {int(frame): i for i, frame in enumerate(np.unique(listed))}
    parts: list[list[int]] = []
    for frame in sorted({int(frame) for frame in frames}):
        if parts and order[frame] == order[parts[-1][-1]] + 1:
            parts[-1].append(frame)
        else:
            parts.append([frame])
    return ", ".join(str(part[0]) if len(part) == 1 else f"{part[0]} to {part[-1]}" for part in parts)
