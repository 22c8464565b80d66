"""Meshes on disk: the topology as OBJ, vertices as PLY."""

import codecs
import io
import pathlib

import numpy as np
import plyfile

from ava_jax.core.mesh import Topology
from ava_jax.data import obj_files, obj_lines

_XYZ = b"property float x\nproperty float y\nproperty float z\nend_header\n"


def read_topology(path: pathlib.Path, vertices: int) -> Topology:
    """Faces and UV chart of an OBJ file, `f v/vt v/vt v/vt`. Vertex and UV indices stay apart, as in the file.

    A polygon of k corners is a fan of k - 2 triangles around its first corner; indices may be negative, as OBJ has them.

    Args:
      vertices: how many vertices the meshes have that it is for.

    Raises:
      ValueError: no such file, it is not an OBJ with a UV at each corner of each face (the message names the line), or it is for other
        meshes.
    """
    try:
        data = path.read_bytes()
    except OSError as e:
        raise ValueError(f"topology {path}: cannot be read ({e}).") from e
    mesh = obj_files.parse(data, f"topology {path}")
    if not len(mesh.faces):
        raise ValueError(f"topology {path}: not a mesh of triangles with UVs: it has no faces, lines 'f v/vt v/vt v/vt'.")
    if mesh.uvs is None or mesh.face_uvs is None:
        line, words = obj_lines.first_face_without_uvs(data) or (0, "")
        raise ValueError(
            f"topology {path}, line {line}: not a mesh of triangles with UVs: each corner of a face must name a vertex and a UV, "
            f"'f v/vt v/vt v/vt'; got {words[:80]!r}. Export the mesh with its UV map."
        )
    if len(mesh.vertices) != vertices:
        raise ValueError(f"topology {path}: must be of the captures' meshes, of {vertices} vertices; it has {len(mesh.vertices)}.")
    return Topology(faces=mesh.faces, face_uvs=mesh.face_uvs, uvs=mesh.uvs)


def write_topology(path: pathlib.Path, topology: Topology, vertices: np.ndarray) -> None:
    """Writes an OBJ: `vertices` [V, 3] mm, the UV chart and the faces."""
    path.write_text(_obj(topology, vertices))


def _obj(topology: Topology, vertices: np.ndarray) -> str:
    lines = [f"v {x:.4f} {y:.4f} {z:.4f}" for x, y, z in vertices.tolist()]
    lines += [f"vt {u:.7f} {v:.7f}" for u, v in topology.uvs.tolist()]
    corners = np.stack([topology.faces, topology.face_uvs], axis=-1) + 1
    lines += ["f " + " ".join(f"{v}/{vt}" for v, vt in face) for face in corners.tolist()]
    return "\n".join(lines) + "\n"


def textured_obj(topology: Topology, vertices: np.ndarray, materials: str, material: str) -> str:
    """An OBJ of `vertices` [V, 3], mm, with a material of a file of materials that lies beside it."""
    return f"mtllib {materials}\nusemtl {material}\n{_obj(topology, vertices)}"


def textured_material(material: str, texture: str) -> str:
    """A file of materials (MTL) with one, which shows a picture's colours as they are."""
    return f"newmtl {material}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nillum 0\nmap_Kd {texture}\n"


def textured_ply(topology: Topology, vertices: np.ndarray, colours: np.ndarray, texture: str) -> bytes:
    """A binary PLY of faces with UVs at their corners and the name of a picture that lies beside it, as MeshLab has them.

    Args:
      topology: of the mesh.
      vertices: [V, 3], mm.
      colours: u8 [V, 3], of the vertices, for programs that read no textures from a PLY.
      texture: the picture's name.
    """
    points = np.empty(len(vertices), [*((axis, "<f4") for axis in "xyz"), *((name, "u1") for name in ("red", "green", "blue"))])
    for column, axis in enumerate("xyz"):
        points[axis] = vertices[:, column]
    for column, name in enumerate(("red", "green", "blue")):
        points[name] = colours[:, column]
    faces = np.empty(len(topology.faces), [("vertex_indices", "<i4", (3,)), ("texcoord", "<f4", (6,))])
    faces["vertex_indices"] = topology.faces
    faces["texcoord"] = topology.uvs[topology.face_uvs].reshape(-1, 6)
    elements = [plyfile.PlyElement.describe(points, "vertex"), plyfile.PlyElement.describe(faces, "face")]
    file = io.BytesIO()
    plyfile.PlyData(elements, byte_order="<", comments=[f"TextureFile {texture}"]).write(file)
    return file.getvalue()


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
        count = header.split(b"\n")[2].split(b" ")[-1]  # vertices alone: 20 times as quick as the general reader
        if count.isdigit() and len(count) < 12 and len(data) >= end + 12 * int(count):
            return np.frombuffer(data, "<f4", 3 * int(count), end).reshape(-1, 3)
    try:
        data = data.removeprefix(codecs.BOM_UTF8)
        _require_values(data)
        vertex = plyfile.PlyData.read(io.BytesIO(data))["vertex"]
        with np.errstate(over="ignore"):
            return np.stack([np.asarray(vertex[axis], np.float32) for axis in "xyz"], axis=-1)
    except Exception as e:  # plyfile raises many kinds on nonsense
        raise ValueError(f"{len(data)} bytes that are no PLY with vertices x, y, z ({' '.join(str(e).split())[:200]})") from e


def _require_values(data: bytes) -> None:
    """Refuses a PLY whose header promises more values than the file has bytes; plyfile makes room for what is promised.

    Raises:
      ValueError: it does, or there is no header.
    """
    header, found, _ = data.partition(b"end_header")
    if not data.startswith(b"ply") or not found:
        raise ValueError("no header from 'ply' to 'end_header'")
    promised, count = 0, 0
    for line in header.splitlines():
        words = line.split()
        if words[:1] == [b"element"]:
            count = int(words[2]) if len(words) == 3 and words[2].isdigit() else -1
            if count < 0:
                raise ValueError(f"its header has the line {line[:80]!r}")
        promised += count * (words[:1] == [b"property"])
        if max(count, promised) > len(data):
            raise ValueError(f"its header promises {max(count, promised)} values or more")


def write_vertices(vertices: np.ndarray) -> bytes:
    """A binary PLY of vertices [V, 3] alone."""
    header = f"ply\nformat binary_little_endian 1.0\nelement vertex {len(vertices)}\n".encode() + _XYZ
    return header + np.ascontiguousarray(vertices, "<f4").tobytes()
