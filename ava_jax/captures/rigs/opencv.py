"""OpenCV's calibrations: FileStorage (YAML, XML) or ROS's YAML, a file per camera; EasyMocap's intri.yml and extri.yml of all cameras.

Integer pixel centres; world to camera, OpenCV's axes. A file of OpenCV or ROS gives no pose of its own accord: it must hold R (3 x 3 or
axis-angle) and T, or `extri.yml` beside it must, as in EasyMocap.
"""

import pathlib
import re
from typing import Any

import numpy as np

from ava_jax.captures.rigs import building, file_storage, values
from ava_jax.captures.rigs.types import Distortion, Rig, RigCamera

_SUFFIXES = (".yml", ".yaml", ".xml")
_K = ("camera_matrix", "K", "cameraMatrix", "Camera_Matrix", "intrinsic_matrix")
_HAS_K = re.compile(rb"(?m)^\s*(?:%s)\s*:" % b"|".join(key.encode() for key in _K))
_DISTORTION = ("distortion_coefficients", "dist", "D", "distCoeffs", "Distortion_Coefficients")
_ROTATION = ("Rot", "R", "rotation_matrix", "rvec", "rotation")
_TRANSLATION = ("T", "t", "tvec", "translation", "translation_vector")
_POSE = ("world_to_camera", "extrinsic_matrix", "extrinsics", "RT")
_ROS = {"plumb_bob": (4, 5), "rational_polynomial": (8,), "equidistant": (4,), "": (0, 1, 4, 5, 8, 12, 14)}
_POSED = "R (3 x 3, or axis-angle of 3) and T (3), world to camera, or extri.yml beside it with Rot_<camera> and T_<camera>"


def easymocap_folder(path: pathlib.Path) -> pathlib.Path | None:
    """The folder of intri.yml and extri.yml at a path; None where they are not both there."""
    folder = path if path.is_dir() else path.parent
    named = path.is_dir() or path.name in ("intri.yml", "extri.yml")
    return folder if named and (folder / "intri.yml").is_file() and (folder / "extri.yml").is_file() else None


def files(path: pathlib.Path) -> list[pathlib.Path]:
    """Files of a camera each at a path, told by what stands in them."""
    candidates = [path] if path.is_file() else sorted(p for p in path.iterdir() if p.suffix.lower() in _SUFFIXES)
    return [p for p in candidates if p.name != "extri.yml" and _looks_like(p)]


def _looks_like(path: pathlib.Path) -> bool:
    if path.suffix.lower() not in _SUFFIXES or not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            head = file.read(1 << 16)
    except OSError:
        return False
    return b"opencv_storage" in head if path.suffix.lower() == ".xml" else bool(_HAS_K.search(head))


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Rig:
    """The rig of calibration files.

    Args:
      path: EasyMocap's folder, a folder of files of a camera each, or one such file.
      images: folder of the pictures, by camera; None is `images` beside the files, or their folder.

    Raises:
      ValueError: a file is missing or wrong; the message names file and key.
    """
    folder = path if path.is_dir() else path.parent
    folders = [images] if images else [folder / "images", folder]
    if found := easymocap_folder(path):
        notes = ["EasyMocap's intri.yml and extri.yml; their unit is its own: give a scale"]
        return building.of_cameras(found, _easymocap(found), folders, notes)
    listed = files(path)
    if not listed:
        raise ValueError(f"{path}: must hold YAML or XML files of OpenCV or ROS, with camera_matrix, distortion_coefficients, {_POSED}.")
    poses = file_storage.read(folder / "extri.yml") if (folder / "extri.yml").is_file() else None
    cameras = [_camera(file, folder, poses) for file in listed]
    notes = [f"OpenCV or ROS calibrations, {len(cameras)} files; their unit is their own: give a scale"]
    return building.of_cameras(folder, cameras, folders, notes)


def _camera(file: pathlib.Path, folder: pathlib.Path, poses: dict[str, Any] | None) -> RigCamera:
    tree = file_storage.read(file)
    try:
        name = str(tree.get("camera_name", "")).strip() or file.stem
        k = values.require_pinhole(file_storage.matrix(tree, _key(tree, _K, "camera_matrix"), ((3, 3),)))
        size = (0, 0)
        if "image_width" in tree and "image_height" in tree:
            size = values.size(tree["image_width"], tree["image_height"])
        distortion = _distortion(tree)
        own = any(key in tree for key in (*_POSE, *_ROTATION, *_TRANSLATION))
        source = file if own else folder / "extri.yml"
    except ValueError as e:
        raise ValueError(f"{file}: {e}.") from e
    if not own and poses is None:
        raise ValueError(f"{file}: has no pose; it must hold {_POSED}.")
    try:
        pose = _pose(tree) if own else _named_pose(poses, name if f"T_{name}" in poses else file.stem)
    except ValueError as e:
        raise ValueError(f"{source}: {e}.") from e
    return RigCamera(name, size, k, pose, distortion)


