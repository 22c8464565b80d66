"""A `Rig` of what a file lists picture by picture: which camera and which frame each is of, and each camera once.

Most formats know pictures, each with a pose of its own. A rig has cameras that stand still, with many frames: which part of a name is the
camera's and which the frame's is told by the poses, which must agree over a camera's frames.
"""

import dataclasses
import pathlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ava_jax.captures.rigs import pictures
from ava_jax.captures.rigs.checks import MOST_DEGREES, MOST_MOVED, extent, spread
from ava_jax.captures.rigs.types import Rig, RigCamera

MOST_PIXELS = 0.5  # likewise of K
_MOST_FRAME = 2**31 - 1
_MOST_LENGTH = 1e12
_NAMED = 3
_GENERAL = frozenset({"images", "image", "imgs", "img", "input", "rgb", "color", "colour", "frames", "data", "train", "val", "test"})


class Shot(NamedTuple):
    """A picture as a file lists it.

    Attributes:
      name: path as it is written, with / between its parts.
      camera: size, K, pose and distortion; its name is not looked at.
      picture, mask: files; None = not there.
      key: camera and frame, where the file says them; None = to be told from the names.
    """

    name: str
    camera: RigCamera
    picture: pathlib.Path | None = None
    mask: pathlib.Path | None = None
    key: tuple[str, int] | None = None


def build(path: pathlib.Path, shots: Sequence[Shot], notes: Sequence[str] = (), **others) -> Rig:
    """The rig of a list of pictures.

    Args:
      path: of the file that lists them, for messages.
      shots: the pictures, one at least.
      notes: of the reader.
      **others: of `Rig`: meshes, flame, mm_per_unit.

    Raises:
      ValueError: there is none, two are the same camera and frame, or a camera's poses, sizes or K differ over its frames.
    """
    if not shots:
        raise ValueError(f"{path}: lists no picture with a pose.")
    notes = list(notes)
    given = [shot.key for shot in shots if shot.key is not None]
    if len(given) == len(shots):
        keys = given
    else:
        keys, how = _told_from_names(path, shots)
        notes.append(how)
    if len(set(keys)) < len(keys):
        first = next(key for i, key in enumerate(keys) if key in keys[:i]) if len(keys) < 2000 else max(set(keys), key=keys.count)
        raise ValueError(f"{path}: camera {first[0]!r} has frame {first[1]} twice; each camera may have a frame once.")
    cameras = _cameras(path, shots, keys, notes)
    missing = [shot.name for shot in shots if shot.picture is None]
    if missing:
        more = f", and {len(missing) - _NAMED} more" if len(missing) > _NAMED else ""
        notes.append(f"{len(missing)} of {len(shots)} pictures are not there: {', '.join(missing[:_NAMED])}{more}")
    images = {key: shot.picture for key, shot in zip(keys, shots, strict=True) if shot.picture is not None}
    masks = {key: shot.mask for key, shot in zip(keys, shots, strict=True) if shot.mask is not None}
    order = sorted(images)
    return Rig(cameras, {key: images[key] for key in order}, {key: masks[key] for key in sorted(masks)}, notes=tuple(notes), **others)


def of_cameras(
    path: pathlib.Path, cameras: Sequence[RigCamera], folders: Sequence[pathlib.Path], notes: Sequence[str] = (), **others
) -> Rig:
    """The rig of a file that lists cameras alone; pictures are looked for by their names.

    Args:
      path: of the file, for messages.
      cameras: size (0, 0) is taken from the camera's first picture.
      folders: where pictures may lie; the first that has any is taken.
      notes: of the reader.
      **others: of `Rig`.

    Raises:
      ValueError: there is no camera, or two of one name.
    """
    if not cameras:
        raise ValueError(f"{path}: lists no camera.")
    names = [camera.name for camera in cameras]
    if len(set(names)) < len(names):
        raise ValueError(f"{path}: camera {next(n for n in names if names.count(n) > 1)!r} is there twice.")
    notes = list(notes)
    found = pictures.by_camera(folders, names)
    if not found:
        notes.append(f"no pictures named by camera in {' or '.join(map(str, folders))}")
    first = {}
    for (name, _), picture in found.items():
        first.setdefault(name, picture)
    sized = []
    for camera in sorted(cameras, key=lambda camera: camera.name):
        if camera.size == (0, 0) and camera.name in first:
            camera = dataclasses.replace(camera, size=pictures.size(first[camera.name]))
        sized.append(_sound(path, camera))
    unknown = [camera.name for camera in sized if camera.size == (0, 0)]
    if unknown:
        notes.append(f"image size not known of {len(unknown)} cameras ({', '.join(unknown[:_NAMED])}): their pictures are not there")
    # Masks lie beside the folder that holds the cameras' folders.
    masks = {}
    for key, picture in found.items():
        mask = next((m for parent in list(picture.parents)[:3] if (m := pictures.mask(parent, picture))), None)
        if mask:
            masks[key] = mask
    return Rig(tuple(sized), found, masks, notes=tuple(notes), **others)


