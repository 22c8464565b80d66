"""OBJ text looked at line by line: any form that the format allows, and the line of an error by its number."""

import codecs
import re
from typing import NamedTuple

import numpy as np

_MOST_BYTES = 20 << 20  # 8 s, and 40 times as much memory
_MOST = float(np.finfo(np.float32).max)


class Obj(NamedTuple):
    """A mesh, in the order and the unit of its file.

    Attributes:
      vertices: f32 [V, 3].
      faces: int32 [M, 3], vertices of triangles; a polygon of k corners is a fan of k - 2 around its first corner. M may be 0.
      colours: f32 [V, 3], of lines `v x y z r g b`; None without.
      uvs: f32 [U, 2]; None without.
      face_uvs: int32 [M, 3], rows of `uvs`; None where a face lacks them.
    """

    vertices: np.ndarray
    faces: np.ndarray
    colours: np.ndarray | None = None
    uvs: np.ndarray | None = None
    face_uvs: np.ndarray | None = None


def fan(corners: np.ndarray) -> np.ndarray:
    """Positions of the corners of triangles, int64 [M, 3], of polygons with so many corners each, int64 [P], one after the other."""
    triangles = corners - 2
    first = np.repeat(np.cumsum(corners) - corners, triangles)
    step = np.arange(len(first)) - np.repeat(np.cumsum(triangles) - triangles, triangles)
    return np.stack([first, first + step + 1, first + step + 2], axis=1)


def first_face_without_uvs(data: bytes) -> tuple[int, str] | None:
    """Line, from 1, and words of the first face of which a corner names no UV; None where all do. `data`: as of `parse`."""
    for number, words in _statements(data.removeprefix(codecs.BOM_UTF8)):
        if words[0] == "f" and not all(len(parts := word.split("/")) > 1 and parts[1] for word in words[1:]):
            return number, " ".join(words)
    return None


def parse(data: bytes, name: str) -> Obj:
    """Any OBJ, line by line.

    Args:
      data: the content, without a byte order mark.
      name: what messages call it.

    Raises:
      ValueError: a line is malformed, an index names nothing, or there is no vertex; the message names the line. Or the file is too large
        for this way of reading.
    """
    if len(data) > _MOST_BYTES:
        raise ValueError(
            f"{name}: {len(data)} bytes, of lines that begin with spaces, go on over several, or are wrong; "
            f"at most {_MOST_BYTES >> 20} MiB of such are read. Export it anew."
        )
    positions: list[list[float]] = []
    uvs: list[list[float]] = []
    polygons: list[tuple[int, list[tuple[int, int | None]]]] = []  # (line, corners as (vertex, UV), from 0)
    for number, words in _statements(data):
        try:
            if words[0] == "v":
                if len(words) - 1 not in (3, 4, 6, 7):
                    raise ValueError("a vertex has 3 coordinates, and may have a weight and a colour of 3")
                positions.append(_finite(words[1:]))
            elif words[0] == "vt":
                uvs.append((_finite(words[1:3]) + [0.0])[:2])
            elif words[0] == "f":
                if len(words) < 4:
                    raise ValueError("a face has 3 corners or more")
                polygons.append((number, [_corner(word, len(positions), len(uvs)) for word in words[1:]]))
        except (ValueError, IndexError) as e:
            raise ValueError(f"{name}, line {number}: {str(e)[:160]}; got {' '.join(words)[:80]!r}.") from e
    if not positions:
        raise ValueError(f"{name}: must be an OBJ file with vertices, lines 'v x y z'; it has none.")
    for number, polygon in polygons:
        for vertex, uv in polygon:
            if not 0 <= vertex < len(positions) or (uv is not None and not 0 <= uv < len(uvs)):
                there = f"{len(positions)} vertices and {len(uvs)} UVs"
                raise ValueError(f"{name}, line {number}: a corner must name one of {there}; got vertex {vertex + 1}, UV {(uv or 0) + 1}.")
    fanned = fan(np.array([len(polygon) for _, polygon in polygons], np.int64))
    flat = [corner for _, polygon in polygons for corner in polygon]
    faces = np.array([vertex for vertex, _ in flat], np.int32)[fanned].reshape(-1, 3)
    face_uvs = None
    if flat and all(uv is not None for _, uv in flat):
        face_uvs = np.array([uv for _, uv in flat], np.int32)[fanned]
    vertices = np.array([row[:3] for row in positions], np.float32)
    colours = np.array([row[-3:] for row in positions], np.float32) if all(len(row) >= 6 for row in positions) else None
    return Obj(vertices, faces, colours, np.array(uvs, np.float32) if uvs else None, face_uvs)


def _statements(data: bytes):
    """(number of its first line, words) of each statement; comments are left out, lines that a backslash continues are joined."""
    text = data.decode("utf-8", errors="replace")
    joined, begun = "", 0
    for number, line in enumerate(re.split(r"\r\n|\n|\r", text), 1):
        begun = begun or number
        line = line.partition("#")[0]
        if line.rstrip().endswith("\\"):
            joined += line.rstrip()[:-1] + " "
            continue
        words = (joined + line).split()
        if words:
            yield begun, words
        joined, begun = "", 0


def _finite(words: list[str]) -> list[float]:
    """Numbers, of which there must be one at least.

    Raises:
      ValueError: one is none, or not finite.
    """
    values = [_number(float, word) for word in words]
    if not values or not all(abs(value) <= _MOST for value in values):  # NaN is not
        raise ValueError("finite numbers must stand here")
    return values


def _number(kind: type, word: str) -> float | int:
    """The number that a word is; Python itself would also take `1_000`."""
    if "_" in word:
        raise ValueError(f"{word[:40]!r} is no number")
    return kind(word)


def _corner(word: str, vertices: int, uvs: int) -> tuple[int, int | None]:
    """Vertex and UV, from 0, of `v`, `v/vt`, `v//vn` or `v/vt/vn`."""
    parts = word.split("/")
    vertex, uv = _number(int, parts[0]), _number(int, parts[1]) if len(parts) > 1 and parts[1] else None
    if vertex == 0 or uv == 0 or len(parts) > 3:
        raise ValueError("a corner is v, v/vt, v//vn or v/vt/vn, each counted from 1, or from -1 backwards")
    return vertex - 1 if vertex > 0 else vertex + vertices, None if uv is None else uv - 1 if uv > 0 else uv + uvs
