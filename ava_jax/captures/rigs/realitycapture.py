"""RealityCapture / RealityScan: an XMP file per picture, or a CSV of registered pictures.

Numbers are relative to the picture's larger side, so that pictures must be there. As the vendor's note on camera maths has it: rotation by
rows, world to camera, OpenCV's axes; position is the centre. The CSV's angles turn camera to world with OpenGL's axes. Corner origin is
assumed, and OpenCV's order of the tangential pair. None of this was verified with data of the program: `reprojection` tells what fits.
"""

import csv
import io
import pathlib
from collections.abc import Mapping

import numpy as np

from ava_jax.captures.rigs import building, pictures, values, xml_tree
from ava_jax.captures.rigs.types import Distortion, Rig, RigCamera
from ava_jax.data import text_files

_COLUMNS = ("name", "x", "y", "alt", "heading", "pitch", "roll", "f", "px", "py", "k1", "k2", "k3", "k4", "t1", "t2")
_MODELS = ("perspective", "brown3", "brown4", "brown3t2", "brown4t2")
_ADVICE = "export undistorted images with their registration"
_SURE = (
    "not verified with the program's own data: look at the reprojection report; undistorted images with their registration are the safest"
)


def xmp_files(path: pathlib.Path) -> list[pathlib.Path]:
    """XMP files at a path: itself, or those of a folder and its folders."""
    if path.is_file():
        return [path] if path.suffix.lower() == ".xmp" else []
    return sorted(p for pattern in ("*.xmp", "*/*.xmp", "*.XMP") for p in path.glob(pattern))


def is_csv(path: pathlib.Path) -> bool:
    """Whether a file begins with the header of the registration's CSV."""
    if path.suffix.lower() not in (".csv", ".txt") or not path.is_file():
        return False
    try:
        with open(path, "rb") as file:
            return file.read(40).removeprefix(b"\xef\xbb\xbf").lower().replace(b" ", b"").startswith(b"#name,x,y,alt")
    except OSError:
        return False


def csv_files(path: pathlib.Path) -> list[pathlib.Path]:
    """CSV files of a registration at a path."""
    candidates = [path] if path.is_file() else sorted(path.glob("*.csv"))
    return [file for file in candidates if is_csv(file)]


def read(path: pathlib.Path, images: pathlib.Path | None = None) -> Rig:
    """The rig of XMP files or of a CSV.

    Args:
      path: a CSV, or a folder with XMP files or one CSV.
      images: folder of the pictures; None is beside the files, and for a CSV the folders above and their `images` too.

    Raises:
      ValueError: a file is missing or wrong, or a picture is not there; the message names file and line.
    """
    listed = csv_files(path)
    if len(listed) > 1 or (listed and path.is_dir() and xmp_files(path)):
        raise ValueError(f"{path}: holds {len(listed)} registrations as CSV, and XMP files or others; name one file.")
    if listed:
        return _read_csv(listed[0], images)
    found = xmp_files(path) if path.is_dir() else xmp_files(path.parent)
    if not found:
        raise ValueError(f"{path}: must hold XMP files or a CSV with the header #name,x,y,alt,heading,pitch,roll,f,...")
    return _read_xmp(path if path.is_dir() else path.parent, found, images)


# XMP.


def _read_xmp(folder: pathlib.Path, files: list[pathlib.Path], images: pathlib.Path | None) -> Rig:
    shots, without, coordinates = [], [], set()
    for file in files:
        given = _xmp(file)
        if "Rotation" not in given or "Position" not in given:
            without.append(file.name)
            continue
        coordinates.add(given.get("Coordinates", ("?", 0))[0])
        name = file.relative_to(folder).with_suffix("").as_posix()
        root = images or folder
        picture = pictures.existing(root, name)
        if picture is None:
            raise ValueError(f"{file}: its picture, {name} with .png, .jpg or the like below {root}, must be there: it gives the size.")
        shots.append(building.Shot(name, _xmp_camera(file, given, pictures.size(picture)), picture, pictures.mask(root, picture)))
    notes = [f"RealityCapture XMP of {len(shots)} pictures, coordinates {', '.join(sorted(coordinates)) or 'none'}; {_SURE}"]
    if without:
        notes.append(
            f"{len(without)} XMP files have no pose and are left out: {', '.join(without[:3])}{', ...' if len(without) > 3 else ''}"
        )
    return building.build(folder, shots, notes)


def _xmp(file: pathlib.Path) -> dict[str, tuple[str, int]]:
    """Attributes and elements of an XMP file by name, each with its line."""
    root = xml_tree.read(file)
    found: dict[str, tuple[str, int]] = {}
    left = [root]
    while left:
        node = left.pop()
        found.update({key: (value, node.line) for key, value in node.attributes.items()})
        if not node.children:
            found[node.tag] = (node.text, node.line)
        left += node.children
    return found


