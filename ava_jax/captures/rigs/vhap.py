"""VHAP's export, which GaussianAvatars reads: transforms.json by timestep and camera, FLAME parameters, foreground masks.

Poses as in nerfstudio's files (camera to world, OpenGL's axes), but `cy` is stored as h - cy, and cx and cy have integer pixel centres. The
world was moved by minus the mean translation of the head, and so were FLAME's translations, so that they agree. Metres.
"""

import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from ava_jax.captures.rigs import building, checks, pictures, transforms, values
from ava_jax.captures.rigs.types import Rig, RigCamera


def is_export(frames: list[Mapping[str, Any]]) -> bool:
    """Whether frames of a transforms.json are VHAP's: they have a timestep and a camera."""
    return "timestep_index" in frames[0] and ("camera_index" in frames[0] or "camera_id" in frames[0])


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Rig:
    """The rig of an export.

    Args:
      path: folder with transforms.json or transforms_{train,val,test}.json (as a union of sequences has), or one of these files.
      images: folder that paths are relative to; None is the file's own.

    Raises:
      ValueError: a file is missing or wrong, or sequences of a union were moved differently; the message names file and frame.
    """
    sources = transforms.files(path)
    if not sources:
        raise ValueError(f"{path}: must hold transforms.json, or transforms_train.json and its like.")
    shots: list[building.Shot] = []
    flame: dict[int, pathlib.Path] = {}
    lost = 0
    for source in sources:
        tree, frames = transforms.load(source)
        folder = images or source.parent
        for index, frame in enumerate(frames):
            try:
                shot = _shot(folder, tree, frame)
                lost += _add_flame(folder, frame, flame)
            except ValueError as e:
                raise ValueError(f"{source}: frames[{index}]: {str(e).rstrip('.')}.") from e
            shots.append(shot)
    _require_one_world(sources[0], shots)
    notes = [
        f"VHAP / GaussianAvatars export, metres: {', '.join(source.name for source in sources)}; cy is stored as h - cy and turned back",
        f"FLAME parameters of {len(flame)} timesteps",
    ]
    if lost:
        notes.append(f"{lost} frames name FLAME parameters that are not there")
    if (sources[0].parent / "canonical_flame_param.npz").is_file():
        notes.append("canonical_flame_param.npz (jaw open 0.3) is no frame and is passed over")
    return building.build(sources[0], shots, notes, flame=dict(sorted(flame.items())), mm_per_unit=1000.0)


def _shot(folder: pathlib.Path, tree: Mapping[str, Any], frame: Mapping[str, Any]) -> building.Shot:
    name = transforms.path_of(frame, "file_path")
    picture = pictures.existing(folder, name)
    mask = transforms.mask_of(folder, frame, "fg_mask_path", picture)
    needed = {}
    for key in ("w", "h", "fl_x", "fl_y", "cx", "cy"):
        value = transforms.value_of(tree, frame, key)
        if value is None:
            raise ValueError(f"{key} is missing")
        needed[key] = value
    size = values.size(needed["w"], needed["h"])
    k = values.pinhole(needed["fl_x"], needed["fl_y"], needed["cx"], needed["h"] - needed["cy"])
    pose = values.pose_of_camera_to_world(transforms.matrix(frame), opengl=True)
    return building.Shot(name, RigCamera("", size, k, pose), picture, mask, (_camera(frame), _timestep(frame)))


def _camera(frame: Mapping[str, Any]) -> str:
    """A camera's id, else its index."""
    name = frame.get("camera_id")
    if isinstance(name, str | int) and not isinstance(name, bool) and str(name).strip():
        return str(name).strip()
    return f"{values.whole(frame.get('camera_index'), 'camera_index'):02d}"


def _timestep(frame: Mapping[str, Any]) -> int:
    return values.whole(frame.get("timestep_index"), "timestep_index")


def _add_flame(folder: pathlib.Path, frame: Mapping[str, Any], flame: dict[int, pathlib.Path]) -> int:
    """Adds a frame's parameters; 1 where they are named and not there.

    Raises:
      ValueError: the timestep has others.
    """
    if not frame.get("flame_param_path"):
        return 0
    path = pictures.existing(folder, transforms.path_of(frame, "flame_param_path"))
    if path is None:
        return 1
    if flame.setdefault(_timestep(frame), path) != path:
        raise ValueError(f"timestep {_timestep(frame)} has two files of FLAME parameters, {flame[_timestep(frame)]} and {path}")
    return 0


def _require_one_world(source: pathlib.Path, shots: list[building.Shot]) -> None:
    """Raises where a camera is somewhere else in each sequence: each was moved by its own mean head translation."""
    folders: dict[str, dict[str, np.ndarray]] = {}
    for shot in shots:
        sequence = shot.name.rpartition("/images/")[0] if shot.name.startswith("../") else ""
        folders.setdefault(sequence, {}).setdefault(shot.key[0], shot.camera.world_to_camera)
    names = sorted(folders)
    for name in names[1:]:
        for camera in sorted(folders[name].keys() & folders[names[0]].keys()):
            degrees, moved, _ = checks.spread(np.stack([folders[names[0]][camera], folders[name][camera]]))
            if degrees < checks.MOST_DEGREES and moved > 1e-4:  # 0.1 mm
                raise ValueError(
                    f"{source}: camera {camera!r} lies {moved:.3g} m apart in {names[0]} and {name}: each sequence was moved by its own "
                    "mean head translation; convert each sequence by itself."
                )
