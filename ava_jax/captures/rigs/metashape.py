"""Agisoft Metashape's camera files (XML): sensors, and cameras' poses to the chunk, OpenCV's axes.

Principal points are offsets from the image's centre; pixels have their origin at the corner of the first. Metashape's p1 and p2 are
OpenCV's p2 and p1, and its k4 has no partner there, so that the lens is kept as Metashape's.
"""

import math
import pathlib
from typing import NamedTuple

import numpy as np

from ava_jax.captures.rigs import building, pictures, values, xml_tree
from ava_jax.captures.rigs.types import Distortion, Rig, RigCamera

_TERMS = ("k1", "k2", "k3", "k4", "p1", "p2")
_KNOWN = ("f", "cx", "cy", "b1", "b2", *_TERMS)
_NAMED = 3


class _Sensor(NamedTuple):
    size: tuple[int, int]
    k: np.ndarray
    distortion: Distortion


class _Similarity(NamedTuple):
    """X_world = scale rotation X_chunk + translation."""

    rotation: np.ndarray
    translation: np.ndarray
    scale: float


def read(path: pathlib.Path, images: pathlib.Path | None = None, *, local: bool = False) -> Rig:
    """The rig of a file.

    Args:
      path: the XML file, or a folder with one.
      images: folder of the pictures that cameras' labels name; None looks beside the file and above.
      local: whether meshes were exported in the chunk's local coordinates; False: in world coordinates, by the chunk's transform.

    Raises:
      ValueError: the file is missing or wrong; the message names file and line.
    """
    path = _file(path)
    chunk = _chunk(path)
    sensors: dict[str, _Sensor] = {}
    refused: dict[str, str] = {}
    for node in chunk.walk("sensor"):
        if "id" in node.attributes:
            try:
                sensors[node.attributes["id"]] = _sensor(node)
            except ValueError as e:
                refused[node.attributes["id"]] = f"{path}, line {node.line}: sensor {node.attributes['id']}: {e}."
    worlds = _worlds(path, chunk)
    notes = [f"Metashape, {'local coordinates of the chunk' if local else 'world coordinates'}; metres only where the chunk was scaled"]
    if not local and not any(worlds.values()):
        notes.append("the chunk has no transform: world and local coordinates are the same")
    aligned, skipped = [], []
    for node in (n for n in chunk.walk("camera") if "label" in n.attributes or "sensor_id" in n.attributes):
        usable = node.find("transform") is not None and node.attributes.get("enabled", "true").lower() not in ("false", "0")
        (aligned if usable else skipped).append(node)
    if skipped:
        named = ", ".join(node.attributes.get("label", "?") for node in skipped[:_NAMED])
        notes.append(
            f"{len(skipped)} cameras are not aligned or not enabled and are left out: {named}{', ...' if len(skipped) > _NAMED else ''}"
        )
    names = [_label(node) for node in aligned]
    root = images or pictures.root(names, pictures.around(path.parent))
    notes.append(f"pictures of {root}" if root else f"no pictures near {path.parent}; name their folder")
    shots = []
    for node, name in zip(aligned, names, strict=True):
        number = node.attributes.get("sensor_id", "")
        if number in refused:
            raise ValueError(refused[number])
        try:
            if number not in sensors:
                raise ValueError(f"its sensor_id {number[:20]!r} names no sensor")
            pose = _pose(node, None if local else worlds.get(node.attributes.get("component_id", ""), worlds[""]))
        except ValueError as e:
            raise ValueError(f"{path}, line {node.line}: camera {name[:60]!r}: {e}.") from e
        sensor = sensors[number]
        picture = pictures.existing(root, name) if root else None
        mask = pictures.mask(root, picture) if root and picture else None
        shots.append(building.Shot(name, RigCamera("", sensor.size, sensor.k, pose, sensor.distortion), picture, mask))
    return building.build(path, shots, notes)


def read_local(path: pathlib.Path, images: pathlib.Path | None = None) -> Rig:
    """As `read` with `local`."""
    return read(path, images, local=True)


def _file(path: pathlib.Path) -> pathlib.Path:
    if path.is_file():
        return path
    found = sorted(path.glob("*.xml"))
    if len(found) != 1:
        raise ValueError(f"{path}: must hold one XML file of Metashape; it holds {len(found)}.")
    return found[0]


