"""Meshes as OBJ text: read to arrays, and written again with other positions.

Files as programs write them, of many lines of one form, are parsed in bulk: 32,731 vertices and 65,384 triangles take some 20 ms. All
others (indented lines, continued lines, faces of several forms, exponents, ...) take a parser that looks at every line; the mesh is the
same. It is also the one that names the line of an error. General mesh libraries are no help here: they merge or reorder vertices.
"""

import codecs
import pathlib
import re

import numpy as np

from ava_jax.data import obj_lines
from ava_jax.data.obj_lines import Obj, fan

_DIGITS = b"0123456789"
_MOST_BYTES = 3 << 24  # 15 times a mesh of 32,731 vertices; 4 s, and 16 times as much memory
_MOST_RUNS = 1000  # of lines of one kind, in a file that is parsed in bulk
_MOST_CHARACTERS = 19  # of a number in decimal notation: its digits fit 64 bits
_MOST_INDEX = 2**31 - 1
_TEN_TO = 10.0 ** np.arange(_MOST_CHARACTERS + 1)  # exact in float64
# A line of a vertex, up to its end, with lines that a backslash continues.
_VERTEX_LINE = re.compile(rb"^[ \t]*v[ \t](?:\\\r?\n|[^\r\n])*", re.M)


def read(path: pathlib.Path) -> Obj:
    """Reads an OBJ file. Normals, groups, materials, lines and points are passed over.

    Raises:
      ValueError: a line is malformed, an index names nothing, or there is no vertex; the message names file and line.
      OSError: the file cannot be read.
    """
    return parse(path.read_bytes(), str(path))


def parse(data: bytes, name: str = "OBJ") -> Obj:
    """As `read`, of a file's content.

    Args:
      data: the content.
      name: what messages call it.
    """
    data = data.removeprefix(codecs.BOM_UTF8)
    if len(data) > _MOST_BYTES:
        raise ValueError(f"{name}: must be an OBJ file of {_MOST_BYTES >> 20} MiB at most; it has {len(data)} bytes.")
    mesh = _parse_in_bulk(data)
    if mesh is None:
        mesh = _parse_in_bulk(_plain_spaces(data))
    return mesh if mesh is not None else obj_lines.parse(data, name)


def with_vertices(data: bytes, vertices: np.ndarray, *, decimals: int = 6) -> bytes:
    """The content of an OBJ file with its vertices moved; all else, face lines above all, stays as it is, byte for byte.

    Args:
      data: the content.
      vertices: [V, 3], as many as the file has. What follows the position on a line, as a colour, is kept.
      decimals: after the point.

    Raises:
      ValueError: the file has another number of vertices.
    """
    block = _vertex_block(data)
    if block is not None and len(vertices) == data.count(b"\n", *block):
        _require_count(vertices, len(vertices))
        text = _vertex_lines(vertices, decimals).encode()
        if data[block[1] - 2 : block[1]] == b"\r\n":
            text = text.replace(b"\n", b"\r\n")
        return data[: block[0]] + text + data[block[1] :]
    lines = _VERTEX_LINE.findall(data)
    _require_count(vertices, len(lines))
    between = _VERTEX_LINE.split(data)
    moved = _vertex_lines(vertices, decimals).encode().splitlines()
    for i, line in enumerate(lines):
        if extra := line.replace(b"\\\r\n", b" ").replace(b"\\\n", b" ").split()[4:]:
            moved[i] = b" ".join((moved[i], *extra))
    return b"".join(part for pair in zip(between, [*moved, b""], strict=True) for part in pair)


def _require_count(vertices: np.ndarray, count: int) -> None:
    if np.shape(vertices) != (count, 3):
        raise ValueError(f"with_vertices: vertices must be [{count}, 3] as in the file; got {list(np.shape(vertices))}.")


def _vertex_block(data: bytes) -> tuple[int, int] | None:
    """Where lines `v x y z` begin and end that are all vertices of the file, without gap; None where they are not so."""
    if b"\\" in data or not (first := _VERTEX_LINE.search(data)):
        return None
    start, last = first.start(), data.rfind(b"\nv ")
    end = data.find(b"\n", last + 1) + 1
    if last < start or not end or _VERTEX_LINE.search(data, end):
        return None
    shapes = data[start:end].translate(None, _DIGITS + b".-+eE")
    line = shapes[: shapes.index(b"\n") + 1]
    regular = line in (b"v   \n", b"v   \r\n") and shapes == line * shapes.count(b"\n")
    return (start, end) if regular else None


