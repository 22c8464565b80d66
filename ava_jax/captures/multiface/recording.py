"""A capture of multiface, `m--DATE--TIME--ID--GHS/`: its small files parsed once, and where the files of its frames are.

| path | what |
|---|---|
| `KRT`, `frame_list.txt` | cameras; `SEGMENT FRAME` per line |
| `images/SEGMENT/CAMERA/FRAME.png` | photographs |
| `unwrapped_uv_1024/SEGMENT/{CAMERA,average}/FRAME.png` | what a camera sees of each texel, and the average; 0 where nothing is seen |
| `tracked_mesh/SEGMENT/FRAME.bin`, `FRAME_transform.txt`, `FRAME.obj` | vertices, head pose; faces and UVs |
| `tex_mean.png`, `tex_var.txt`, `vert_mean.bin`, `vert_var.txt` | statistics |
"""

import dataclasses
import pathlib
import sys

import numpy as np

from ava_jax.captures.multiface import files, layout
from ava_jax.captures.multiface.files import KrtCamera
from ava_jax.core.cameras import rotation_fault
from ava_jax.data import text_files
from ava_jax.data.frame_files import FrameFiles, FrameTable

_MOST_FRAME = 2**31 - 1


@dataclasses.dataclass(frozen=True)
class Recording:
    """The small files of a capture.

    Attributes:
      folder: the capture's.
      cameras: of KRT, in its order: K of them.
      frames: int32 [N], frame ids in the order of the frame list.
      segments: [N], segment of each: an object array, in which equal names are one string.
      table: where frames' files lie.
    """

    folder: pathlib.Path
    cameras: tuple[KrtCamera, ...]
    frames: np.ndarray
    segments: np.ndarray
    table: FrameTable = dataclasses.field(repr=False, compare=False)

    @property
    def identity(self) -> str:
        """The subject's id, the second last part of the folder's name."""
        parts = self.folder.name.split("--")
        return parts[-2] if len(parts) > 2 else self.folder.name

    @property
    def vertices(self) -> FrameFiles:
        """Meshes."""
        return FrameFiles(self.folder / layout.MESHES, "", ".bin", self.table)

    @property
    def head_pose(self) -> FrameFiles:
        """Head poses."""
        return FrameFiles(self.folder / layout.MESHES, "", "_transform.txt", self.table)

    def texture(self, camera: str = layout.AVERAGE) -> FrameFiles:
        """What a camera sees of each texel; or the average."""
        return FrameFiles(self.folder / layout.TEXTURES, f"{camera}/", ".png", self.table)

    def image(self, camera: str) -> FrameFiles:
        """A camera's photographs."""
        return FrameFiles(self.folder / layout.IMAGES, f"{camera}/", ".png", self.table)

    def cameras_in(self, kind: str) -> set[str]:
        """Names of the cameras that have a folder in the first segment that has any, of IMAGES or TEXTURES."""
        for segment in dict.fromkeys(self.segments.tolist()):
            folder = self.folder / kind / segment
            if folder.is_dir() and (found := {path.name for path in folder.iterdir() if path.is_dir()} - {layout.AVERAGE}):
                return found
        return set()

    def topology(self) -> pathlib.Path | None:
        """The first OBJ beside a mesh, which gives faces and UVs; None where there is none."""
        for segment in dict.fromkeys(self.segments.tolist()):
            folder = self.folder / layout.MESHES / segment
            if found := next(iter(sorted(folder.glob("*.obj"))), None):
                return found
        return None


def is_one(folder: pathlib.Path) -> bool:
    """Whether a folder is a capture of multiface, by its two lists."""
    return isinstance(folder, pathlib.Path) and (folder / layout.KRT).is_file() and (folder / layout.FRAME_LIST).is_file()


def find(root: pathlib.Path) -> list[pathlib.Path]:
    """Captures of multiface at a path: itself, or those below it, sorted by name."""
    if is_one(root):
        return [root]
    return sorted(path for path in root.glob(layout.FOLDERS) if is_one(path))


