"""Where each record of a packed capture is: `packed.json` and `index.npz` in the capture's folder, written when all else is.

  <root>/packed.json                  how the set was packed (`plan`)
  <root>/<capture>/packed.json        format, sensor, crops, streams by kind, shards by kind
  <root>/<capture>/index.npz          frames int32 [N], sorted; for each kind, bits u8 [N, ceil(S / 8)]: which of its S streams have a frame
  <root>/<capture>/records/<kind>-00003-of-00012.arrayrecord
  <root>/<capture>/decoder/...        calibration, frame list, statistics: the small files, as in any capture

A kind's records are in order: frame by frame, and within a frame stream by stream. So a record's number is a count of bits, and a sample
costs a bit to know of. Readers ask by the paths of the zips, `decoder/image/cam400029.zip`, which name streams whether there is a zip
or a record.
"""

import bisect
import functools
import json
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

FILE, BITS, RECORDS, PACKING = "packed.json", "index.npz", "records", "packing"
FORMAT = 1
_ZIP = ".zip"
_OF_ZIPS = (zipfile.BadZipFile, NotImplementedError, zlib.error)  # what NumPy passes on of an npz that is damaged


def capture_of(path: pathlib.Path) -> pathlib.Path:
    """The folder of the capture that a zip's path is of, `<capture>/decoder/<kind>/<name>.zip`."""
    return path.parents[2]


def stream_of(path: pathlib.Path) -> str:
    """A stream's name, of the path of a zip: `image/cam400029`."""
    return f"{path.parent.name}/{path.name.removesuffix(_ZIP)}"


def path_of(folder: pathlib.Path, stream: str) -> pathlib.Path:
    """The path of the zip that a stream of a capture, at `folder`, is named by."""
    return folder / "decoder" / (stream + _ZIP)


def shard_name(kind: str, number: int, count: int) -> str:
    """File name of a shard."""
    return f"{kind}-{number:05d}-of-{count:05d}.arrayrecord"


class CaptureIndex:
    """The streams of one packed capture, and where their records are. Nothing in it changes: threads may use it.

    Attributes:
      folder: the capture's.
      sensor: height and width, pixels, that the calibration's numbers refer to.
      cropped: whether images show a part of the sensor.
      streams: names, by kind.
      frames: int32 [N], sorted.
    """

    def __init__(self, folder: pathlib.Path, manifest: Mapping[str, Any], frames: np.ndarray, bits: Mapping[str, np.ndarray]) -> None:
        """Takes what the two files hold.

        Args:
          folder: the capture's.
          manifest: content of `packed.json`.
          frames: int32 [N].
          bits: by kind, u8 [N, ceil(S / 8)].
        """
        self.folder, self.frames = folder, frames
        self.sensor = (int(manifest["sensor"][0]), int(manifest["sensor"][1]))
        self.cropped = bool(manifest["cropped"])
        self.streams: dict[str, tuple[str, ...]] = {kind: tuple(names) for kind, names in manifest["streams"].items()}
        self._bits = dict(bits)
        counts = {kind: np.bitwise_count(rows).sum(1, dtype=np.int32) for kind, rows in bits.items()}
        self._starts = {
            kind: np.concatenate([[0], np.cumsum(count)]).astype(np.int32) for kind, count in counts.items()
        }  # [N + 1]: records before a frame
        self._shards = {kind: [int(shard["first"]) for shard in shards] for kind, shards in manifest["shards"].items()}
        self._at = {name: (kind, i) for kind, names in self.streams.items() for i, name in enumerate(names)}

    def __contains__(self, stream: str) -> bool:
        return stream in self._at

    def counts(self, kind: str) -> np.ndarray:
        """How many streams of a kind have each frame, int32 [N]."""
        return np.diff(self._starts[kind])

    def there(self, stream: str, numbers: np.ndarray) -> np.ndarray:
        """Which frames of `numbers`, int32 [M], a stream has: bool [M]."""
        kind, which = self._at[stream]
        if not len(self.frames):
            return np.zeros(len(numbers), bool)
        at = np.minimum(np.searchsorted(self.frames, numbers), len(self.frames) - 1)
        bits = self._bits[kind][at, which // 8] & (128 >> which % 8)
        return (bits != 0) & (self.frames[at] == numbers)

    def find(self, stream: str, number: int) -> tuple[pathlib.Path, int] | None:
        """(shard, position in it) of a frame's record; None where the stream lacks the frame."""
        kind, which = self._at[stream]
        at = int(np.searchsorted(self.frames, number))
        if at == len(self.frames) or self.frames[at] != number:
            return None
        row, byte = self._bits[kind][at], which // 8
        if not row[byte] & (128 >> which % 8):
            return None
        before = int.from_bytes(row[: byte + 1].tobytes(), "big") >> (8 - which % 8)  # the bits of the streams before this one
        starts, shards = self._starts[kind], self._shards[kind]
        shard = bisect.bisect_right(shards, at) - 1
        position = int(starts[at]) - int(starts[shards[shard]]) + before.bit_count()
        return self.folder / RECORDS / shard_name(kind, shard, len(shards)), position


def find(folder: pathlib.Path) -> CaptureIndex | None:
    """The index of the capture at `folder`; None where that is not a packed one, or not on a file system: packed ones are read from disks.

    Raises:
      ValueError: it was not packed to its end, by a newer version, or its index is damaged.
    """
    if not isinstance(folder, pathlib.Path):
        return None
    try:
        changed = (folder / FILE).stat().st_mtime_ns
    except OSError:
        if (folder / PACKING).is_dir():
            raise ValueError(f"{folder}: was not packed to its end; run the same ava pack again, which goes on.") from None
        return None
    return _load(folder, changed)


@functools.lru_cache(1024)
def _load(folder: pathlib.Path, changed: int) -> CaptureIndex:
    """Reads it; `changed` makes one that was packed anew another one."""
    del changed
    try:
        manifest = json.loads((folder / FILE).read_text())
        if manifest.get("format") != FORMAT:
            raise ValueError(f"of format {manifest.get('format')}; this version reads {FORMAT}")
        with np.load(folder / BITS, allow_pickle=False) as arrays:
            frames, bits = arrays["frames"], {kind: arrays[kind] for kind in manifest["streams"]}
        _require_sound(manifest, frames, bits)
        return CaptureIndex(folder, manifest, frames, bits)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, RecursionError, *_OF_ZIPS) as e:
        raise ValueError(f"{folder}: its packed index cannot be read ({' '.join(str(e).split())[:160]}); pack it again.") from e