def _cameras(path: pathlib.Path, shots: Sequence[Shot], keys: Sequence[tuple[str, int]], notes: list[str]) -> tuple[RigCamera, ...]:
    """Each camera once, in the order of names; raises where its frames do not agree."""
    frames: dict[str, list[int]] = {}
    for index in sorted(range(len(keys)), key=lambda i: keys[i]):
        frames.setdefault(keys[index][0], []).append(index)
    for key, shot in zip(keys, shots, strict=True):
        _sound(path, dataclasses.replace(shot.camera, name=key[0]))
    size_of_rig = extent(np.stack([shots[members[0]].camera.world_to_camera for members in frames.values()]))
    found, moved_most, differ_most = [], (0.0, 0.0), 0.0
    for name, members in frames.items():
        cameras = [shots[i].camera for i in members]
        angle, moved, worst = spread(np.stack([c.world_to_camera for c in cameras]))
        if angle > MOST_DEGREES or moved > _most_moved(size_of_rig, cameras[0]):
            raise ValueError(
                f"{path}: camera {name!r} must stand still; its pose in {shots[members[worst]].name!r} differs from that in "
                f"{shots[members[0]].name!r} by {angle:.3g} degrees and {moved:.3g} units: calibrate the rig once for all frames."
            )
        differs = max(float(np.abs(c.k - cameras[0].k).max()) for c in cameras)
        odd = next((i for i, c in zip(members, cameras, strict=True) if c.size != cameras[0].size), None)
        if odd is not None or differs > MOST_PIXELS:
            raise ValueError(
                f"{path}: camera {name!r} must have one size and one K; {shots[members[0] if odd is None else odd].name!r} "
                + (f"and others differ by {differs:.3g} pixels." if odd is None else f"is of another size than {shots[members[0]].name!r}.")
            )
        moved_most, differ_most = max(moved_most, (angle, moved)), max(differ_most, differs)
        found.append(dataclasses.replace(cameras[0], name=name))
    if moved_most > (1e-6, 0) or differ_most > 1e-6:
        notes.append(
            f"poses of a camera differ over its frames by up to {moved_most[0]:.2g} degrees and {moved_most[1]:.2g} units, K by up to "
            f"{differ_most:.2g} pixels; the first frame's is taken"
        )
    return tuple(found)


def _sound(path: pathlib.Path, camera: RigCamera) -> RigCamera:
    """The camera; raises where it has no name, or factors in its file have made its numbers endless."""
    if not camera.name.strip():
        raise ValueError(f"{path}: a camera must have a name; one has none.")
    if not (np.abs(camera.world_to_camera) < _MOST_LENGTH).all() or not np.isfinite(camera.k).all():
        raise ValueError(f"{path}: camera {camera.name[:60]!r} must have finite numbers, below {_MOST_LENGTH:g}.")
    return camera


def _most_moved(size_of_rig: float, camera: RigCamera) -> float:
    return MOST_MOVED * size_of_rig + 1e-6 * (1 + float(np.linalg.norm(camera.world_to_camera[:3, 3])))