def _key(tree: dict[str, Any], names: tuple[str, ...], what: str) -> str:
    found = next((name for name in names if name in tree), None)
    if found is None:
        raise ValueError(f"has no {what}")
    return found


def _distortion(tree: dict[str, Any]) -> Distortion:
    model = str(tree.get("distortion_model", "")).strip()
    if model not in _ROS:
        raise ValueError(f"distortion_model must be {', '.join(name for name in _ROS if name)}; got {model[:40]!r}: undistort the images")
    if not any(key in tree for key in _DISTORTION):
        return Distortion()
    terms = file_storage.matrix(tree, _key(tree, _DISTORTION, ""), tuple((count,) for count in _ROS[model]))
    fisheye = model == "equidistant" or str(tree.get("fisheye_model", "0")).strip() in ("1", "true")
    return opencv_distortion(terms, fisheye=fisheye)


def opencv_distortion(terms: np.ndarray, *, fisheye: bool = False) -> Distortion:
    """The distortion of OpenCV's coefficients f64 [N]: k1 k2 p1 p2 k3 k4 k5 k6, or k1 k2 k3 k4 of `fisheye`.

    Raises:
      ValueError: there are terms after k6 (thin prism, tilt), which are not modelled, or not 4 of a fisheye.
    """
    if fisheye:
        if len(terms) != 4:
            raise ValueError(f"a fisheye's distortion must be 4 numbers; got {len(terms)}")
        return Distortion("fisheye", tuple(terms.tolist()))
    if terms[8:].any():
        raise ValueError(f"coefficients after k6 (thin prism, tilt) must be 0; got {terms[8:].tolist()}: undistort the images")
    padded = np.zeros(8)
    padded[: min(len(terms), 8)] = terms[:8]
    return Distortion("opencv", tuple(padded.tolist())) if padded.any() else Distortion()


def _turn(given: np.ndarray) -> np.ndarray:
    return given if given.shape == (3, 3) else values.axis_angle(given)


def _pose(tree: dict[str, Any]) -> np.ndarray:
    """World to camera, f64 [4, 4], of a camera's own file."""
    whole = next((key for key in _POSE if key in tree), None)
    if whole is not None:
        given = file_storage.matrix(tree, whole, ((4, 4), (3, 4)))
        if len(given) == 4 and np.abs(given[3] - [0, 0, 0, 1]).max() > 1e-6:
            raise ValueError(f"{whole} must end in the row 0 0 0 1; got {given[3].tolist()}")
        return values.pose(given[:3, :3], given[:3, 3])
    turn = file_storage.matrix(tree, _key(tree, _ROTATION, "R, which must stand beside T"), ((3, 3), (3,)))
    return values.pose(_turn(turn), file_storage.matrix(tree, _key(tree, _TRANSLATION, "T, which must stand beside R"), ((3,),)))


def _named_pose(tree: dict[str, Any], name: str) -> np.ndarray:
    """World to camera, f64 [4, 4], of extri.yml."""
    key = f"Rot_{name}" if f"Rot_{name}" in tree else f"R_{name}"
    for needed in (key, f"T_{name}"):
        if needed not in tree:
            raise ValueError(f"has no {needed}")
    turn = file_storage.matrix(tree, key, ((3, 3), (3,)))
    return values.pose(_turn(turn), file_storage.matrix(tree, f"T_{name}", ((3,),)))


def _easymocap(folder: pathlib.Path) -> list[RigCamera]:
    inner, outer = file_storage.read(folder / "intri.yml"), file_storage.read(folder / "extri.yml")
    names = inner.get("names")
    if not isinstance(names, list) or not names or not all(isinstance(name, str) and name for name in names):
        raise ValueError(f"{folder / 'intri.yml'}: must have names, a list of the cameras'.")
    if names_there := sorted(key[2:] for key in inner if key.startswith("K_") and key[2:] not in names):
        raise ValueError(f"{folder / 'intri.yml'}: has K_{names_there[0]}, which names does not list.")
    cameras = []
    for name in names:
        try:
            if f"K_{name}" not in inner:
                raise ValueError(f"has no K_{name}")
            k = values.require_pinhole(file_storage.matrix(inner, f"K_{name}", ((3, 3),)))
            distortion = Distortion()
            key = next((key for key in (f"dist_{name}", f"D_{name}") if key in inner), None)
            if key:
                distortion = opencv_distortion(file_storage.matrix(inner, key, tuple((count,) for count in (4, 5, 8, 12, 14))))
            size = (0, 0)
            if f"W_{name}" in inner and f"H_{name}" in inner:
                size = values.size(inner[f"W_{name}"], inner[f"H_{name}"])
        except ValueError as e:
            raise ValueError(f"{folder / 'intri.yml'}: {e}.") from e
        try:
            pose = _named_pose(outer, name)
        except ValueError as e:
            raise ValueError(f"{folder / 'extri.yml'}: {e}.") from e
        cameras.append(RigCamera(name, size, k, pose, distortion))
    return cameras