def write(path: pathlib.Path, vertices: np.ndarray, faces: np.ndarray | None = None, *, decimals: int = 6) -> None:
    """Writes a mesh without UVs.

    Args:
      path: of the file.
      vertices: [V, 3].
      faces: int [M, k], vertices from 0; None writes points.
      decimals: after the point.
    """
    text = _vertex_lines(vertices, decimals)
    if faces is not None:
        text += ("f" + " %d" * faces.shape[1] + "\n") * len(faces) % tuple((np.asarray(faces) + 1).ravel().tolist())
    path.write_text(text, newline="\n")


def _vertex_lines(vertices: np.ndarray, decimals: int) -> str:
    line = f"v %.{decimals}f %.{decimals}f %.{decimals}f\n"
    return line * len(vertices) % tuple(np.asarray(vertices, np.float64).ravel().tolist())


# Files of many lines of one form.


def _parse_in_bulk(data: bytes) -> Obj | None:
    """The mesh; None where a line is unusual or wrong, which is for `obj_lines.parse` to tell."""
    if b"\\" in data or not data.endswith(b"\n"):
        return None
    text = np.frombuffer(data, np.uint8)
    starts = np.concatenate([[0], np.flatnonzero(text == ord("\n")) + 1])  # the last one is the end of the file
    kinds = text[starts[:-1]] * np.uint16(256) + text[np.minimum(starts[:-1] + 1, len(text) - 1)]
    edges = np.concatenate([[0], np.flatnonzero(np.diff(kinds)) + 1, [len(kinds)]])
    if not len(kinds) or len(edges) > _MOST_RUNS or not all(_is_usual(*divmod(kind, 256)) for kind in kinds[edges[:-1]].tolist()):
        return None
    positions, uvs, corners, uv_corners = [], [], [], []
    counts = {"v": 0, "vt": 0}
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        kind = int(kinds[first]).to_bytes(2, "big")
        if kind not in (b"v ", b"vt", b"f "):
            continue
        block, lines = data[starts[first] : starts[last]], last - first
        if kind == b"f ":
            found = _faces(block, lines, counts["v"], counts["vt"])
            if found is None:
                return None
            corners.append(found[0])
            uv_corners.append(found[1])
            continue
        values = _rows(block, lines, kind)
        if values is None:
            return None
        counts["v" if kind == b"v " else "vt"] += lines
        (positions if kind == b"v " else uvs).append(values)
    return _assemble(positions, uvs, corners, uv_corners)


def _is_usual(first: int, second: int) -> bool:
    """Whether what lines begin with says what they are: no space of any kind before `v` or `f`, and a plain one after them."""
    if first == ord("v"):
        return second in b" tnp"
    return second == ord(" ") if first == ord("f") else first == ord("\n") or ord(" ") < first < 128


def _assemble(positions: list, uvs: list, corners: list, uv_corners: list) -> Obj | None:
    if not positions or len({rows.shape[1] for rows in positions}) > 1 or positions[0].shape[1] not in (3, 4, 6, 7):
        return None
    if len({rows.shape[1] for rows in uvs}) > 1 or (uvs and uvs[0].shape[1] not in (2, 3)):
        return None
    rows = np.concatenate(positions)
    vertices, colours = np.ascontiguousarray(rows[:, :3]), np.ascontiguousarray(rows[:, -3:]) if rows.shape[1] >= 6 else None
    faces = np.concatenate(corners) if corners else np.zeros((0, 3), np.int32)
    chart = np.ascontiguousarray(np.concatenate(uvs)[:, :2]) if uvs else None
    face_uvs = None
    if chart is not None and uv_corners and all(part is not None for part in uv_corners):
        face_uvs = np.concatenate(uv_corners)
    for index, count in ((faces, len(vertices)), (face_uvs, 0 if chart is None else len(chart))):
        if index is not None and len(index) and (index.min() < 0 or index.max() >= count):
            return None
    if chart is None and any(part is not None for part in uv_corners):
        return None  # faces name UVs that are not there
    if not np.isfinite(rows).all() or (chart is not None and not np.isfinite(chart).all()):
        return None
    return Obj(vertices, faces, colours, chart, face_uvs)


def _plain_spaces(data: bytes) -> bytes:
    """The content with single spaces alone between words, none at the ends of lines, and a newline at the end."""
    if b"\t" in data or b"\r" in data:
        data = data.translate(bytes.maketrans(b"\t\r", b"  "))
    while b"  " in data:
        data = data.replace(b"  ", b" ")
    if b" \n" in data:
        data = data.replace(b" \n", b"\n")
    return data if data.endswith(b"\n") else data.rstrip(b" ") + b"\n"


