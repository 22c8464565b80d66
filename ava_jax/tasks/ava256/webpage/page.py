"""A baked segment as one HTML file, which opens from a disk and asks for nothing else."""

import base64
import html
import json
import math
import pathlib
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from ava_jax.data import files
from ava_jax.tasks.ava256.webpage.bake import Baked

_FOLDER = pathlib.Path(__file__).parent
_SCRIPTS = ("unpack.js", "scene.js", "camera.js", "webgl2.js", "webgpu.js", "app.js")  # in this order
_LARGEST_INT16 = 32767
_DEFLATE = 6  # 9 takes minutes at full size, for a hundredth
_SHADERS = ("voxels.frag", "march.frag", "march.wgsl")


class Page(NamedTuple):
    """What a page says and how it begins.

    Attributes:
      title: of the window.
      about: a line in its corner.
      fps: frames per second at the usual speed.
      background: 0-255.
      gain, offset: f32 [3], the colours' calibration, 0-255.
      step_size: of the march, volume radii.
      radius: of the volume, mm.
      middle: [3], mm, that the camera orbits.
      size: width and height of the mean mesh, mm.
      margin: picture's height over the mesh's.
      distance: of the camera at first, mm.
    """

    title: str
    about: str
    fps: float
    background: tuple[int, int, int]
    gain: np.ndarray
    offset: np.ndarray
    step_size: float
    radius: float
    middle: np.ndarray
    size: tuple[float, float]
    margin: float
    distance: float


def write(path: pathlib.Path, baked: Baked, page: Page) -> int:
    """Writes the page, whole or not at all.

    Returns:
      Its size, bytes.

    Raises:
      OSError: it cannot be written.
    """
    side = baked.mean.shape[1]
    grid = _grid(len(baked.mean))
    entries, parts, at = {}, [], 0
    for name, array, row in _arrays(baked, grid):
        packed, row = _pack(array, row)
        entries[name] = {"offset": at, "size": len(packed), "type": str(array.dtype), "delta": row}
        parts.append(packed)
        at += len(packed)
    header = {
        "frames": len(baked.weights),
        "primitives": len(baked.mean),
        "side": side,
        "grid": grid,
        "rank": len(baked.basis),
        "colour_scale": baked.colour_scale,
        "log_density": baked.log_density,
        "first_view": baked.first_view.tolist(),
        "step_size": page.step_size,
        "radius": page.radius,
        "fps": page.fps,
        "gain": np.asarray(page.gain, float).tolist(),
        "offset": (np.asarray(page.offset, float) / 255).tolist(),
        "background": "#" + bytes(page.background).hex(),
        "about": page.about,
        "camera": {
            "middle": np.asarray(page.middle, float).tolist(),
            "width": page.size[0],
            "height": page.size[1],
            "margin": page.margin,
            "distance": page.distance,
        },
        "arrays": entries,
    }
    text = _fill(page.title, header, base64.b64encode(b"".join(parts)).decode())
    files.replace(path, text)
    return len(text.encode())


def _grid(count: int) -> tuple[int, int]:
    """Boxes along the textures' sides."""
    across = math.isqrt(count - 1) + 1
    return across, -(-count // across)


def _arrays(baked: Baked, grid: tuple[int, int]) -> Iterator[tuple[str, np.ndarray, int]]:
    """Names, arrays, and the length of rows that are stored as differences; 0: as they are."""
    side = baked.mean.shape[1]
    for i, boxes in enumerate([baked.mean, *baked.basis]):
        yield f"voxels_{i}", _as_slices(boxes, grid), grid[0] * side
    for name in ("basis_scale", "weights", "view"):
        yield name, np.asarray(getattr(baked, name), np.float32), 0
    for name, parts in baked.poses.items():
        mean, basis, weights = parts
        scale = np.maximum(np.abs(basis).max(1, initial=0), 1e-30) / _LARGEST_INT16
        for part, array in (("mean", mean), ("basis", np.rint(basis / scale[:, None]).astype("<i2")), ("weights", weights * scale)):
            yield f"{name}_{part}", array if part == "basis" else np.asarray(array, np.float32), 0


def _as_slices(boxes: np.ndarray, grid: tuple[int, int]) -> np.ndarray:
    """Boxes u8 [K, D, D, D, 4] side by side: [4, D (z), rows, columns]."""
    count, side = boxes.shape[:2]
    across, down = grid
    whole = np.zeros((across * down, *boxes.shape[1:]), np.uint8)
    whole[:count] = boxes
    whole = whole.reshape(down, across, side, side, side, 4)  # row, column, z, y, x, channel
    return np.ascontiguousarray(whole.transpose(5, 2, 0, 3, 1, 4)).reshape(4, side, down * side, across * side)


def _pack(array: np.ndarray, row: int) -> tuple[bytes, int]:
    """Deflated, as differences along rows of so many bytes where that is shorter: and whether it is, as the length of rows or 0."""
    ways = {0: array}
    if row:
        rows = array.reshape(-1, row)
        ways[row] = np.concatenate([rows[:, :1], np.diff(rows, axis=1)], axis=1)  # modulo 256
    ways = {row: way.tobytes() for row, way in ways.items()}
    best = min(ways, key=lambda row: len(zlib.compress(ways[row], 1)))
    return zlib.compress(ways[best], _DEFLATE), best


def _fill(title: str, header: dict[str, Any], data: str) -> str:
    shaders = {name: (_FOLDER / name).read_text(encoding="utf-8") for name in _SHADERS}
    scripts = [f"const SHADERS = {_json(shaders)};", *((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS)]
    text = (_FOLDER / "page.html").read_text(encoding="utf-8")
    values = {"TITLE": html.escape(title), "HEADER": _json(header), "SCRIPTS": "\n".join(scripts), "DATA": data}
    for name, value in values.items():  # the data last: nothing looks for names in it
        text = text.replace("{{" + name + "}}", value)
    return text


def _json(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(value, allow_nan=False).replace("<", "\\u003c")
