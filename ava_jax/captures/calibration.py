"""`camera_calibration.json`: read, and each camera's K and T held against what a pinhole camera can be.

The file holds both transposed: `K` has the rows [fx, 0, 0], [0, fy, 0], [cx, cy, 1], pixels of the full sensor; `T` the rows of R^T, each
with a 0 at its end, then [t, 1], world to camera, mm. `height` and `width` may give another sensor's size. What passes here may still be
another camera's: `projection` looks at that.
"""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ava_jax.core.cameras import rotation_fault
from ava_jax.data import text_files

_FORM = '{"KRT": [{"cameraId": "400029", "K": [...], "T": [...]}, ...]}'
_ROWS_OF_K = "the rows [fx, 0, 0], [0, fy, 0], [cx, cy, 1]"
_ROWS_OF_T = "the rows of R^T, each with a 0 at its end, then [t, 1], world to camera, mm"
_SMALL = 1e-6  # of the focal length: zeros as programs round them
_MOST_SKEW = 1e-4  # of the focal length: a fraction of a pixel of the full sensor
_PLAINLY = 1e-4  # by which a rotation's rows may miss: a tenth of what `rotation_fault` refuses
_MOST_ID = 2**31 - 1
_SIDES = 1 << 16  # pixels that a sensor's sides are below


class Cameras(NamedTuple):
    """Pinhole cameras, C of them; as `Camera`, with an axis in front.

    Attributes:
      focal, principal: f64 [C, 2]; rotation: f64 [C, 3, 3]; translation: f64 [C, 3].
      distorted: bool [C].
    """

    focal: np.ndarray
    principal: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    distorted: np.ndarray


class Camera(NamedTuple):
    """A pinhole camera.

    Attributes:
      focal, principal: f64 [2], pixels of the full sensor.
      rotation: f64 [3, 3], world to camera; translation: f64 [3], mm.
      distorted: whether the file gives coefficients of a distortion that are not all zero.
    """

    focal: np.ndarray
    principal: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    distorted: bool


def read(path: pathlib.Path) -> dict[str, Mapping[str, Any]]:
    """Entries by camera id, in the order of the file; `camera` makes cameras of them.

    Raises:
      ValueError: the file cannot be read, is no such list, or an id is missing, not a number, or there twice, or lacks K
        or T; the message names it.
    """
    tree = text_files.read_json(path)
    entries = tree.get("KRT") if isinstance(tree, dict) else None
    if not isinstance(entries, list) or not entries or not all(isinstance(entry, dict) for entry in entries):
        raise ValueError(f"{path}: must be {_FORM}.")
    found: dict[str, Mapping[str, Any]] = {}
    for index, entry in enumerate(entries):
        name = str(entry.get("cameraId", "")).strip()
        if not (name.isascii() and name.isdigit() and len(name) < 11 and int(name) <= _MOST_ID):
            raise ValueError(f"{path}: entry {index} of KRT must have a cameraId, a number as in 400029; got {name[:40]!r}.")
        if name in found:
            raise ValueError(f"{path}: camera {name} is there twice (entry {index} of KRT is the second); one must go.")
        for key in ("K", "T"):
            if key not in entry:
                raise ValueError(f"{path}: must be {_FORM}; camera {name} has no {key}.")
        found[name] = entry
    return found


def camera(path: pathlib.Path, name: str, entry: Mapping[str, Any], *, judge: bool = True) -> Camera:
    """The camera of an entry.

    Args:
      path: of the file, for the message.
      name: the camera's id.
      entry: as `read` gives it.
      judge: whether to refuse what cannot be a pinhole camera's; False takes the numbers as they stand, for a picture of them.

    Raises:
      ValueError: it cannot be a pinhole camera's; the message names file, camera and key, and what to do.
    """
    try:
        k, t = _matrix(entry, "K"), _matrix(entry, "T")
        if not judge and k.shape == (3, 3) and t.shape in ((4, 4), (4, 3)):
            return Camera(k[(0, 1), (0, 1)], k[2, :2].copy(), t[:3, :3].T.copy(), t[3, :3].copy(), False)
        focal, principal = _intrinsics(k)
        rotation, translation = _extrinsics(t)
        distortion = _coefficients(entry.get("distortion"))
    except ValueError as e:
        raise ValueError(f"{path}: camera {name}: {e}.") from e
    return Camera(focal, principal, rotation, translation, bool(np.any(distortion)))


def sensor(path: pathlib.Path, entries: Mapping[str, Mapping[str, Any]], default: tuple[int, int]) -> tuple[int, int]:
    """Height and width in pixels that the cameras' K refer to: of their `height` and `width`, which rigs with other sensors give.

    Args:
      path: of the file, for the message.
      entries: of the cameras that are used, by id, as `read` gives them.
      default: of entries that give none.

    Raises:
      ValueError: a size is no pair of whole numbers from 1 to 65535, or cameras differ in it.
    """
    found: dict[tuple[int, int], str] = {}
    for name, entry in entries.items():
        size = tuple(entry.get(key) for key in ("height", "width"))
        if size == (None, None):
            size = default
        if not all(isinstance(side, int) and not isinstance(side, bool) and 0 < side < _SIDES for side in size):
            raise ValueError(
                f"{path}: camera {name}: height and width must both be whole numbers of pixels, or both be left out; got {size}."
            )
        found.setdefault(size, name)
    if len(found) > 1:
        (first, a), (second, b), *_ = found.items()
        raise ValueError(
            f"{path}: cameras must have images of one size; {a} has {first[0]} x {first[1]} and {b} {second[0]} x {second[1]} (height x "
            "width): bring them to one (ava convert does), or leave cameras out (config.data.cameras)."
        )
    return next(iter(found))