def _rows(block: bytes, lines: int, kind: bytes) -> np.ndarray | None:
    """Numbers of lines `v x y z` or the like, f32 [lines, columns]; None where lines differ or a word is no number."""
    words = block[: block.index(b"\n")].count(b" ")
    letter = kind.strip()
    if words < 2 or block.translate(None, _DIGITS + b".-+eE") != (letter + b" " * words + b"\n") * lines:
        return None
    block = block.translate(None, letter)
    values = _decimals(block, lines * words)
    if values is None:
        try:
            values = np.array(block.split(), np.float64)
        except ValueError:
            return None
        if len(values) != lines * words:
            return None
    with np.errstate(over="ignore"):
        return values.astype(np.float32).reshape(lines, words)


def _decimals(block: bytes, count: int) -> np.ndarray | None:
    """Numbers in decimal notation, each with a point, f64 [count]; None for others.

    A number is its digits as an integer over a power of ten, both exact up to 15 digits, so that the quotient is the nearest float64, as
    it is of the usual way, which takes five times as long.
    """
    if b"e" in block or b"E" in block:
        return None
    text = np.frombuffer(block, np.uint8)
    word = text > ord(" ")
    ends = np.flatnonzero(word[:-1] & ~word[1:])
    begins = np.flatnonzero(word[1:] & ~word[:-1]) + 1
    points = np.flatnonzero(text == ord("."))
    if not len(ends) == len(begins) == len(points) == count or (begins > points).any() or (points > ends).any():
        return None
    if (ends - begins).max(initial=0) > _MOST_CHARACTERS:
        return None
    digits = _integers(block.translate(None, b"."), count)  # a sign within a number would make two of it
    return None if digits is None else digits / _TEN_TO[ends - points]


def _integers(block: bytes, count: int) -> np.ndarray | None:
    """Whole numbers between spaces and lines, int64 [count]; None where there are others."""
    try:
        values = np.fromstring(block, np.int64, sep=" ")
    except ValueError:
        return None
    return values if len(values) == count else None


def _faces(block: bytes, lines: int, vertices: int, uvs: int) -> tuple[np.ndarray, np.ndarray | None] | None:
    """Triangles of lines `f ...`, and their UVs where they have them, int32 [M, 3] each; None where a line is unusual.

    All corners must be of one form, `v`, `v/vt`, `v//vn` or `v/vt/vn`; lines may have different numbers of corners.

    Args:
      block: the lines.
      lines: how many.
      vertices: how many came before, for negative indices.
      uvs: as `vertices`.
    """
    if b"-" in block and block.count(b"-") != block.count(b" -") + block.count(b"/-"):
        return None  # a sign within a number
    form = block[: block.index(b"\n")].split(b" ")[1].translate(None, _DIGITS + b"-")
    if form not in (b"", b"/", b"//"):
        return None
    shapes = block.translate(None, _DIGITS + b"-")
    corner = b" " + form
    uniform = shapes.index(b"\n") - 1
    if uniform % len(corner) == 0 and shapes == (b"f" + corner * (uniform // len(corner)) + b"\n") * lines:
        corners = np.full(lines, uniform // len(corner))
    else:
        each = shapes.split(b"\n")[:-1]
        sides = {shape: (len(shape) - 1) // len(corner) for shape in set(each)}
        if any(shape != b"f" + corner * count for shape, count in sides.items()):
            return None
        corners = np.array([sides[shape] for shape in each])
    if corners.min() < 3:
        return None
    total = int(corners.sum())
    columns = 1 + len(form)
    if form == b"//" and (doubled := block.count(b"//")):
        if doubled != total:
            return None
        columns = 2
    values = _integers(block.translate(bytes.maketrans(b"/", b" "), b"f"), total * columns)
    if values is None or not values.all():
        return None
    values = values.reshape(total, columns)
    has_uvs = form == b"/" or (form == b"//" and columns == 3)
    fanned = fan(corners)
    faces = _from_zero(values[:, 0], vertices)[fanned]
    return faces, _from_zero(values[:, 1], uvs)[fanned] if has_uvs else None


def _from_zero(index: np.ndarray, before: int) -> np.ndarray:
    """OBJ indices, int64 of any shape, from 0: positive ones count from 1, negative ones back from the last that came `before`.

    Those that int32 cannot hold become -1, which names nothing.
    """
    from_zero = np.where(index > 0, index - 1, index + before)
    return np.where((from_zero >= 0) & (from_zero <= _MOST_INDEX), from_zero, -1).astype(np.int32)
