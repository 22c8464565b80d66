"""What is to be packed, and how: decided once, kept in files, so that a second run, and other machines, go on with the same.

<root>/packed.json                    format, settings, crop, names of the captures
<root>/<capture>/packing/plan.json    `Plan`, while the capture is being packed
"""

import dataclasses
import json
import pathlib
from typing import Any

import numpy as np

from ava_jax.captures.ava256 import Capture
from ava_jax.captures.packed import index
from ava_jax.data import files

KINDS = ("frame", "image", "segmentation")
_OF_A_FRAME = ("head_pose/head_pose", "kinematic_tracking/registration_vertices", "uv_image/color", "keypoints_3d/keypoints_3d")
_OF_A_CAMERA = {"image": "image", "segmentation": "segmentation_parts"}  # kind -> folder below decoder/
CROPS = ("", "head")


@dataclasses.dataclass(frozen=True)
class Settings:
    """What is made of images. All zeros: they are kept as they are, byte for byte.

    Attributes:
      downsample: images are the sensor (4096 x 2668) over this; 0: as they are.
      quality: of AVIF, 1 to 100, where images are encoded anew; 0: they are not, unless they are resized or cropped: 85.
      crop: "" or "head".
      margin: on each side of the head, a fraction of what it covers.
    """

    downsample: int = 0
    quality: int = 0
    crop: str = ""
    margin: float = 0.1

    def __post_init__(self) -> None:
        """Checks.

        Raises:
          ValueError: a value is out of range; the message names its flag.
        """
        if self.downsample < 0:
            raise ValueError(f"--downsample must be 1 or more, or 0 to keep images as they are; got {self.downsample}.")
        if not 0 <= self.quality <= 100:
            raise ValueError(f"--quality must be from 1 to 100, or 0; got {self.quality}.")
        if self.crop not in CROPS:
            raise ValueError(f"--crop must be head, or nothing; got {self.crop!r}.")
        if not 0 <= self.margin <= 2:
            raise ValueError(f"--margin must be from 0 to 2, a fraction of the head's size; got {self.margin:g}.")

    @property
    def encodes(self) -> bool:
        """Whether images are encoded anew."""
        return bool(self.downsample or self.quality or self.crop)


def downsample_of(height: int, sensor: tuple[int, int]) -> int:
    """The downsample at which images of a sensor have a height.

    Raises:
      ValueError: there is none; the message gives the nearest heights.
    """
    if not 1 <= height <= sensor[0]:
        raise ValueError(f"--height must be from 1 to {sensor[0]}, the sensor's; got {height}.")
    least = sensor[0] // height
    if sensor[0] // least != height:
        near = f"{sensor[0] // (least + 1)} or {sensor[0] // least}"
        raise ValueError(f"--height must be the sensor's {sensor[0]} over a whole number; got {height}, the nearest are {near}.")
    return least


@dataclasses.dataclass(frozen=True)
class Plan:
    """How one capture is packed.

    Attributes:
      source: its folder, of zips or packed.
      settings: of the whole set.
      fingerprint: of the source's files: sizes by name.
      streams: names by kind, those that are there, sorted.
      shards: by kind, (first, last) indices of frames, so many each.
      crops: by camera, (left, top) in pixels of the stored images; {}: none.
      size: (height, width) of stored images where they are encoded anew; after cropping `crop_size`.
      crop_size: (height, width); (0, 0): none.
      scale: pixels of the sensor per pixel of a stored image, where they are encoded anew.
    """

    source: str
    settings: Settings
    fingerprint: dict[str, int]
    streams: dict[str, tuple[str, ...]]
    shards: dict[str, tuple[tuple[int, int], ...]]
    crops: dict[str, tuple[int, int]] = dataclasses.field(default_factory=dict)
    size: tuple[int, int] = (0, 0)
    crop_size: tuple[int, int] = (0, 0)
    scale: int = 0

    def nominal(self, kind: str, shard: int) -> int:
        """About how many bytes of the source a shard is made of: its part of the zips."""
        total = sum(self.fingerprint[stream] for stream in self.streams[kind])
        (first, last), frames = self.shards[kind][shard], self.shards[kind][-1][1]
        return total * (last - first) // max(frames, 1)


