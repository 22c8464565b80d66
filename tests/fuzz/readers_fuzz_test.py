"""Every reader of files, given what damage, strange tools and people's mistakes make of them. `scripts/fuzz.sh` goes on for minutes.

What failed once is kept as an example of its own.
"""

import io
import json
import pathlib
import pickle
import warnings
import zipfile

import numpy as np
import plyfile
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from readers import JSON, mutated, named, npy, outcome, texts, written

from ava_jax.captures import calibration, reading, statistics, tables
from ava_jax.core.cameras import rotation_fault
from ava_jax.data import archive, images, mesh_files, npy_files, obj_files, obj_lines
from ava_jax.tasks.ava256.data import neutrals

pytestmark = pytest.mark.filterwarnings("ignore")


# Calibrations.

_K, _T = (
    [[7000.0, 0.0, 0.0], [0.0, 7000.0, 0.0], [1300.0, 2000.0, 1.0]],
    [[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [1, 2, 900.0, 1.0]],
)
_NUMBER = st.one_of(st.sampled_from([0.0, 1.0, -1.0, 7000.0]), st.floats(), st.integers(-(2**1030), 2**1030))
_MATRIX = st.one_of(st.just(_K), st.just(_T), st.lists(st.lists(_NUMBER, max_size=5), max_size=5), JSON)
_ENTRY = st.fixed_dictionaries(
    {}, optional={"cameraId": st.one_of(st.just("400008"), st.just(400015), JSON), "K": _MATRIX, "T": _MATRIX, "distortion": JSON}
)


def _cameras(path: pathlib.Path) -> dict[str, calibration.Camera]:
    return {name: calibration.camera(path, name, entry) for name, entry in calibration.read(path).items()}


@given(st.one_of(st.lists(_ENTRY, min_size=1, max_size=3), JSON))
@example([{"cameraId": "400008", "K": _K, "T": _T}])
@example([{"cameraId": "400008", "K": [[10**400] * 3] * 3, "T": _T}])
def test_calibrations(folder, entries):
    path = written(folder, "camera_calibration.json", json.dumps({"KRT": entries}).encode())
    found = outcome("calibration", lambda: _cameras(path), path.name)
    for entry, camera in zip(entries if found else (), (found or {}).values(), strict=True):
        np.testing.assert_array_equal(camera.focal, [entry["K"][0][0], entry["K"][1][1]])
        np.testing.assert_array_equal(camera.translation, entry["T"][3][:3])
        assert camera.focal.min() > 0 and not rotation_fault(camera.rotation)


@given(mutated([json.dumps({"KRT": [{"cameraId": "400008", "K": _K, "T": _T, "distortion": [0, 0]}]}, indent=1).encode()]))
def test_damaged_calibrations(folder, data):
    path = written(folder, "camera_calibration.json", data)
    outcome("calibration", lambda: _cameras(path), path.name)


# Frame lists and lists of captures.


def _frames(path: pathlib.Path) -> tuple:
    return tables.columns(path, ("seg_id", "frame_id"))


@given(texts(["seg_id,frame_id", "frame_id;seg_id", "EXP_a,1", "EXP_a", '"EXP', ""]))
def test_frame_lists(folder, data):
    path = written(folder, "frame_list.csv", data)
    found = outcome("frame list", lambda: _frames(path), path.name)
    assert found is None or (len(found[0]) == len(found[1]) > 0 and all(map(str.strip, found[0])))


_NAME = st.text("abcdefXYZ_019", min_size=1, max_size=12)


@given(
    st.lists(st.tuples(_NAME, st.integers(0, 2**31 - 1)), min_size=1, max_size=8),
    st.sampled_from([",", ", ", ";", "\t", " , ", " "]),
    st.sampled_from(["\n", "\r\n", "\r", "\n\n", "\n,\n"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_sound_frame_lists_of_any_editor_are_read_right(folder, rows, separator, end, encoding):
    if end == "\n,\n" and "," not in separator:
        return
    lines = [separator.join(map(str, row)) for row in [("seg_id", "frame_id"), *rows]]
    path = written(folder, "frame_list.csv", end.join(lines).encode(encoding))
    assert outcome("frame list", lambda: _frames(path), path.name) == [[name for name, _ in rows], [str(frame) for _, frame in rows]]


# Meshes.


def _ply(text: bool) -> bytes:
    rows = np.array([(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11)], dtype=[("x", "f4"), ("y", "f4"), ("z", "f8"), ("red", "u1")])
    faces = np.array([([0, 1, 2],)], dtype=[("vertex_indices", "i4", (3,))])
    buffer = io.BytesIO()
    plyfile.PlyData([plyfile.PlyElement.describe(rows, "vertex"), plyfile.PlyElement.describe(faces, "face")], text=text).write(buffer)
    return buffer.getvalue()


_PLYS = [mesh_files.write_vertices(np.arange(12.0).reshape(4, 3)), _ply(True), _ply(False)]


@given(
    st.one_of(
        mutated(_PLYS),
        st.binary(max_size=60),
        texts(["ply", "format ascii 1.0", "element vertex 2", "property float x", "end_header", "1 2 3"]),
    )
)
@example(b"ply\nformat ascii 1.0\nelement vertex 1099511627776\nproperty float x\nproperty float y\nproperty float z\nend_header\n0 0 0\n")
@example(
    b"ply\nformat binary_little_endian 1.0\nelement vertex -1\nproperty float x\nproperty float y\nproperty float z\nend_header\n"
    + bytes(24)
)
@example(b"ply\nformat ascii 1.0\nelement vertex 1\n" + b"property float x\n" * 50 + b"end_header\n1\n")
def test_plys(data):
    found = outcome("PLY", lambda: named(mesh_files.read_vertices)(data), "x")
    assert found is None or (found.dtype == np.float32 and found.ndim == 2 and found.shape[1] == 3)


_OBJ = b"""# a mesh
v 0.0 0.0 0.0
v 1.0 0.0 0.0
v 1.0 1.0 0.0
v 0.0 1.0 0.5
vt 0.0 0.0
vt 1.0 0.0
vt 1.0 1.0
f 1/1 2/2 3/3
f 1/1 3/3 4/-1
f -1/1 -2/2 -3/3 -4/1
"""
_OBJS = [_OBJ, _OBJ.replace(b"\n", b"\r\n"), _OBJ.replace(b"/", b"//"), b"\xef\xbb\xbf" + _OBJ, _OBJ.replace(b"0.0", b"0.0e0")]


@given(st.one_of(mutated(_OBJS), texts(["v", "v 1 2 3", "vt", "f", "f 1 2 3", "f 1/1", "#", "\\"])))
@example(b"v 0 0 0 0\nv 1 2 3 1e999\n")
@example(_OBJ + b"\tf 1/1 2/2 3/3\n")
@example(_OBJ + b"f\t1/1 2/2 3/3\n")
@example(_OBJ + b"f\xc2\xa01/1 2/2 3/3\n")
@example(_OBJ + b"f\n")
@example(_OBJ + b"f 1099511627776/1 2/2 3/3\n")
@example(_OBJ + b"f -1099511627776/1 2/2 3/3\n")
@example(_OBJ + b"f 1/1099511627777 2/2 3/3\n")
@example(_OBJ + b"f 99999999999999999999999/1 2/2 3/3\n")
@example(_OBJ.replace(b"v 1.0 0.0 0.0", b"v 1e39 0.0 0.0"))
@example(_OBJ.replace(b"vt 1.0 0.0", b"vt 1e39 0.0"))
@example(_OBJ.replace(b"vt 1.0 0.0", b"vt nan 0.0"))
def test_objs(folder, data):
    mesh = outcome("OBJ", lambda: obj_files.parse(data, "x.obj"), "x.obj")
    by_line = outcome("OBJ", lambda: obj_lines.parse(data.removeprefix(b"\xef\xbb\xbf"), "x.obj"), "x.obj")
    assert (mesh is None) == (by_line is None)
    if mesh is not None:
        for a, b in zip(mesh, by_line, strict=True):
            assert (a is None) == (b is None) and (a is None or (a.dtype == b.dtype and np.array_equal(a, b)))
        assert np.isfinite(mesh.vertices).all() and (mesh.faces >= 0).all() and (mesh.faces < len(mesh.vertices)).all()
        assert mesh.face_uvs is None or (
            (mesh.face_uvs >= 0).all() and (mesh.face_uvs < len(mesh.uvs)).all() and np.isfinite(mesh.uvs).all()
        )
    path = written(folder, "face_topology.obj", data)
    topology = outcome("OBJ", lambda: mesh_files.read_topology(path, 4), path.name)
    assert topology is None or topology.vertices_used <= 4


# Zips.


def _zip(method: int, names: list[str], folder_entry: bool = False, comment: bytes = b"") -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as z:
        warnings.simplefilter("ignore")
        if folder_entry:
            z.mkdir("cam7")
        for i, name in enumerate(names):
            z.writestr(zipfile.ZipInfo(name), f"content {i}".encode() * (i + 1), compress_type=method)
        z.comment = comment
    return buffer.getvalue()


_ZIPS = [
    _zip(zipfile.ZIP_STORED, ["cam7/000001.x", "cam7/000002.x", "cam7/000003.x"]),
    _zip(zipfile.ZIP_DEFLATED, ["cam7/1.x", "cam7/02.x", "cam7/3.x"], True, b"comment"),
    _zip(zipfile.ZIP_STORED, ["000001.x", "000002.x", "000001.x"]),
    _zip(zipfile.ZIP_BZIP2, ["000001.x", "000002.x"]),
]


@given(mutated(_ZIPS))
@example(_ZIPS[2])
@example(_zip(zipfile.ZIP_STORED, ["", "000001.x"]))
@example(_ZIPS[0].replace(b"PK\x01\x02", b"PK\x01\x03", 1))
def test_zips(folder, data):
    path = written(folder, "cam7.zip", data)
    found = outcome("zip", lambda: [archive.Archives().read(path, n) for n in (1, 2, 3)], path.name)
    if found is None:
        return
    for number, content in enumerate(found, 1):
        expected = _as_zipfile_reads(path, number)
        assert content is None or expected is None or content == expected


def _as_zipfile_reads(path: pathlib.Path, number: int) -> bytes | None:
    """The last member of a number; None where there is none, or zipfile, which looks at more that does not matter, cannot read it."""
    try:
        with zipfile.ZipFile(path) as z:
            names = [name for name in z.namelist() if name.rpartition("/")[2].partition(".")[0].lstrip("0") == str(number)]
            return z.read(names[-1])
    except Exception:
        return None


# Pictures.


def _picture(form: str, mode: str = "RGB", **options) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 12, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def _exif() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif.tobytes()


_PICTURES = [_picture(form) for form in ("PNG", "AVIF", "JPEG", "WEBP", "TIFF", "BMP")]
_PICTURES += [_picture("PNG", mode) for mode in ("L", "P", "1", "RGBA", "LA")] + [_picture("JPEG", "CMYK")]
_PICTURES += [_picture(form, exif=_exif()) for form in ("PNG", "JPEG", "TIFF")]


@given(mutated(_PICTURES))
def test_pictures(data):
    for reader, decode, channels in (("picture", images.decode, (3,)), ("labels", images.decode_labels, ())):
        found = outcome(reader, lambda d=decode: named(d)(data), "x")
        assert found is None or (found.dtype == np.uint8 and found.shape[2:] == channels)


def _neutral(method: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as z:
        z.writestr("A/texture.avif", images.encode(np.zeros((16, 16, 3), np.uint8), "avif"))
        z.writestr("A/vertices.ply", _PLYS[0])
    return buffer.getvalue()


@given(mutated([_neutral(zipfile.ZIP_STORED), _neutral(zipfile.ZIP_DEFLATED)]))
@example(_neutral(zipfile.ZIP_STORED))
def test_neutral_faces(folder, data):
    written(folder, "neutrals.zip", data)
    found = outcome("neutral faces", lambda: neutrals.read(folder, "A", 16), "neutrals.zip")
    assert found is None or (found.texture.shape == (1, 16, 16, 3) and found.vertices.shape[2] == 3)
    assert isinstance(neutrals.names(folder), set)


# Head poses and statistics.


@given(st.one_of(texts(["1 0 0 1", "0, 1, 0, 2", "0;0;1;900", ""]), mutated([b"1 0 0 5\n0 1 0 6\n0 0 1 7\n"]), st.binary(max_size=40)))
@example(b"1 0 0 5\n0 1 0 6\n0 0 1 7\n")
@example(b"\xef\xbb\xbf1, 0, 0, 5, 0, 1, 0, 6, 0, 0, 1, 7")
@example(b"1\0 0 0 5\n0 1 0 6\n0 0 1 7\n")
def test_poses(data):
    found = outcome("head pose", lambda: named(reading._parse_pose)(data), "x")
    assert found is None or (found.shape == (3, 4) and not rotation_fault(found[:, :3]))


_NPY = npy(np.zeros((4, 3), np.float32))


@given(st.one_of(mutated([_NPY, npy(np.zeros(3)), npy(np.zeros((2, 3), ">f8"))]), st.binary(max_size=40)))
@example(_NPY.replace(b"(4, 3)", b"(4" + b"0" * 13 + b",3)").replace(b" " * 13 + b"\n", b"\n"))
@example(pickle.dumps(1))
def test_arrays(folder, data):
    path = written(folder, "mean.npy", data)
    found = outcome("npy", lambda: npy_files.read(path), path.name)
    assert found is None or isinstance(found, np.ndarray)


@given(st.one_of(texts(["1.5", ""]), st.binary(max_size=20)))
def test_variances(folder, data):
    path = written(folder, "variance.txt", data)
    found = outcome("variance", lambda: statistics._scalar(path), path.name)
    assert found is None or isinstance(found, float)
