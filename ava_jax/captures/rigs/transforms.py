"""`transforms.json` of nerfstudio, instant-ngp and Blender's synthetic sets: poses camera to world with OpenGL's camera axes.

Pixels have their origin at the corner of the first. What an import of nerfstudio did to the world (`applied_transform`, `applied_scale`) is
undone, so that meshes of the world before it agree.
"""

import math
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ava_jax.captures.rigs import building, pictures, values
from ava_jax.captures.rigs.types import Distortion, Rig, RigCamera
from ava_jax.data import text_files

FILES = ("transforms.json", "transforms_train.json", "transforms_val.json", "transforms_test.json")
_MODELS = {
    "OPENCV": "opencv",
    "OPENCV_FISHEYE": "fisheye",
    "SIMPLE_PINHOLE": "none",
    "PINHOLE": "none",
    "SIMPLE_RADIAL": "opencv",
    "RADIAL": "opencv",
}
_TERMS = {"opencv": ("k1", "k2", "p1", "p2", "k3", "k4"), "fisheye": ("k1", "k2", "k3", "k4"), "none": ()}
_ALL_TERMS = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2")


def files(path: pathlib.Path) -> list[pathlib.Path]:
    """The files of a rig: the one named, a folder's transforms.json, or else its transforms_{train,val,test}.json."""
    if path.is_file():
        return [path]
    if (path / FILES[0]).is_file():
        return [path / FILES[0]]
    return [path / name for name in FILES[1:] if (path / name).is_file()]


def load(path: pathlib.Path) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    """What a file holds, and its frames.

    Raises:
      ValueError: it is no such file.
    """
    tree = text_files.read_json(path)
    frames = tree.get("frames") if isinstance(tree, dict) else None
    if not isinstance(frames, list) or not frames or not all(isinstance(frame, dict) for frame in frames):
        raise ValueError(f'{path}: must be {{"frames": [{{"file_path": ..., "transform_matrix": [4 x 4]}}, ...]}}.')
    return tree, frames


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Rig:
    """The rig of a file, or of a folder's files.

    Args:
      path: file, or folder with transforms.json or transforms_{train,val,test}.json.
      images: folder that `file_path` is relative to; None is the file's own.

    Raises:
      ValueError: a file is missing or wrong; the message names it and the frame.
    """
    sources = files(path)
    if not sources:
        raise ValueError(f"{path}: must hold transforms.json, or transforms_train.json and its like.")
    shots: list[building.Shot] = []
    notes = [f"transforms.json (nerfstudio, Blender): {', '.join(source.name for source in sources)}; its units are its own: give a scale"]
    for source in sources:
        tree, frames = load(source)
        undo = _applied(source, tree, notes)
        sizes: dict[str, tuple[int, int]] = {}
        for index, frame in enumerate(frames):
            try:
                shots.append(_shot(images or source.parent, tree, frame, undo, sizes))
            except ValueError as e:
                raise ValueError(f"{source}: frames[{index}]: {str(e).rstrip('.')}.") from e
    return building.build(sources[0], shots, notes)


def _shot(
    folder: pathlib.Path, tree: Mapping[str, Any], frame: Mapping[str, Any], undo: tuple[np.ndarray, float] | None, sizes: dict
) -> building.Shot:
    name = path_of(frame, "file_path")
    picture = pictures.existing(folder, name)
    mask = mask_of(folder, frame, "mask_path", picture)
    size = _size(tree, frame, picture)
    k = _k(tree, frame, size)
    pose = _pose(frame, undo)
    return building.Shot(name, RigCamera("", size, k, pose, _distortion(tree, frame)), picture, mask)


def path_of(frame: Mapping[str, Any], key: str) -> str:
    """A path that a frame names, with / between its parts.

    Raises:
      ValueError: it is missing or no text.
    """
    value = frame.get(key)
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError(f"{key} must be a path; got {str(value)[:40]!r}")
    return pictures.as_written(value)


def mask_of(folder: pathlib.Path, frame: Mapping[str, Any], key: str, picture: pathlib.Path | None) -> pathlib.Path | None:
    """The mask that a frame names; None where it names none.

    Raises:
      ValueError: the picture is there and its mask is not.
    """
    if not frame.get(key):
        return None
    found = pictures.existing(folder, path_of(frame, key))
    if found is None and picture is not None:
        raise ValueError(f"{key} {str(frame[key])[:80]!r} is not there")
    return found


def value_of(tree: Mapping[str, Any], frame: Mapping[str, Any], key: str) -> float | None:
    """A number of a frame, or of the top level where the frame lacks it; None where both do."""
    value = frame.get(key, tree.get(key))
    return None if value is None else values.number(value, key)