def load(folder: pathlib.Path, *, judge: bool = True) -> Recording:
    """Reads KRT and the frame list.

    Args:
      folder: the capture's.
      judge: whether to refuse what cannot be a pinhole camera's; False takes the numbers as they stand, for a picture of them.

    Raises:
      ValueError: one is missing or malformed, a camera is no pinhole camera, or a frame's number is there twice: files of samples, and
        what is held out, go by numbers alone.
    """
    cameras = files.cameras(folder / layout.KRT)
    for camera in cameras:
        if judge and (fault := files.camera_fault(camera)):
            raise ValueError(f"{folder / layout.KRT}: camera {camera.name[:40]}: {fault}.")
        if not (camera.name.isascii() and camera.name.isdigit() and int(camera.name) <= _MOST_FRAME):
            raise ValueError(f"{folder / layout.KRT}: a camera's name must be a number, as in 400029; got {camera.name[:40]!r}.")
    listed = files.frame_list(folder / layout.FRAME_LIST)
    rows = [(sys.intern(segment), name) for segment, names in listed.items() for name in names]
    seen: dict[int, str] = {}
    for segment, name in rows:
        number = int(name)
        if number > _MOST_FRAME:
            raise ValueError(f"{folder / layout.FRAME_LIST}: a frame must be {_MOST_FRAME} at most; got {segment} {name}.")
        if number in seen:
            raise ValueError(
                f"{folder / layout.FRAME_LIST}: frame {number} is there twice, in {seen[number]} and in {segment}; numbers count through a "
                "recording: leave one of the two out."
            )
        seen[number] = segment
    frames = np.array([int(name) for _, name in rows], np.int32)
    segments = np.array([segment for segment, _ in rows], object)
    order = np.argsort(frames)
    table = FrameTable(frames[order], tuple(rows[i][1] for i in order), tuple(rows[i][0] for i in order))
    return Recording(folder, tuple(cameras), frames, segments, table)


def points(data: bytes) -> np.ndarray:
    """Vertices f32 [V, 3], mm, head space, of a `.bin`.

    Raises:
      ValueError: it has no whole vertices, or they are not finite.
    """
    if len(data) % 12 or not data:
        raise ValueError(f"a mesh must be rows of three float32; it has {len(data)} bytes")
    found = np.frombuffer(data, "<f4").reshape(-1, 3)
    if not np.isfinite(found).all():
        raise ValueError("a mesh must have finite vertices; some are not")
    return found


def pose(data: bytes) -> np.ndarray:
    """Head to world, f64 [3, 4], mm, of a text.

    Raises:
      ValueError: it is no rigid motion.
    """
    found = np.array(text_files.numbers(data), np.float64)
    if found.shape != (12,) or not np.isfinite(found).all():
        raise ValueError(f"a head pose must be 3 x 4 finite numbers; got {found.size}")
    found = found.reshape(3, 4)
    if fault := rotation_fault(found[:, :3]):
        raise ValueError(f"a head pose, 3 x 4 in rows, must begin with a rotation, head to world: {fault}")
    return found


def vertex_mean(path: pathlib.Path) -> np.ndarray:
    """`vert_mean.bin`: f32 [V, 3], mm.

    Raises:
      ValueError: it cannot be read, or is none.
    """
    try:
        return points(path.read_bytes())
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    except ValueError as e:
        raise ValueError(f"{path}: {e}.") from e


def number(path: pathlib.Path) -> float:
    """The one number of a text file, a variance.

    Raises:
      ValueError: it cannot be read, or is none.
    """
    try:
        (found,) = text_files.numbers(path.read_bytes())
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
    except ValueError as e:
        raise ValueError(f"{path}: must hold one number ({e}).") from e
    if not 0 <= found < np.inf:
        raise ValueError(f"{path}: must hold a variance, finite and at least 0; got {found}.")
    return found