def cameras(path: pathlib.Path, names: Sequence[str], entries: Mapping[str, Mapping[str, Any]], *, judge: bool = True) -> Cameras:
    """The cameras of some entries, as `camera` makes them one by one.

    Args:
      path, judge: as of `camera`.
      names: ids, one or more.
      entries: as `read` gives them.

    Raises:
      ValueError: as `camera`.
    """
    found = _plainly_sound([entries[name] for name in names]) if judge else None
    if found is not None:
        return found
    each = [camera(path, name, entries[name], judge=judge) for name in names]
    return Cameras(*(np.stack([one[i] for one in each]) for i in range(4)), np.array([one.distorted for one in each], bool))


def _plainly_sound(entries: Sequence[Mapping[str, Any]]) -> Cameras | None:
    """Cameras of the usual form that are far from every limit, all looked at in one go; None where `camera` must look at each.

    A full data set has 20,000: 0.1 s instead of 2.
    """
    if not all(_without_distortion(entry.get("distortion")) for entry in entries):
        return None
    try:
        k, t = (np.array([entry[key] for entry in entries], np.float64) for key in ("K", "T"))
    except (ValueError, TypeError, OverflowError, RecursionError):  # `camera` says which
        return None
    if k.shape[1:] != (3, 3) or t.shape[1:] != (4, 4) or not (np.isfinite(k).all() and np.isfinite(t).all()):
        return None
    focal, rotation = k[:, (0, 1), (0, 1)], t[:, :3, :3].swapaxes(1, 2).copy()
    zeros = np.concatenate([k[:, (0, 1, 0), (2, 2, 1)], k[:, 1:2, 0], k[:, 2:, 2] - 1, t[:, :, 3] - [0.0, 0.0, 0.0, 1.0]], axis=1)
    off = np.abs(rotation @ rotation.swapaxes(1, 2) - np.eye(3)).max()
    if zeros.any() or focal.min() <= 0 or off > _PLAINLY or np.linalg.det(rotation).min() < 0:
        return None
    return Cameras(focal, k[:, 2, :2].copy(), rotation, t[:, 3, :3].copy(), np.zeros(len(k), bool))


def _without_distortion(value: Any) -> bool:
    """Whether an entry plainly has none: no coefficients, or a list of zeros."""
    return value is None or (isinstance(value, list) and all(type(number) in (int, float) and number == 0 for number in value))


def _matrix(entry: Mapping[str, Any], key: str) -> np.ndarray:
    """The numbers under a key, f64 of any shape."""
    numbers = _numbers(entry[key], key)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{key} has a number that is not finite")
    return numbers


def _numbers(value: Any, key: str) -> np.ndarray:
    try:
        return np.array(value, np.float64)
    except (ValueError, TypeError, OverflowError, RecursionError) as e:
        raise ValueError(f"{key} must be rows of numbers") from e


def _intrinsics(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Focal lengths and principal point, f64 [2] each."""
    if stored.shape != (3, 3):
        raise ValueError(f"K must be 3 x 3, stored transposed, {_ROWS_OF_K}; got {_shape(stored)}")
    if not _is_upper(stored.T):
        if _is_upper(stored):
            raise ValueError(f"K is not transposed; this layout stores it transposed, {_ROWS_OF_K}: transpose it")
        raise ValueError(f"K must be a pinhole camera's, stored transposed, {_ROWS_OF_K}; got {stored.tolist()}")
    focal = stored[(0, 1), (0, 1)]
    if focal.min() <= 0:
        raise ValueError(f"K's focal lengths must be positive; got {focal[0]:g} and {focal[1]:g}")
    if abs(stored[1, 0]) > _MOST_SKEW * focal[0]:
        raise ValueError(f"K has a skew of {stored[1, 0]:g} pixels, which is not modelled; calibrate without, or resample the images")
    return focal, stored[2, :2].copy()


def _is_upper(k: np.ndarray) -> bool:
    """Whether K [3, 3] is upper triangular and ends in 1."""
    small = _SMALL * np.abs(k).max()
    return bool(np.abs(k[(1, 2, 2), (0, 0, 1)]).max() <= small and abs(k[2, 2] - 1) <= _SMALL)


def _extrinsics(stored: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation, f64 [3, 3], and translation, f64 [3]."""
    if stored.shape == (3, 4):
        raise ValueError(f"T is not transposed; this layout stores it transposed, {_ROWS_OF_T}: transpose it")
    if stored.shape not in ((4, 4), (4, 3)):
        raise ValueError(f"T must be 4 x 4, stored transposed, {_ROWS_OF_T}; got {_shape(stored)}")
    last = np.array([0.0, 0.0, 0.0, 1.0])
    column = stored[:, 3] if stored.shape == (4, 4) else last
    ends = np.abs(column - last).max() <= _SMALL
    if not ends and np.abs(stored[3] - last).max() <= _SMALL:
        raise ValueError(f"T is not transposed; this layout stores it transposed, {_ROWS_OF_T}: transpose it")
    rotation = stored[:3, :3].T.copy()
    if fault := rotation_fault(rotation):
        raise ValueError(f"T must begin with a rotation, {_ROWS_OF_T}: {fault}")
    if not ends:
        raise ValueError(f"T must have {_ROWS_OF_T}; its last column is {column.tolist()}")
    return rotation, stored[3, :3].copy()


def _coefficients(value: Any) -> np.ndarray:
    """Of a distortion: a list of numbers, or none."""
    if value is None:
        return np.zeros(0)
    numbers = _numbers(value, "distortion")
    if not np.isfinite(numbers).all():
        raise ValueError("distortion has a number that is not finite")
    return numbers


def _shape(array: np.ndarray) -> str:
    return " x ".join(map(str, array.shape)) or "one number"
