"""Readers of rigs' calibrations, given damaged and strange files: a rig whose cameras are sound, or one line that names the file.

What failed once is kept as an example of its own.
"""

import json
import pathlib
import struct

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from readers import JSON, mutated, outcome, texts, written

from ava_jax.captures.rigs import lens, reading
from ava_jax.core.cameras import rotation_fault

pytestmark = pytest.mark.filterwarnings("ignore")


def _sound(rig) -> bool:
    """Whether all cameras are such that a capture can be made of them."""
    for camera in rig.cameras:
        assert camera.name and min(camera.size) >= 0 and camera.k.shape == (3, 3) and camera.world_to_camera.shape == (4, 4)
        assert np.isfinite(camera.k).all() and np.isfinite(camera.world_to_camera).all() and camera.k[(0, 1), (0, 1)].min() > 0
        assert not rotation_fault(camera.world_to_camera[:3, :3])
        with np.errstate(all="ignore"):
            assert lens.distort([[0.0, 0.0], [0.1, -0.2]], camera).shape == (2, 2)
    assert len({camera.name for camera in rig.cameras}) == len(rig.cameras) > 0
    assert {name for name, _ in rig.images} <= {camera.name for camera in rig.cameras}
    return True


def _reads(path: pathlib.Path, form: str, name: str = ""):
    found = outcome(f"rig, {form}", lambda: reading.read(path, form), name or path.name)
    assert found is None or _sound(found)
    return found


# COLMAP.

_CAMERAS = b"# cameras\n1 OPENCV 22 32 80 81 11 16 0.1 0.01 0 0\n2 PINHOLE 22 32 80 80 11 16\n"
_IMAGES = b"# images\n1 1 0 0 0 0 0 1 1 a/1.png\n\n2 0 1 0 0 0.5 0 1 2 b/1.png\n1 2 -1 3 4 7\n"
_BINARY_CAMERAS = struct.pack("<QiiQQ4d", 1, 1, 1, 22, 32, 80, 80, 11, 16)
_BINARY_IMAGES = struct.pack("<Qi7di", 1, 1, 1, 0, 0, 0, 0, 0, 1, 1) + b"a/1.png\0" + struct.pack("<Qddq", 1, 1, 2, -1)


@given(
    st.one_of(
        st.tuples(st.just("cameras.txt"), mutated([_CAMERAS])),
        st.tuples(st.just("images.txt"), mutated([_IMAGES])),
        st.tuples(st.just("cameras.txt"), texts(["1 OPENCV 22 32 80 81 11 16", "#", "2 PINHOLE 22 32", "1"])),
        st.tuples(st.just("images.txt"), texts(["1 1 0 0 0 0 0 1 1 a.png", "", "1 2 -1", "2 0 1 0 0 0 0 0"])),
    )
)
@example(("cameras.txt", _CAMERAS))
def test_colmap_text(folder, file):
    place = folder / "text"
    place.mkdir(exist_ok=True)
    for name, data in (("cameras.txt", _CAMERAS), ("images.txt", _IMAGES), file):
        written(place, name, data)
    _reads(place / "cameras.txt", "colmap", "s.txt")


@given(
    st.one_of(
        st.tuples(st.just("cameras.bin"), mutated([_BINARY_CAMERAS])),
        st.tuples(st.just("images.bin"), mutated([_BINARY_IMAGES])),
    )
)
@example(("cameras.bin", _BINARY_CAMERAS))
@example(("images.bin", _BINARY_IMAGES.replace(b"a/1", b"\0/1")))
def test_colmap_binary(folder, file):
    place = folder / "binary"
    place.mkdir(exist_ok=True)
    for name, data in (("cameras.bin", _BINARY_CAMERAS), ("images.bin", _BINARY_IMAGES), file):
        written(place, name, data)
    _reads(place / "images.bin", "colmap", "s.bin")


# JSON.

_POSE = [[1.0, 0, 0, 0], [0, 1.0, 0, 0], [0, 0, 1.0, 2.0], [0, 0, 0, 1.0]]
_FRAME = {"file_path": "images/a/1.png", "transform_matrix": _POSE, "fl_x": 80.0, "cx": 11, "cy": 16, "w": 22, "h": 32, "k1": 0.1}
_MATRIX = st.one_of(st.just(_POSE), JSON)
_KEYS = {"file_path": st.one_of(st.just("a/2.png"), JSON), "transform_matrix": _MATRIX, "camera_model": JSON, "mask_path": JSON}
_KEYS |= {key: st.one_of(st.just(3), JSON) for key in ("fl_x", "cx", "w", "h", "k1", "camera_angle_x", "timestep_index", "camera_id")}
_EXPORT = {key: value for key, value in _FRAME.items() if key != "k1"} | {"fl_y": 80.0, "timestep_index": 1, "camera_index": 0}


@given(
    st.lists(st.fixed_dictionaries({}, optional=_KEYS), min_size=1, max_size=3),
    st.fixed_dictionaries({}, optional=_KEYS | {"applied_transform": _MATRIX, "applied_scale": JSON}),
    st.sampled_from([_FRAME, _EXPORT]),
)
@example([{}], {}, _FRAME)
@example([{}], {"applied_scale": 1e-320}, _FRAME)
def test_transforms(folder, changes, top, frame):
    frames = (
        [frame | {"timestep_index": i} | change for i, change in enumerate(changes)] if frame is _EXPORT else [frame | c for c in changes]
    )
    path = written(folder, "transforms.json", json.dumps(top | {"frames": frames}).encode())
    _reads(path, "vhap" if frame is _EXPORT else "transforms")


