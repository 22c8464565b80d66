"""COLMAP's models, in text: `cameras.txt` and `images.txt`; `colmap_binary` reads the others. Points are passed over.

Poses are world to camera with OpenCV's axes; the origin of pixels is the corner of the first, so that half a pixel is taken off.
"""

import pathlib
from collections.abc import Iterator, Sequence

import numpy as np

from ava_jax.captures.rigs import building, colmap_binary, pictures, values
from ava_jax.captures.rigs.colmap_models import Intrinsics, intrinsics
from ava_jax.captures.rigs.types import Rig, RigCamera

_MOST_LINE = 1 << 26  # bytes: a line of points has 25 for each
_MOST_CAMERA_LINE = 1 << 12


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Rig:
    """The rig of a model.

    Args:
      path: folder with `cameras` and `images` as .bin or .txt, or one of these files.
      images: folder of the pictures; None looks in the folder and those above, and their folders `images`.

    Raises:
      ValueError: a file is missing or damaged, a model is not supported; the message names file and line, or the image's number.
    """
    folder = path if path.is_dir() else path.parent
    kinds = [kind for kind in (".bin", ".txt") if (folder / f"cameras{kind}").is_file() and (folder / f"images{kind}").is_file()]
    if path.is_file():
        kinds = [path.suffix.lower()] if path.suffix.lower() in kinds else []
    if not kinds:
        raise ValueError(f"{folder}: a COLMAP model must have cameras.bin and images.bin, or cameras.txt and images.txt.")
    kind = kinds[0]
    notes = [f"COLMAP model {folder}, {'binary' if kind == '.bin' else 'text'}; its scale is arbitrary: one must be given"]
    if len(kinds) > 1:
        notes.append("the model is there in text too, which is not looked at")
    source = folder / f"images{kind}"
    if kind == ".bin":
        cameras = colmap_binary.read_cameras(folder / "cameras.bin")
        listed = colmap_binary.read_images(source)
    else:
        cameras = read_cameras(folder / "cameras.txt")
        listed = read_images(source)
    return building.build(source, _shots(source, cameras, listed, folder, images, notes), notes)


def _shots(
    source: pathlib.Path,
    cameras: dict[int, Intrinsics],
    listed: Sequence[tuple[str, str, np.ndarray, int]],
    folder: pathlib.Path,
    images: pathlib.Path | None,
    notes: list[str],
) -> list[building.Shot]:
    names = [pictures.as_written(name) for _, name, _, _ in listed]
    root = images or pictures.root(names, pictures.around(folder))
    notes.append(f"pictures of {root}" if root else f"no pictures near {folder}; name their folder")
    shots = []
    for (where, _, pose, camera_id), name in zip(listed, names, strict=True):
        if camera_id not in cameras:
            raise ValueError(f"{source}{where}: image {name!r} is of camera {camera_id}, which the list of cameras lacks.")
        size, k, distortion = cameras[camera_id]
        picture = pictures.existing(root, name) if root else None
        mask = pictures.mask(root, picture) if root and picture else None
        shots.append(building.Shot(name, RigCamera("", size, k, pose, distortion), picture, mask))
    return shots


def read_cameras(path: pathlib.Path) -> dict[int, Intrinsics]:
    """Cameras of `cameras.txt` by their id.

    Raises:
      ValueError: a line is wrong; the message has its number.
    """
    found: dict[int, Intrinsics] = {}
    for line, text in _lines(path, _MOST_CAMERA_LINE):
        words = text.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            if len(words) < 5:
                raise ValueError("must be CAMERA_ID MODEL WIDTH HEIGHT PARAMS")
            number = values.whole(words[0], "CAMERA_ID", 2**32 - 1)
            if number in found:
                raise ValueError(f"camera {number} is there twice")
            found[number] = intrinsics(words[1], words[2], words[3], words[4:])
        except ValueError as e:
            raise ValueError(f"{path}, line {line}: {e}.") from e
    if not found:
        raise ValueError(f"{path}: lists no camera.")
    return found


def read_images(path: pathlib.Path) -> list[tuple[str, str, np.ndarray, int]]:
    """Images of `images.txt`: where in the file, name, world to camera f64 [4, 4], camera's id.

    Raises:
      ValueError: a line is wrong; the message has its number.
    """
    found, seen = [], set()
    lines = _lines(path, _MOST_LINE)
    for line, text in lines:
        if not text.strip() or text.lstrip().startswith("#"):
            continue
        try:
            words = text.strip().split(maxsplit=9)
            if len(words) < 10:
                raise ValueError("must be IMAGE_ID QW QX QY QZ TX TY TZ CAMERA_ID NAME")
            number = values.whole(words[0], "IMAGE_ID", 2**32 - 1)
            if number in seen:
                raise ValueError(f"image {number} is there twice")
            seen.add(number)
            turn = values.quaternion(values.array(words[1:5], (4,), "QW QX QY QZ"))
            pose = values.pose(turn, values.array(words[5:8], (3,), "TX TY TZ"))
            camera_id = values.whole(words[8], "CAMERA_ID", 2**32 - 1)
        except ValueError as e:
            raise ValueError(f"{path}, line {line}: {e}.") from e
        found.append((f", line {line}", words[9], pose, camera_id))
        after, points = next(lines, (line + 1, ""))  # the line of points, which may be empty
        if not _are_points(points):
            raise ValueError(
                f"{path}, line {after}: must hold X Y POINT3D_ID triples or be empty: an image has two lines; got {points.strip()[:40]!r}."
            )
    if not found:
        raise ValueError(f"{path}: lists no image.")
    return found


def _are_points(text: str) -> bool:
    """Whether a line is triples of numbers, by its count and its ends."""
    words = text.split()
    if len(words) % 3:
        return False
    try:
        return not words or (all(np.isfinite(float(word)) for word in words[:2]) and int(words[2]) >= -1 and int(words[-1]) >= -1)
    except ValueError:
        return False


def _lines(path: pathlib.Path, most: int) -> Iterator[tuple[int, str]]:
    """Lines and their numbers; those of points make a file of hundreds of MB, which is never held as a whole."""
    try:
        with open(path, "rb") as file:
            number = 0
            while data := file.readline(most):
                number += 1
                if len(data) == most and not data.endswith(b"\n"):
                    raise ValueError(f"{path}, line {number}: is longer than {most} bytes.")
                if number == 1 and data.startswith(b"\xef\xbb\xbf"):
                    data = data[3:]
                try:
                    yield number, data.decode()
                except UnicodeDecodeError as e:
                    raise ValueError(f"{path}, line {number}: is no text in UTF-8.") from e
    except OSError as e:
        raise ValueError(f"{path}: cannot be read ({e}).") from e