def _require_sound(manifest: Mapping[str, Any], frames: np.ndarray, bits: Mapping[str, np.ndarray]) -> None:
    """Holds the two files against each other.

    Raises:
      ValueError: they are not of one packing, or damaged.
    """
    sound = frames.dtype == np.int32 and frames.ndim == 1 and bool((np.diff(frames.astype(np.int64)) > 0).all())
    for kind, rows in bits.items():
        names, firsts = manifest["streams"][kind], [int(shard["first"]) for shard in manifest["shards"][kind]]
        sound &= rows.dtype == np.uint8 and rows.shape == (len(frames), -(-len(names) // 8))
        sound &= all(isinstance(name, str) and name.count("/") == 1 for name in names)
        # The bits beyond the last stream are none.
        sound &= not len(names) % 8 or not (rows[:, -1] & (255 >> len(names) % 8)).any()
        sound &= firsts[:1] == [0] and firsts == sorted(firsts) and firsts[-1] <= len(frames)
        sound &= all(int(shard[what]) >= 0 for shard in manifest["shards"][kind] for what in ("bytes", "records"))
    sensor = [int(side) for side in manifest["sensor"]]
    if not sound or len(sensor) != 2 or min(sensor) < 1:
        raise ValueError(f"{BITS} and {FILE} are not of one packing")


def has_stream(path: pathlib.Path) -> bool:
    """Whether the zip at `path`, of a capture, is there as a file or as a packed stream. Raises as `find`."""
    if path.is_file():
        return True
    if not isinstance(path, pathlib.Path):
        return False
    found = find(capture_of(path))
    return found is not None and stream_of(path) in found


def cameras_with_images(folder: pathlib.Path) -> set[str]:
    """Ids of the cameras that a capture's folder has images of, in zips or packed; {} where it has none. Raises as `find`."""
    found = find(folder)
    if found is not None:
        return {name.rpartition("/cam")[2] for name in found.streams.get("image", ())}
    return {path.stem.removeprefix("cam") for path in (folder / "decoder" / "image").glob("cam*.zip")}


def begun(root: pathlib.Path) -> set[str]:
    """Names of the captures that `<root>/packed.json` lists, whether they are packed by now or not; {} of a folder that has none.

    Raises:
      ValueError: it cannot be read.
    """
    if not isinstance(root, pathlib.Path):
        return set()
    path = root / FILE
    try:
        return set(json.loads(path.read_text())["captures"]) if path.is_file() else set()
    except (OSError, ValueError, KeyError, TypeError) as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