def matrix(frame: Mapping[str, Any]) -> np.ndarray:
    """`transform_matrix`, f64 [4, 4].

    Raises:
      ValueError: it is missing or no matrix that ends in 0 0 0 1.
    """
    if "transform_matrix" not in frame:
        raise ValueError("transform_matrix is missing")
    return values.array(frame["transform_matrix"], (4, 4), "transform_matrix")


def _size(tree: Mapping[str, Any], frame: Mapping[str, Any], picture: pathlib.Path | None) -> tuple[int, int]:
    w, h = value_of(tree, frame, "w"), value_of(tree, frame, "h")
    if w is not None and h is not None:
        return values.size(w, h)
    if picture is None:
        raise ValueError("w and h are missing, and the picture, which would tell its size, is not there")
    return pictures.size(picture)


def _k(tree: Mapping[str, Any], frame: Mapping[str, Any], size: tuple[int, int]) -> np.ndarray:
    height, width = size
    fx = value_of(tree, frame, "fl_x")
    fy = value_of(tree, frame, "fl_y")
    if fx is None:
        fx = _focal(value_of(tree, frame, "camera_angle_x"), width)
        if fy is None and (angle := value_of(tree, frame, "camera_angle_y")) is not None:
            fy = _focal(angle, height)
    if fx is None:
        raise ValueError("fl_x, or camera_angle_x in its stead, is missing")
    cx, cy = value_of(tree, frame, "cx"), value_of(tree, frame, "cy")
    cx, cy = width / 2 if cx is None else cx, height / 2 if cy is None else cy
    return values.pinhole(fx, fx if fy is None else fy, cx - 0.5, cy - 0.5)


def _focal(angle: float | None, side: int) -> float | None:
    if angle is None:
        return None
    if not 0 < angle < math.pi:
        raise ValueError(f"camera_angle must lie between 0 and pi; got {angle:g}")
    return side / (2 * math.tan(angle / 2))


def _distortion(tree: Mapping[str, Any], frame: Mapping[str, Any]) -> Distortion:
    given = {key: value for key in _ALL_TERMS if (value := value_of(tree, frame, key)) is not None and value != 0}
    name = frame.get("camera_model", tree.get("camera_model"))
    if name is None:
        name = "OPENCV_FISHEYE" if frame.get("is_fisheye", tree.get("is_fisheye")) is True else "OPENCV"
    if not isinstance(name, str) or name not in _MODELS:
        raise ValueError(f"camera_model must be {', '.join(_MODELS)}; got {str(name)[:40]!r}: export undistorted images, as PINHOLE")
    model = _MODELS[name]
    if odd := sorted(given.keys() - set(_TERMS[model])):
        raise ValueError(f"camera_model {name} has no {odd[0]}, which is {given[odd[0]]:g}")
    if not given:
        return Distortion("fisheye", (0.0,) * 4) if model == "fisheye" else Distortion()
    terms = tuple(given.get(key, 0.0) for key in _TERMS[model])
    return Distortion(model, terms + (0.0, 0.0) if model == "opencv" else terms)


def _applied(source: pathlib.Path, tree: Mapping[str, Any], notes: list[str]) -> tuple[np.ndarray, float] | None:
    """What was put on the world: matrix f64 [3, 4] and scale; None where nothing was."""
    if "applied_transform" not in tree and "applied_scale" not in tree:
        return None
    try:
        given = tree.get("applied_transform", np.eye(3, 4).tolist())
        rows = 4 if isinstance(given, list) and len(given) == 4 else 3
        applied = values.array(given, (rows, 4), "applied_transform")[:3]
        values.rotation(applied[:, :3], "applied_transform's rotation")
        scale = values.number(tree.get("applied_scale", 1.0), "applied_scale")
        if not 1e-9 < scale < 1e9:
            raise ValueError(f"applied_scale must be positive and a scale; got {scale:g}")
    except ValueError as e:
        raise ValueError(f"{source}: {e}.") from e
    notes.append(
        f"{source.name}: applied_transform and applied_scale ({scale:g}) are undone: the world is that of the meshes before the import"
    )
    return applied, scale


def _pose(frame: Mapping[str, Any], undo: tuple[np.ndarray, float] | None) -> np.ndarray:
    """World to camera, f64 [4, 4], in the world before `undo`."""
    given = matrix(frame)
    if undo is None:
        return values.pose_of_camera_to_world(given, opengl=True)
    applied, scale = undo
    turn = values.rotation(applied[:, :3])
    before = given.copy()
    # Points went x -> scale (A x + b); so did centres, and directions by A alone.
    before[:3, :3] = turn.T @ given[:3, :3]
    before[:3, 3] = turn.T @ (given[:3, 3] / scale - applied[:, 3])
    return values.pose_of_camera_to_world(before, opengl=True)
