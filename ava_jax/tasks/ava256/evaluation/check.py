"""What `ava train --check` shows of captures: their neutral meshes over images of some cameras, as the calibrations have them; and the UV
chart with what a model's primitives, one per cell, have to show there.
"""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures import ava256, capture_set, chart, photographs, projection, reading, statistics
from ava_jax.captures.ava256 import Capture
from ava_jax.captures.packed.archives import RecordArchives
from ava_jax.data import images, mesh_files
from ava_jax.data.archive import Archives
from ava_jax.tasks.ava256.data import source
from ava_jax.viz import sheet, wire

FILE = "check.jpg"
MOST_CAPTURES, MOST_CAMERAS = 3, 4
_HEIGHT = 440  # pixels of a photograph


def write(config: ConfigDict, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes FILE into `folder`, which is made, and returns its path in a list. Without a model in the config the chart is left out.

    The calibrations are taken as they stand, wrong ones too: those are what the picture is for.

    Raises:
      ValueError: a capture's files are missing or malformed.
    """
    data = config.data
    strips, captures = [], []
    for path in ava256.find(source.root(config), data.ids)[:MOST_CAPTURES]:
        captures.append(capture_set.load_one(path, tuple(data.cameras), judge=False))
        topology = capture_set.topology_of(path.parent, captures[-1:], data.topology)
        strips.append(strip(RecordArchives(), captures[-1], topology))
    if "model" in config:
        strips.append(chart_strip(captures[0], topology, config.model))
        print(f"{'chart:':<9} {strips[-1].title}", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    sheet.save(sheet.compose(strips, columns=1, height=round(_HEIGHT * (1 + 2 * wire.MARGIN))), folder / FILE)
    return [folder / FILE]


def strip(archives: Archives, capture: Capture, topology: pathlib.Path) -> sheet.Strip:
    """A capture's mesh over images of the cameras that see the least of it, the most, and some between.

    Args:
      archives: the capture's zips.
      capture: whose.
      topology: path of the OBJ with the mesh's faces.

    Raises:
      ValueError: the mesh or its faces cannot be read.
    """
    found = projection.reference(archives, capture)
    faces = mesh_files.read_topology(topology, len(found.points)).faces
    seen = projection.fractions(found, capture)
    order = np.argsort(np.round(seen, 2), kind="stable")
    chosen = order[np.unique(np.linspace(0, len(order) - 1, MOST_CAMERAS).round().astype(int))]
    panels = []
    for camera in sorted(chosen.tolist()):
        picture = _photograph(archives, capture, camera, found.frame)
        what = "" if picture.any() else ", no image"
        pixels = photographs.project(found.points, capture, camera, picture.shape[0])
        drawn = wire.overlay(picture, pixels, faces, _HEIGHT)
        panels.append((f"camera {capture.cameras[camera]}: {seen[camera]:.0%} inside{what}", drawn))
    least, most = f"{seen.min():.0%}", f"{seen.max():.0%}"
    much = least if least == most else f"{least} to {most}"
    title = f"{capture.name}, frame {found.frame}: the mesh in {len(chosen)} of {len(seen)} cameras; {much} of it inside"
    return sheet.Strip(title, tuple(panels))


def chart_strip(capture: Capture, topology: pathlib.Path, model: ConfigDict) -> sheet.Strip:
    """A capture's mean texture: the face as it is, the rest of the head darker, what shows nothing in red. The title has the figures.

    Args:
      capture: whose.
      topology: path of the OBJ with the chart.
      model: `config.model`.

    Raises:
      ValueError: the mean mesh or the chart cannot be read, or the chart covers nothing.
    """
    (mean,) = statistics.vertex_means([capture.vertices_mean])
    mesh = mesh_files.read_topology(topology, len(mean))
    title = chart.measure(mesh, mean, per_side=model.primitives_per_side, volume_radius=model.volume_radius).line()
    part = chart.shown(mesh, mean, _HEIGHT)[..., None]
    path = capture.texture_mean
    try:
        texture = images.decode(path.read_bytes(), (_HEIGHT, _HEIGHT))
    except (OSError, ValueError):
        texture = np.full((_HEIGHT, _HEIGHT, 3), 128, np.uint8)  # the picture is to come where data are wrong
    drawn = np.where(part == 2, texture, np.where(part == 1, texture // 3, np.array([150, 30, 30], np.uint8)))
    return sheet.Strip(title, (("UV chart: the face bright, the rest dark, red where there is no surface", drawn.astype(np.uint8)),))


def _photograph(archives: Archives, capture: Capture, camera: int, frame: int) -> np.ndarray:
    """A camera's image of a frame, u8 [H, W, 3]; black where there is none that can be read."""
    try:
        return photographs.photograph(archives, capture, camera, frame, _HEIGHT)
    except reading.Unreadable:
        return np.zeros((*photographs.size(capture, _HEIGHT), 3), np.uint8)