def _label(node: xml_tree.Node) -> str:
    return pictures.as_written(node.attributes.get("label", "")) or f"camera{node.attributes.get('id', '')}"


def _chunk(path: pathlib.Path) -> xml_tree.Node:
    root = xml_tree.read(path)
    chunks = [chunk for chunk in root.walk("chunk") if chunk.find("cameras")]
    if root.tag != "document" or not chunks:
        raise ValueError(f"{path}: must be Metashape's <document><chunk> with sensors and cameras (File, Export, Export Cameras).")
    if len(chunks) > 1:
        raise ValueError(f"{path}, line {chunks[1].line}: is a second chunk with cameras; export one.")
    return chunks[0]


def _sensor(node: xml_tree.Node) -> _Sensor:
    kind = node.attributes.get("type", "frame")
    if kind != "frame":
        raise ValueError(f"type {kind[:30]!r} is not supported, frame is: export undistorted images and their cameras")
    found = [child for child in node.children if child.tag == "calibration"]
    adjusted = [child for child in found if child.attributes.get("class") == "adjusted"]
    calibration = adjusted[0] if adjusted else None
    if calibration is None:
        raise ValueError("has no adjusted calibration: align the cameras first")
    if calibration.find("fx") is not None:
        raise ValueError("has fx, as PhotoScan before 1.2 wrote, whose numbers mean something else: export it anew")
    resolution = calibration.find("resolution") or node.find("resolution")
    if resolution is None:
        raise ValueError("has no resolution")
    height, width = values.size(resolution.attributes.get("width"), resolution.attributes.get("height"), "resolution")
    given = {key: 0.0 for key in _KNOWN}
    for child in calibration.children:
        if child.tag in given:
            given[child.tag] = values.number(child.text, child.tag)
    if calibration.find("f") is None:
        raise ValueError("its calibration has no f")
    # Corner origin to integer centres: half a pixel.
    k = values.pinhole(given["f"] + given["b1"], given["f"], width / 2 + given["cx"] - 0.5, height / 2 + given["cy"] - 0.5, given["b2"])
    # The affinity acts on distorted coordinates, as K does.
    terms = tuple(given[key] for key in _TERMS)
    return _Sensor((height, width), k, Distortion("metashape", terms) if any(terms) else Distortion())


def _worlds(path: pathlib.Path, chunk: xml_tree.Node) -> dict[str, _Similarity | None]:
    """Chunk to world by component; "" is the chunk's own."""
    found: dict[str, _Similarity | None] = {"": None}
    nodes = [("", chunk)]
    for component in chunk.walk("component"):
        if "id" in component.attributes:
            nodes.append((component.attributes["id"], component))
    for key, node in nodes:
        transform = node.find("transform")
        if transform is None or not transform.children:
            continue
        try:
            found[key] = _similarity(transform)
        except ValueError as e:
            raise ValueError(f"{path}, line {transform.line}: transform of the chunk: {e}.") from e
    return found


def _similarity(node: xml_tree.Node) -> _Similarity:
    def numbers(tag: str, shape: tuple[int, ...], default: np.ndarray) -> np.ndarray:
        child = node.find(tag)
        return default if child is None else values.array(child.text.split(), shape, tag)

    turn = values.rotation(numbers("rotation", (3, 3), np.eye(3)))
    scale = float(numbers("scale", (1,), np.ones(1))[0])
    if not 1e-9 < scale < 1e9:
        raise ValueError(f"scale must be positive and a scale; got {scale:g}")
    return _Similarity(turn, numbers("translation", (3,), np.zeros(3)), scale)


def _pose(node: xml_tree.Node, world: _Similarity | None) -> np.ndarray:
    """World to camera, f64 [4, 4]."""
    given = values.array(node.find("transform").text.split(), (4, 4), "transform")
    if world is not None:
        moved = np.eye(4)
        moved[:3, :3] = world.rotation @ given[:3, :3]
        moved[:3, 3] = world.scale * world.rotation @ given[:3, 3] + world.translation
        if not np.isclose(given[3, 3], 1) or not math.isclose(float(np.abs(given[3, :3]).max()), 0.0, abs_tol=1e-6):
            raise ValueError(f"a pose must end in the row 0 0 0 1; got {given[3].tolist()}")
        given = moved
    return values.pose_of_camera_to_world(given, opengl=False)
