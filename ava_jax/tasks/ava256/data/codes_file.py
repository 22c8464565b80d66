"""Expression codes of a sequence of frames as a file: npz, or CSV for other programs. `ava ava256 encode` writes them.

  codes f32 [F, 4, 4, 16]; capture str [F], the capture's folder; segment str [F]; frame int64 [F], the frame's number on disk;
  head_pose f32 [F, 3, 4], head to world, mm, of files that have it; model f32 [16], by which the model that made them is known again,
  of npz files that have it.

A CSV has the columns capture, segment, frame, then code_0 ... code_255 (row, column, channel, the channel fastest), then, of files that
have it, head_0 ... head_11 (the pose's rows one after the other). All but the codes may be missing in files that other programs wrote:
capture and segment are "" then, and frame counts from 0.
"""

import csv
import io
import pathlib
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ava_jax.core.names import near
from ava_jax.data import files
from ava_jax.tasks.ava256.model.sizes import CODE_CHANNELS, CODE_SIDE

CODE = (CODE_SIDE, CODE_SIDE, CODE_CHANNELS)
SUFFIXES = (".npz", ".csv")
_POSE = (3, 4)
_WORDS = ("capture", "segment", "frame")


class Codes(NamedTuple):
    """Expression codes of F frames.

    Attributes:
      codes: f32 [F, 4, 4, 16].
      capture: str [F], the folder's name of the capture that each is of.
      segment: str [F].
      frame: int64 [F], its number on disk.
      head_pose: f32 [F, 3, 4], head to world, mm; None where it is not known.
      model: f32 [16], what the model that made the codes makes of noise (`apps.encoding.probe`); None where it is not known.
    """

    codes: np.ndarray
    capture: np.ndarray
    segment: np.ndarray
    frame: np.ndarray
    head_pose: np.ndarray | None = None
    model: np.ndarray | None = None

    def at(self, frames: Any) -> "Codes":
        """Some of the frames: indices, a slice or a mask."""
        return Codes(*(None if part is None else part[frames] for part in self[:-1]), self.model)


def of(codes: Any, capture: Any = None, segment: Any = None, frame: Any = None, head_pose: Any = None, model: Any = None) -> Codes:
    """Codes of arrays in the file's types, checked; what is None is "", or counts from 0.

    Raises:
      ValueError: a shape does not fit, or a number is not finite.
    """
    codes = np.asarray(codes, np.float32)
    if codes.ndim != 4 or codes.shape[1:] != CODE or not len(codes):
        raise ValueError(f"codes must be [F, {', '.join(map(str, CODE))}] of at least one frame; got {list(codes.shape)}.")
    count = len(codes)
    words = [np.full(count, "") if one is None else np.asarray(one, str) for one in (capture, segment)]
    frame = np.arange(count) if frame is None else np.asarray(frame, np.int64)
    pose = None if head_pose is None else np.asarray(head_pose, np.float32)
    expected = [("capture", words[0], ()), ("segment", words[1], ()), ("frame", frame, ())]
    for name, array, shape in [*expected, *([] if pose is None else [("head_pose", pose, _POSE)])]:
        if array.shape != (count, *shape):
            raise ValueError(f"{name} must be {[count, *shape]} as there are {count} codes; got {list(array.shape)}.")
    for name, array in (("codes", codes), ("head_pose", pose)):
        if array is not None and not np.isfinite(array).all():
            bad = int(np.flatnonzero(~np.isfinite(array).reshape(count, -1).all(1))[0])
            raise ValueError(f"{name}: not all numbers of row {bad} (from 0) are finite.")
    model = None if model is None else np.asarray(model, np.float32)
    if model is not None and model.shape != (CODE_CHANNELS,):
        raise ValueError(f"model must be [{CODE_CHANNELS}]; got {list(model.shape)}.")
    return Codes(codes, *words, frame, pose, model)