def load(folder: pathlib.Path) -> Plan:
    """The plan of the capture that is packed to `folder`.

    Raises:
      ValueError: it is not there, or damaged.
    """
    path = folder / index.PACKING / "plan.json"
    try:
        tree = json.loads(path.read_text())
        tree["settings"] = Settings(**tree["settings"])
        for name in ("streams", "shards"):
            tree[name] = {kind: tuple(tuple(x) if isinstance(x, list) else x for x in values) for kind, values in tree[name].items()}
        tree["crops"] = {camera: tuple(corner) for camera, corner in tree["crops"].items()}
        return Plan(**tree | {name: tuple(tree[name]) for name in ("size", "crop_size")})
    except (OSError, ValueError, TypeError, KeyError) as e:
        raise ValueError(f"{path}: cannot be read ({e}); remove {folder} and pack again.") from e


def save(folder: pathlib.Path, plan: Plan) -> None:
    """Keeps it in `folder`."""
    (folder / index.PACKING).mkdir(parents=True, exist_ok=True)
    files.replace(folder / index.PACKING / "plan.json", json.dumps(dataclasses.asdict(plan), indent=1))


def make(capture: Capture, settings: Settings, shard_bytes: int) -> Plan:
    """The plan of a capture, without its crops.

    Args:
      capture: whose zips, or packed streams, are there.
      settings: of the whole set.
      shard_bytes: about how large a shard is, of the source's bytes.

    Raises:
      ValueError: as `index.find`.
    """
    folder = capture.decoder.parent
    packed = index.find(folder)
    have = {name for names in packed.streams.values() for name in names} if packed else set()
    streams: dict[str, tuple[str, ...]] = {
        "frame": tuple(s for s in sorted(_OF_A_FRAME) if s in have or index.path_of(folder, s).is_file())
    }
    for kind, below in _OF_A_CAMERA.items():
        names = [f"{below}/cam{camera}" for camera in capture.cameras]
        streams[kind] = tuple(s for s in names if s in have or index.path_of(folder, s).is_file())
    sizes = _sizes(folder, streams, packed is not None)
    frames = len(np.unique(capture.frames))
    shards = {}
    for kind in KINDS:
        total = sum(sizes[stream] for stream in streams[kind])
        count = min(max(-(-total // shard_bytes), 1), max(frames, 1))
        edges = [frames * i // count for i in range(count + 1)]
        shards[kind] = tuple(zip(edges, edges[1:]))
    small = (capture.calibration, capture.decoder / "frame_list.csv")
    sizes |= {path.name: path.stat().st_size for path in small}
    return Plan(source=str(folder), settings=settings, fingerprint=sizes, streams=streams, shards=shards)


def _sizes(folder: pathlib.Path, streams: dict[str, tuple[str, ...]], packed: bool) -> dict[str, int]:
    """Bytes of each stream: the zip's; of a packed capture, an equal part of its kind's shards."""
    sizes = {}
    for kind, names in streams.items():
        total = sum(p.stat().st_size for p in (folder / index.RECORDS).glob(f"{kind}-*")) if packed else 0
        for name in names:
            sizes[name] = total // len(names) if packed else index.path_of(folder, name).stat().st_size
    return sizes


def read_set(out: pathlib.Path) -> dict[str, Any] | None:
    """What `<out>/packed.json` says; None where nothing was packed to `out`, a folder that is not there, or is empty.

    Raises:
      ValueError: something else is there.
    """
    path = out / index.FILE
    if path.is_file():
        try:
            found = json.loads(path.read_text())
            if not isinstance(found, dict) or found.get("format") != index.FORMAT:
                raise ValueError("not of this format")
            return found
        except ValueError as e:
            raise ValueError(f"{path}: cannot be read ({e}); take another --out.") from e
    if out.exists() and (not out.is_dir() or any(not p.name.startswith(".") for p in out.iterdir())):
        raise ValueError(f"{out}: is there already, and nothing that ava pack wrote; --out must be a new folder.")
    return None


def write_set(out: pathlib.Path, settings: Settings, captures: list[str], crop: dict[str, int] | None) -> None:
    """Writes `<out>/packed.json`; `crop` as `crop.decide` gives it."""
    content = {"format": index.FORMAT, "settings": dataclasses.asdict(settings), "captures": sorted(captures), "crop": crop}
    files.replace(out / index.FILE, json.dumps(content, indent=1) + "\n")
