"""Camera paths as files: JSON with keyframes.

  {"keyframes": [{"time": 0, "azimuth": -40, "elevation": 10, "distance": 900},
                 {"time": 1.5, "position": [0, 50, 800], "target": [0, 0, 0], "up": [0, 1, 0], "fov": 25},
                 {"time": 3, "camera": "400029"}]}

Each keyframe is given in one of three ways: by angles (degrees; 0 is in front, positive to the subject's left and from above) and distance
(mm) from the head's middle; by place and target (mm, head space); or as one of the capture's cameras. docs/guide/drive.md has the table.
"""

import json
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from ava_jax.core import cameras as geometry
from ava_jax.core.names import near
from ava_jax.core.types import Array, Cameras
from ava_jax.tasks.ava256.apps import camera_paths

_WAYS = {"azimuth": ("azimuth", "elevation", "distance"), "position": ("position", "target", "up"), "camera": ("camera",)}
_COMMON = ("time", "fov")
_STEEPEST, _DISTANCE = 89.0, 1000.0


class Setting(NamedTuple):
    """What a file's keyframes refer to.

    Attributes:
      middle: f [3], mm, head space, of the head.
      focal: f [2], pixels, where a keyframe gives no field of view.
      height, width: of the pictures.
      camera: the capture's camera of an id, head space, without leading axes; raises ValueError where there is none.
    """

    middle: np.ndarray
    focal: np.ndarray
    height: int
    width: int
    camera: Callable[[str], Cameras]


class Path(NamedTuple):
    """Keyframes.

    Attributes:
      times: f64 [M], seconds, rising.
      cameras: [M].
      azimuths: degrees as they were given, or None.
    """

    times: np.ndarray
    cameras: Cameras
    azimuths: tuple[float | None, ...]

    @property
    def seconds(self) -> float:
        """From the first to the last."""
        return float(self.times[-1] - self.times[0])

    def at(self, seconds: Array, middle: Array) -> Cameras:
        """Cameras [A] at times [A] after the first keyframe."""
        return camera_paths.interpolate(self.times - self.times[0], self.cameras, middle, seconds, azimuths=self.azimuths)


def read(file: str | pathlib.Path, setting: Setting) -> Path:
    """Reads a file of keyframes.

    Raises:
      ValueError: it is malformed; the message names the file and the keyframe.
      OSError: it cannot be read.
    """
    file = pathlib.Path(file).expanduser()
    if not file.is_file():
        raise FileNotFoundError(f"{file}: there is no such file of keyframes.")
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(content, dict) or not isinstance(content.get("keyframes"), list) or not content["keyframes"]:
            raise ValueError('must be {"keyframes": [{"time": 0, ...}, ...]} with one keyframe or more')
        _only(content, ("keyframes",))
        keys = [_keyframe(i, key, setting) for i, key in enumerate(content["keyframes"])]
        times = np.array([time for time, *_ in keys])
        if len(late := np.flatnonzero(np.diff(times) <= 0)):
            raise ValueError(f"keyframe {late[0] + 1}: times must rise; {times[late[0] + 1]:g} s follows {times[late[0]]:g} s")
        cameras = Cameras(*(np.stack(parts) for parts in zip(*(camera for _, camera, _ in keys), strict=True)))
        path = Path(times, cameras, tuple(azimuth for *_, azimuth in keys))
        path.at([0.0], setting.middle)  # a camera straight above is told here
    except ValueError as e:
        raise ValueError(f"{file}: {e}") from e
    return path


def _keyframe(index: int, key: Any, setting: Setting) -> tuple[float, Cameras, float | None]:
    """(time, camera, its azimuth where that was given)."""
    try:
        if not isinstance(key, dict):
            raise ValueError(f"must be an object; got {key!r}")
        ways = [way for way, names in _WAYS.items() if any(name in key for name in names)]
        if len(ways) != 1:
            got = f"{' and '.join(ways)} are mixed" if ways else "none is there"
            _only(key, (*_COMMON, *sum(_WAYS.values(), ())))
            raise ValueError(f"must have one of azimuth with elevation and distance, position with target, or camera; {got}")
        _only(key, (*_COMMON, *_WAYS[ways[0]]))
        camera = {"azimuth": _by_angles, "position": _by_place, "camera": _of_capture}[ways[0]](key, setting)
        if "fov" in key:
            fov = _number(key, "fov", None, low=1.0, high=170.0)
            camera = camera._replace(focal=np.full(2, setting.height / 2 / np.tan(np.deg2rad(fov) / 2)))
        azimuth = _number(key, "azimuth", 0.0) if ways[0] == "azimuth" else None
        return _number(key, "time", None), camera, azimuth
    except ValueError as e:
        raise ValueError(f"keyframe {index}: {e}") from e


def _by_angles(key: Mapping[str, Any], setting: Setting) -> Cameras:
    azimuth = np.deg2rad(_number(key, "azimuth", 0.0))
    elevation = np.deg2rad(_number(key, "elevation", 0.0, low=-_STEEPEST, high=_STEEPEST))
    level = np.cos(elevation)
    away = np.array([level * np.sin(azimuth), np.sin(elevation), level * np.cos(azimuth)])
    return _looking(
        setting, setting.middle + _number(key, "distance", _DISTANCE, low=1.0) * away, setting.middle, np.array([0.0, 1.0, 0.0])
    )


def _by_place(key: Mapping[str, Any], setting: Setting) -> Cameras:
    position, target = _vector(key, "position", None), _vector(key, "target", setting.middle)
    up = _vector(key, "up", np.array([0.0, 1.0, 0.0]))
    if np.linalg.norm(np.cross(target - position, up)) < 1e-6 * max(1.0, float(np.linalg.norm(target - position))):
        raise ValueError("target must be apart from position, and up must point elsewhere")
    if np.linalg.norm(position - setting.middle) < 1.0:
        raise ValueError("position must not be the head's middle")
    return _looking(setting, position, target, up)


def _of_capture(key: Mapping[str, Any], setting: Setting) -> Cameras:
    return setting.camera(str(key["camera"]))


def _looking(setting: Setting, position: np.ndarray, target: np.ndarray, up: np.ndarray) -> Cameras:
    principal = np.array([(setting.width - 1) / 2, (setting.height - 1) / 2])
    return Cameras(geometry.look_at(position, target, up), position, np.asarray(setting.focal, np.float64), principal)


def _only(given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    if unknown := [name for name in given if name not in known]:
        raise ValueError(f"{unknown[0]!r} is not known; the nearest are {', '.join(near(unknown[0], known))}")


def _number(key: Mapping[str, Any], name: str, default: float | None, *, low: float = -np.inf, high: float = np.inf) -> float:
    value = key.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value) or not low <= value <= high:
        within = "" if np.isinf(low) else f", at least {low:g}" + ("" if np.isinf(high) else f" and at most {high:g}")
        raise ValueError(f"{name} must be a number{within}; got {'none' if value is None else repr(value)}")
    return float(value)


def _vector(key: Mapping[str, Any], name: str, default: np.ndarray | None) -> np.ndarray:
    value = key.get(name, default)
    try:
        vector = np.array(value, np.float64)
    except (TypeError, ValueError):
        vector = np.zeros(0)
    if vector.shape != (3,) or not np.isfinite(vector).all():
        raise ValueError(f"{name} must be three numbers; got {'none' if value is None else repr(value)}")
    return vector