def write(path: str | pathlib.Path, codes: Codes) -> pathlib.Path:
    """Writes npz or CSV, by the name's end, whole or not at all; folders are made.

    Raises:
      ValueError: the name ends in neither, or arrays do not fit together.
      OSError: it cannot be written.
    """
    path = pathlib.Path(path).expanduser()
    suffix, codes = kind(path), of(*codes)
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.writing(path) as file:
        if suffix == ".npz":
            np.savez(file, **{name: array for name, array in codes._asdict().items() if array is not None})
        else:
            file.write(_to_csv(codes).encode())
    return path


def read(path: str | pathlib.Path) -> Codes:
    """Reads npz or CSV, by the name's end.

    Raises:
      ValueError: it is neither, is damaged, or has no codes of this shape; the message names the file.
      OSError: it cannot be read.
    """
    path = pathlib.Path(path).expanduser()
    suffix = kind(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file of expression codes; ava ava256 encode writes them.")
    try:
        parts = _npz(path) if suffix == ".npz" else _csv(path.read_text(encoding="utf-8-sig"))  # spreadsheets begin with a mark
        return of(**parts)
    except (ValueError, KeyError, zipfile.BadZipFile, zlib.error, EOFError) as e:
        raise ValueError(f"{path}: not a file of expression codes: {e}") from e


def kind(path: str | pathlib.Path) -> str:
    """The end of its name, .npz or .csv.

    Raises:
      ValueError: the name has another end.
    """
    suffix = pathlib.Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{path}: files of expression codes end in {' or '.join(SUFFIXES)}.")
    return suffix


def _npz(path: pathlib.Path) -> Mapping[str, np.ndarray]:
    if not zipfile.is_zipfile(path):  # of what is none, NumPy says that it might be loaded unsafely
        raise ValueError("it is no npz, or a damaged one; ava ava256 encode writes them")
    with np.load(path, allow_pickle=False) as archive:
        if not hasattr(archive, "files") or "codes" not in archive.files:
            raise ValueError(f"it has no array `codes` but {', '.join(archive.files) or 'none'}")
        return {name: archive[name] for name in Codes._fields if name in archive.files}


def _to_csv(codes: Codes) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    pose = [] if codes.head_pose is None else [f"head_{i}" for i in range(np.prod(_POSE))]
    writer.writerow([*_WORDS, *(f"code_{i}" for i in range(np.prod(CODE))), *pose])
    for i, code in enumerate(codes.codes):
        numbers = [code.reshape(-1), *([] if codes.head_pose is None else [codes.head_pose[i].reshape(-1)])]
        # str of a float32 is the shortest text that reads back as the same number.
        writer.writerow([codes.capture[i], codes.segment[i], codes.frame[i], *map(str, np.concatenate(numbers))])
    return text.getvalue()


def _csv(text: str) -> Mapping[str, Any]:
    header, *rows = [row for row in csv.reader(io.StringIO(text)) if row] or [[]]
    at = {name.strip(): i for i, name in enumerate(header)}
    for i, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise ValueError(f"row {i} has {len(row)} cells, the header {len(header)}")

    def numbers(stem: str, shape: tuple[int, ...]) -> np.ndarray:
        columns = [f"{stem}_{i}" for i in range(np.prod(shape))]
        if missing := [name for name in columns if name not in at]:
            nearest = ", ".join(near(missing[0], at)) or "none"
            raise ValueError(f"{len(missing)} columns are missing, the first is {missing[0]}; the nearest are {nearest}")
        return np.array([[float(row[at[name]]) for name in columns] for row in rows], np.float32).reshape(-1, *shape)

    parts: dict[str, Any] = {"codes": numbers("code", CODE)}
    parts |= {name: [row[at[name]] for row in rows] for name in _WORDS if name in at}
    if "frame" in parts:
        parts["frame"] = [int(one) for one in parts["frame"]]
    return parts | ({"head_pose": numbers("head", _POSE)} if "head_0" in at else {})
