"""Meshes on disk: the topology as OBJ, vertices as PLY."""

import io
import pathlib

import numpy as np
import plyfile

from ava_jax.core.mesh import Topology

_XYZ = b"property float x\nproperty float y\nproperty float z\nend_header\n"


def read_topology(path: pathlib.Path, vertices: int) -> Topology:
    """Faces and UV chart of an OBJ file of triangles, `f v/vt v/vt v/vt`. Vertex and UV indices stay apart, as in the file.

    Args:
      vertices: how many vertices the meshes have that it is for.

    Raises:
      ValueError: no such file, it is not an OBJ of triangles with UVs (the message names the line), or it is for other meshes.
    """
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as e:
        raise ValueError(f"topology {path}: cannot be read ({e}).") from e
    uvs, corners, count = [], [], 0
    for number, line in enumerate(lines, 1):
        kind, *fields = line.split() or [""]
        try:
            count += kind == "v"
            if kind == "vt":
                uvs.append((float(fields[0]), float(fields[1])))
            elif kind == "f":
                (a, b, c) = fields
                corners.append([[int(x) for x in corner.split("/")[:2]] for corner in (a, b, c)])
        except (ValueError, IndexError) as e:
            raise ValueError(f"topology {path}, line {number}: must be 'vt u v' or 'f v/vt v/vt v/vt' (triangles); got {line!r}.") from e
    try:
        indices = np.array(corners, np.int32).reshape(-1, 3, 2) - 1
        topology = Topology(faces=indices[..., 0].copy(), face_uvs=indices[..., 1].copy(), uvs=np.array(uvs, np.float32).reshape(-1, 2))
    except ValueError as e:
        raise ValueError(f"topology {path}: not a mesh of triangles with UVs ({e}).") from e
    if count != vertices or topology.vertices_used > vertices:
        raise ValueError(f"topology {path}: must be of the captures' meshes, of {vertices} vertices; it has {count}.")
    return topology


def write_topology(path: pathlib.Path, topology: Topology, vertices: np.ndarray) -> None:
    """Writes an OBJ: `vertices` [V, 3] mm, the UV chart and the faces."""
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertices.tolist()]
    lines += [f"vt {u:.7f} {v:.7f}" for u, v in topology.uvs.tolist()]
    corners = np.stack([topology.faces, topology.face_uvs], axis=-1) + 1
    lines += ["f " + " ".join(f"{v}/{vt}" for v, vt in face) for face in corners.tolist()]
    path.write_text("\n".join(lines) + "\n")


def read_vertices(data: bytes) -> np.ndarray:
    """Vertices of a PLY file.

    Returns:
      f32 [V, 3].

    Raises:
      ValueError: the bytes are no PLY with vertices x, y, z.
    """
    end = data.find(b"end_header\n", 0, 4096) + len(b"end_header\n")
    header = data[:end]
    if header.startswith(b"ply\nformat binary_little_endian 1.0\nelement vertex ") and header.endswith(_XYZ) and header.count(b"\n") == 7:
        count = int(header.split(b"\n")[2].split()[-1])  # vertices alone: 20 times as quick as the general reader
        if len(data) >= end + 12 * count:
            return np.frombuffer(data, "<f4", 3 * count, end).reshape(count, 3)
    try:
        vertex = plyfile.PlyData.read(io.BytesIO(data))["vertex"]
        return np.stack([np.asarray(vertex[axis], np.float32) for axis in "xyz"], axis=-1)
    except (plyfile.PlyParseError, KeyError, ValueError, UnicodeDecodeError) as e:
        raise ValueError(f"{len(data)} bytes that are no PLY with vertices x, y, z ({e})") from e


def write_vertices(vertices: np.ndarray) -> bytes:
    """A binary PLY of vertices [V, 3] alone."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n".encode() + _XYZ
    return header + np.ascontiguousarray(vertices, "<f4").tobytes()