@given(
    st.one_of(st.dictionaries(st.text(max_size=5), _MATRIX, max_size=3), JSON),
    st.one_of(st.just([[80.0, 0, 11], [0, 80, 16], [0, 0, 1]]), JSON),
)
@example({"7": _POSE}, [[80.0, 0, 11], [0, 80, 16], [0, 0, 1]])
def test_nersemble(folder, poses, k):
    path = written(folder, "camera_params.json", json.dumps({"world_2_cam": poses, "intrinsics": k}).encode())
    _reads(path, "nersemble")


# XML.

_METASHAPE = b"""<document><chunk><sensors><sensor id="0" type="frame"><resolution width="22" height="32"/>
<calibration class="adjusted"><f>80</f><cx>1.5</cx><k1>0.1</k1><p1>0.01</p1></calibration></sensor></sensors>
<cameras><camera id="0" sensor_id="0" label="a/1"><transform>1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1</transform></camera></cameras>
<transform><rotation>1 0 0 0 1 0 0 0 1</rotation><scale>2</scale></transform></chunk></document>
"""
_XMP = b"""<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF>
<rdf:Description xcr:DistortionModel="brown3" xcr:DistortionCoeficients="0.1 0 0 0 0 0" xcr:FocalLength35mm="50" xcr:AspectRatio="1">
<xcr:Rotation>1 0 0 0 1 0 0 0 1</xcr:Rotation><xcr:Position>0 0 1</xcr:Position>
</rdf:Description></rdf:RDF></x:xmpmeta>"""


@given(mutated([_METASHAPE]))
@example(_METASHAPE)
@example(b'<?xml version="1.0"?><!DOCTYPE d [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><document>&b;</document>')
@example(b"<a>" * 100000)
def test_metashape(folder, data):
    _reads(written(folder, "cameras.xml", data), "metashape")


@given(mutated([_XMP]))
@example(_XMP)
def test_xmp(folder, data):
    (folder / "xmp").mkdir(exist_ok=True)
    Image.new("L", (22, 32)).save(folder / "xmp" / "a.png")
    written(folder / "xmp", "a.xmp", data)
    _reads(folder / "xmp", "realitycapture")


# Tables and text.

_CSV = b"#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2\na.png,1,2,3,10,20,30,50,0.01,0,0.1,0,0,0,0,0\n"
_KRT = b"c1\n80 0 11\n0 80 16\n0 0 1\n0.1 0 0 0 0\n1 0 0 0\n0 1 0 0\n0 0 1 900\n\n"
_KRT += b"c2\n80 0 11\n0 80 16\n0 0 1\n0 0 0 0 0\n1 0 0 0\n0 1 0 0\n0 0 1 900\n"


@given(st.one_of(mutated([_CSV]), texts(["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2", "a.png", '"'])))
@example(_CSV)
def test_csv(folder, data):
    (folder / "csv").mkdir(exist_ok=True)
    Image.new("L", (22, 32)).save(folder / "csv" / "a.png")
    _reads(written(folder / "csv", "r.csv", data), "realitycapture")


@given(st.one_of(mutated([_KRT]), texts(["c1", "1 0 0", "0 0 0 0 0", "1 0 0 0", ""])))
@example(_KRT)
def test_krt(folder, data):
    (folder / "krt").mkdir(exist_ok=True)
    _reads(written(folder / "krt", "KRT", data), "krt")


_YAML = b"""%YAML:1.0
---
image_width: 22
image_height: 32
camera_matrix: !!opencv-matrix
   rows: 3
   cols: 3
   dt: d
   data: [ 80., 0., 11., 0., 80., 16., 0., 0., 1. ]
distortion_coefficients: !!opencv-matrix
   data: [ 0.1, 1.0e-02, 0., 0., 0. ]
R: [0.1, 0.2, 0.3]
T: [0, 0, 1.0]
"""
_STORAGE = b"""<?xml version="1.0"?><opencv_storage>
<camera_matrix type_id="opencv-matrix"><rows>3</rows><cols>3</cols><dt>d</dt><data>80 0 11 0 80 16 0 0 1
</data></camera_matrix><R>0.1 0.2 0.3</R><T>0 0 1</T></opencv_storage>"""


@given(st.one_of(mutated([_YAML]), texts(["camera_matrix:", "  data: [1, 2", "- ", "R: [", "? ", "&a", "*a", "%YAML:1.0", "---"])))
@example(_YAML)
@example(b"K: " + b"[" * 20000)
@example(b"- " * 20000)
@example(b"K: &a [1]\nR: [*a, *a]\nT: *a\n")
@example(b"K: 2024-13-45\n")
def test_opencv_yaml(folder, data):
    (folder / "yaml").mkdir(exist_ok=True)
    _reads(written(folder / "yaml", "c.yml", data), "opencv", "yaml")


@given(mutated([_STORAGE]))
@example(_STORAGE)
def test_opencv_xml(folder, data):
    (folder / "storage").mkdir(exist_ok=True)
    _reads(written(folder / "storage", "c.xml", data), "opencv", "storage")


_CONTENTS = [_CAMERAS, _BINARY_CAMERAS, _METASHAPE, _XMP, _CSV, _KRT, _YAML, _STORAGE, b"{}", b'{"frames": [{}]}']
_NAMES = ["transforms.json", "cameras.xml", "a.xmp", "a.csv", "KRT.txt", "a.yml", "camera_params.json", "cameras.txt"]


@given(st.sampled_from(_CONTENTS), st.sampled_from(_NAMES))
def test_contents_under_other_names(folder, data, name):
    """The format is told, or refused, whatever a file is called."""
    place = folder / "other"
    place.mkdir(exist_ok=True)
    for old in place.iterdir():
        old.unlink()
    written(place, name, data)
    _reads(place, "", "other")
