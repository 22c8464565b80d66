"""What `ava multiface pack` writes, read: a capture whose pictures were decoded once, into arrays that are mapped.

`tasks.multiface.data.packed` writes such a copy and lists its arrays. Here its frames are also given as the files they were made of, for
those who read captures by their files.
"""

import dataclasses
import functools
import json
import pathlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures.multiface import layout, recording
from ava_jax.captures.multiface.recording import Recording
from ava_jax.data import images
from ava_jax.data.frame_files import FrameFiles

FILE, FOLDER = "packed.json", "packed"
FORMAT = "ava_jax multiface packed 1"
_NEEDED = ("numbers", "there", "average", "vertices", "pose", "texture")


class Plan(NamedTuple):
    """What a copy has: `cameras`, their names in the order of the arrays; `downsample` of its photographs, 0 where it has none."""

    cameras: tuple[str, ...]
    downsample: int


def is_one(folder: pathlib.Path) -> bool:
    """Whether a capture of multiface is a packed copy. The shards of `ava pack` have a file of that name too, and no KRT."""
    return isinstance(folder, pathlib.Path) and (folder / FILE).is_file() and recording.is_one(folder)


def read_plan(folder: pathlib.Path) -> Plan:
    """What `packed.json` says.

    Raises:
      ValueError: it cannot be read, or is of another format.
    """
    try:
        plan = json.loads((folder / FILE).read_text())
        if plan["format"] != FORMAT:
            raise ValueError(f"its format is {plan['format']!r}")
        return Plan(tuple(map(str, plan["cameras"])), int(plan["downsample"]))
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ValueError(f"{folder / FILE}: cannot be read ({' '.join(str(e).split())[:120]}); pack the capture again.") from e


def mapped(folder: pathlib.Path, mode: str = "r") -> dict[str, np.ndarray]:
    """The arrays by name: of N frames and C cameras, `image` u8 [N, C, H, W, 3] and so on, as `tasks.multiface.data.packed` lists them.

    Args:
      folder: the copy's.
      mode: as of `np.load`.

    Raises:
      ValueError: one is missing or damaged.
    """
    found = {}
    for path in sorted((folder / FOLDER).glob("*.npy")):
        try:
            found[path.stem] = np.load(path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as e:
            raise ValueError(f"{path}: cannot be read ({' '.join(str(e).split())[:120]}); pack the capture again.") from e
    if missing := [name for name in _NEEDED if name not in found]:
        raise ValueError(f"{folder / FOLDER}: lacks {missing[0]}.npy; pack the capture again.")
    return found


@dataclasses.dataclass(frozen=True)
class PackedRecording(Recording):
    """A packed copy as a recording: what it has of a frame is given as the released file would be.

    Attributes:
      plan: what it has.
      arrays: by name.
    """

    plan: Plan = Plan((), 0)
    arrays: dict[str, np.ndarray] = dataclasses.field(default_factory=dict, repr=False, compare=False)

    @property
    def vertices(self) -> FrameFiles:
        """Meshes."""
        return self._files(super().vertices, "vertices", 0)

    @property
    def head_pose(self) -> FrameFiles:
        """Head poses."""
        return self._files(super().head_pose, "pose", 0)

    def texture(self, camera: str = layout.AVERAGE) -> FrameFiles:
        """What a camera sees of each texel; or the average."""
        files = super().texture(camera)
        if camera == layout.AVERAGE:
            return self._files(files, "average", 0)
        return self._files(files, "texture", 1 + self._at(camera), self._at(camera)) if camera in self.plan.cameras else files

    def image(self, camera: str) -> FrameFiles:
        """A camera's photographs, at the size that they were packed at."""
        files, cameras = super().image(camera), self.plan.cameras
        if "image" not in self.arrays or camera not in cameras:
            return files
        return self._files(files, "image", 1 + len(cameras) + self._at(camera), self._at(camera))

    def cameras_in(self, kind: str) -> set[str]:
        """Names of the cameras that were packed; {} where the copy has nothing of that kind, of IMAGES or TEXTURES."""
        return set(self.plan.cameras) if kind == layout.TEXTURES or "image" in self.arrays else set()

    def _at(self, camera: str) -> int:
        return self.plan.cameras.index(camera)

    def _files(self, files: FrameFiles, name: str, column: int, camera: int | None = None) -> "_PackedFiles":
        return _PackedFiles(files.folder, files.below, files.suffix, files.table, self.arrays, name, column, camera)


def load(folder: pathlib.Path, *, judge: bool = True) -> PackedRecording:
    """A packed copy's lists and arrays. Arguments and errors as of `recording.load`, `read_plan` and `mapped`."""
    found = recording.load(folder, judge=judge)
    return PackedRecording(found.folder, found.cameras, found.frames, found.segments, found.table, read_plan(folder), mapped(folder))


@dataclasses.dataclass(frozen=True)
class _PackedFiles(FrameFiles):
    """Files of frames that are kept in arrays.

    Attributes:
      arrays: of the copy.
      name: of the array that has them.
      column: of `there`, which says whether a frame has one.
      camera: index of the camera; None of what all share.
    """

    arrays: dict[str, np.ndarray] = dataclasses.field(repr=False, compare=False)
    name: str
    column: int
    camera: int | None

    @functools.cached_property
    def _rows(self) -> dict[int, int]:
        return {number: i for i, number in enumerate(self.arrays["numbers"].tolist())}

    def has(self, number: int) -> bool:
        """Whether there is a frame's."""
        row = self._rows.get(number)
        return row is not None and bool(self.arrays["there"][row, self.column])

    def there(self, numbers: Sequence[int]) -> np.ndarray:
        """Which frames there are: bool [len(numbers)]."""
        return np.array([self.has(int(number)) for number in numbers], bool)

    def read(self, number: int) -> bytes | None:
        """A frame's file as it was released, or as good: PNG, float32, or text; None where there is none."""
        if not self.has(number):
            return None
        row = self._rows[number]
        values = self.arrays[self.name][row] if self.camera is None else self.arrays[self.name][row, self.camera]
        if self.name == "vertices":
            return np.asarray(values, "<f4").tobytes()
        if self.name == "pose":
            return "\n".join(" ".join(map(repr, line)) for line in values.tolist()).encode()
        turned = values if self.name == "image" else values[::-1]  # rows of textures are kept turned
        return images.encode(np.ascontiguousarray(turned), "png", compress_level=1)