def _xmp_camera(file: pathlib.Path, given: Mapping[str, tuple[str, int]], size: tuple[int, int]) -> RigCamera:
    line = 0

    def numbers(key: str, shape: tuple[int, ...], default: str | None = None) -> np.ndarray:
        nonlocal line
        if key not in given and default is None:
            raise ValueError(f"has no xcr:{key}")
        text, line = given.get(key, (default, line))
        return values.array(text.split(), shape, f"xcr:{key}")

    try:
        turn = numbers("Rotation", (3, 3))
        pose = values.pose_of_centre(turn, numbers("Position", (3,)))
        inner = [float(numbers(key, (1,), default)[0]) for key, default in (("FocalLength35mm", None), ("PrincipalPointU", "0"),
                 ("PrincipalPointV", "0"), ("AspectRatio", "1"), ("Skew", "0"))]  # fmt: skip
        key = "DistortionCoeficients" if "DistortionCoeficients" in given else "DistortionCoefficients"
        terms = numbers(key, (6,), "0 0 0 0 0 0")
        model, line = given.get("DistortionModel", ("perspective", line))
        distortion = _distortion(model, terms)
        k = _k(inner[0], inner[1], inner[2], size, inner[3], inner[4])
    except ValueError as e:
        raise ValueError(f"{file}, line {line}: {e}.") from e
    return RigCamera("", size, k, pose, distortion)


def _distortion(model: str, terms: np.ndarray) -> Distortion:
    """Of k1 k2 k3 k4 t1 t2; what a model lacks must be 0."""
    if model not in _MODELS:
        raise ValueError(f"DistortionModel must be one of {', '.join(_MODELS)}; got {model[:30]!r}: {_ADVICE}")
    allowed = np.array([model != "perspective"] * 3 + [model.startswith("brown4")] + [model.endswith("t2")] * 2)
    if (terms[~allowed] != 0).any():
        raise ValueError(f"DistortionModel {model} has no use for all of the coefficients {terms.tolist()}: {_ADVICE}")
    return _brown(terms)


def _brown(terms: np.ndarray) -> Distortion:
    k1, k2, k3, k4, t1, t2 = terms.tolist()
    if not terms.any():
        return Distortion()
    if k4:  # OpenCV's has no such term; Metashape's has, with the pair in the other order
        return Distortion("metashape", (k1, k2, k3, k4, t2, t1))
    return Distortion("opencv", (k1, k2, t1, t2, k3, 0.0, 0.0, 0.0))


def _k(f35: float, u: float, v: float, size: tuple[int, int], aspect: float = 1.0, skew: float = 0.0) -> np.ndarray:
    """K of numbers relative to the larger side; focal length as of 36 mm of film."""
    if skew:
        raise ValueError(f"Skew must be 0; got {skew:g}: {_ADVICE}")
    height, width = size
    side = max(size)
    focal = f35 * side / 36
    return values.pinhole(focal, focal * aspect, width / 2 + u * side - 0.5, height / 2 + v * side - 0.5)


# CSV.


def _read_csv(file: pathlib.Path, images: pathlib.Path | None) -> Rig:
    rows = list(_rows(file))
    names = [pictures.as_written(row["name"]) for _, row in rows]
    root = images or pictures.root(names, pictures.around(file.parent))
    if root is None:
        raise ValueError(f"{file}: its pictures, {names[0][:60]!r} and so on, must be there: they give the size. Name their folder.")
    shots = []
    for (line, row), name in zip(rows, names, strict=True):
        picture = pictures.existing(root, name)
        try:
            if picture is None:
                raise ValueError(f"picture {name[:60]!r} is not below {root}; it gives the size")
            camera = _csv_camera(row, pictures.size(picture))
        except ValueError as e:
            raise ValueError(f"{file}, line {line}: {str(e).rstrip('.')}.") from e
        shots.append(building.Shot(name, camera, picture, pictures.mask(root, picture)))
    return building.build(file, shots, [f"RealityCapture CSV; {_SURE}", f"pictures of {root}"])


def _rows(file: pathlib.Path) -> list[tuple[int, dict[str, str]]]:
    """Rows with their lines, by column."""
    reader = csv.reader(io.StringIO(text_files.read(file)))
    try:
        header = [word.strip().lower().lstrip("#") for word in next(reader, [])]
        if missing := [column for column in _COLUMNS if column not in header]:
            raise ValueError(f"the header must have the columns {', '.join(_COLUMNS)}; {missing[0]} is missing")
        found = []
        for row in reader:
            if not any(word.strip() for word in row):
                continue
            if len(row) != len(header):
                raise ValueError(f"must have {len(header)} values; got {len(row)}")
            found.append((reader.line_num, dict(zip(header, map(str.strip, row), strict=True))))
    except (ValueError, csv.Error) as e:
        raise ValueError(f"{file}, line {max(reader.line_num, 1)}: {e}.") from e
    if not found:
        raise ValueError(f"{file}: lists no picture.")
    return found


def _csv_camera(row: Mapping[str, str], size: tuple[int, int]) -> RigCamera:
    n = {column: values.number(row[column], column) for column in _COLUMNS[1:]}
    heading, pitch, roll = (np.radians(n[key]) for key in ("heading", "pitch", "roll"))
    turn = _about(2, -heading) @ _about(0, pitch) @ _about(1, roll)
    pose = values.pose_of_centre(values.OPENGL @ turn.T, np.array([n["x"], n["y"], n["alt"]]))
    terms = np.array([n[key] for key in ("k1", "k2", "k3", "k4", "t1", "t2")])
    return RigCamera("", size, _k(n["f"], n["px"], n["py"], size), pose, _brown(terms))


def _about(axis: int, angle: float) -> np.ndarray:
    """Rotation [3, 3] about an axis by an angle, right-handed."""
    return values.axis_angle(np.eye(3)[axis] * angle)