def _told_from_names(path: pathlib.Path, shots: Sequence[Shot]) -> tuple[list[tuple[str, int]], str]:
    """Camera and frame of each picture, and how that was told."""
    parts = _apart([shot.name for shot in shots])
    poses = np.stack([shot.camera.world_to_camera for shot in shots])
    told = []
    for words, rule in _RULES if len(shots) > 1 else _RULES[:1]:
        keys = [rule(*part) for part in parts]
        if any(key is None for key in keys) or len(set(keys)) < len(keys):
            continue
        agree, several = _agreement(keys, poses)
        # Most agree: a rig, of which `_cameras` names what does not. None: cameras that move, each picture one of its own.
        if agree and several:
            return keys, f"of a picture's name {_HOW[words]}"
        if agree and (
            words == "folder" or len({frame for _, frame in keys}) == 1
        ):  # frames that no two cameras have in common are no rig's
            told.append((keys, words))
    if told:
        return told[0][0], f"of a picture's name {_HOW[told[0][1]]}"
    stems = [("-".join([folder, stem]) if folder else stem, 0) for folder, stem in parts]
    if len(set(stems)) < len(stems):
        stems = [(re.sub(r"[/\\]", "-", shot.name), 0) for shot in shots]
    return stems, "each picture has a pose of its own: each is taken as a camera of frame 0"


def _agreement(keys: Sequence[tuple[str, int]], poses: np.ndarray) -> tuple[bool, bool]:
    """Whether most cameras with several frames agree in their poses, and whether there are such."""
    frames: dict[str, list[int]] = {}
    for index, (name, _) in enumerate(keys):
        frames.setdefault(name, []).append(index)
    several = [members for members in frames.values() if len(members) > 1]
    if not several:
        return True, False
    scale = extent(poses[[members[0] for members in frames.values()]])
    good = 0
    for members in several:
        angle, moved, _ = spread(poses[members])
        good += angle <= MOST_DEGREES and moved <= MOST_MOVED * scale + 1e-6 * (1 + float(np.linalg.norm(poses[members[0], :3, 3])))
    return 2 * good >= len(several), True


def _apart(names: Sequence[str]) -> list[tuple[str, str]]:
    """Folders that differ, joined by -, and the file's name without its extension, of each name."""
    paths = [name.strip("/").split("/") for name in names]
    folders = [[part for part in path[:-1] if part not in ("", ".", "..")] for path in paths]
    if len({len(folder) for folder in folders}) == 1:
        levels = range(len(folders[0]))
        differ = [level for level in levels if len({folder[level] for folder in folders}) > 1]
        if not differ:  # one camera's folder, unless it has a name of all pictures'
            differ = [level for level in levels if folders[0][level].lower() not in _GENERAL][-1:]
        folders = [[folder[level] for level in differ] for folder in folders]
    return [("-".join(folder), re.sub(r"\.[A-Za-z0-9]{1,5}$", "", path[-1])) for folder, path in zip(folders, paths, strict=True)]


def frame_of(word: str) -> int | None:
    """The last number in a word, where it can be a frame's; None where there is none."""
    digits = re.findall(r"[0-9]+", word)
    return int(digits[-1]) if digits and len(digits[-1]) < 11 and int(digits[-1]) <= _MOST_FRAME else None


def _folder_is_camera(folder: str, stem: str) -> tuple[str, int] | None:
    return (folder, frame_of(stem) or 0) if folder else None


def _folder_is_frame(folder: str, stem: str) -> tuple[str, int] | None:
    frame = frame_of(folder)
    return None if frame is None or not stem else (stem, frame)


def _camera_before_frame(folder: str, stem: str) -> tuple[str, int] | None:
    found = re.fullmatch(r"(.*?)[-_.]?([0-9]+)", stem)
    if folder or not found or not found[1] or frame_of(found[2]) is None:
        return None
    return found[1], int(found[2])


def _frame_before_camera(folder: str, stem: str) -> tuple[str, int] | None:
    found = re.fullmatch(r"[A-Za-z]*[-_]?([0-9]+)[-_.](.+)", stem)
    if folder or not found or frame_of(found[1]) is None:
        return None
    return found[2], int(found[1])


_Rule = Callable[[str, str], tuple[str, int] | None]
_RULES: tuple[tuple[str, _Rule], ...] = (
    ("folder", _folder_is_camera),
    ("folder of a frame", _folder_is_frame),
    ("camera first", _camera_before_frame),
    ("frame first", _frame_before_camera),
)
_HOW: Mapping[str, str] = {
    "folder": "the folder is the camera and the last number the frame",
    "folder of a frame": "the folder is the frame and the rest the camera",
    "camera first": "the last number is the frame and what stands before it the camera",
    "frame first": "the first number is the frame and what follows it the camera",
}
