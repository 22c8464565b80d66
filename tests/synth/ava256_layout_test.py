"""Procedural captures: whole, repeatable, and worth learning from."""

import io
import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from ava_jax.captures import ava256
from ava_jax.core import mesh
from ava_jax.data import archive, mesh_files
from ava_jax.synth import ava256_layout
from ava_jax.synth.heads import geometry, render, skin
from ava_jax.synth.heads.geometry import Expression

SMALL = ava256_layout.Request(identities=2, frames=3, cameras=2, height=32, texture_size=32)


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_request_gives_the_same_bytes(tmp_path):
    ava256_layout.write(tmp_path / "a", SMALL, jobs=1)
    ava256_layout.write(tmp_path / "b", SMALL, jobs=2)
    a, b = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert a == b
    ava256_layout.write(tmp_path / "c", ava256_layout.Request(**{**vars(SMALL), "seed": 1}), jobs=1)
    c = contents(tmp_path / "c")
    assert a.keys() == c.keys()
    assert all(a[name] != c[name] for name in a if name.endswith(("color.zip", "registration_vertices.zip")))


def test_every_file_of_the_layout_is_there(tiny_capture):
    for folder in ava256.find(str(tiny_capture), ""):
        there = {str(p.relative_to(folder / "decoder")) for p in folder.rglob("*") if p.is_file()}
        cameras = ava256.load(folder).cameras
        assert there == {
            "camera_calibration.json", "frame_list.csv", "head_pose/head_pose.zip", "keypoints_3d/keypoints_3d.zip",
            "kinematic_tracking/registration_vertices.zip", "kinematic_tracking/registration_vertices_mean.npy",
            "kinematic_tracking/registration_vertices_variance.txt", "uv_image/color.zip", "uv_image/color_mean.png",
            "uv_image/color_variance.txt",
            *(f"{kind}/cam{c}.zip" for kind in ("image", "segmentation_parts") for c in cameras),
        }  # fmt: skip
    assert (tiny_capture / "face_topology.obj").is_file()
    assert len(ava256.find(str(tiny_capture), str(tiny_capture / "ids.csv"))) == 2


def test_camera_sets_differ_and_one_image_is_missing(tiny_capture):
    captures = [ava256.load(folder) for folder in ava256.find(str(tiny_capture), "")]
    assert captures[0].cameras != captures[1].cameras and all("401168" in c.cameras for c in captures)
    listed = stored = 0
    for c in captures:
        for camera in c.cameras:
            with zipfile.ZipFile(c.image(camera)) as z:
                stored += len(z.namelist())
                assert all(info.compress_type == zipfile.ZIP_STORED for info in z.infolist())
            listed += len(c.frames)
    assert listed - stored == 1


def test_written_statistics_are_those_of_the_frames(tiny_capture):
    c = ava256.load(ava256.find(str(tiny_capture), "")[0])
    archives = archive.Archives()
    vertices = np.stack([mesh_files.read_vertices(archives.read(c.vertices, n)) for n in c.frames]).astype(np.float64)
    np.testing.assert_allclose(np.load(c.vertices.with_name("registration_vertices_mean.npy")), vertices.mean(0), atol=1e-4)
    written = float(c.vertices.with_name("registration_vertices_variance.txt").read_text())
    assert written == pytest.approx(vertices.var(0).mean(), rel=1e-4) and written > 0.5
    keypoints = np.load(io.BytesIO(archives.read(c.decoder / "keypoints_3d" / "keypoints_3d.zip", int(c.frames[0]))))
    assert keypoints.shape == (100, 6) and keypoints.dtype == np.float32


def test_the_script_holds_out_new_combinations():
    lines = ava256_layout.script(ava256_layout.Request(), 0)
    segments = [segment for segment, _ in lines]
    assert len(lines) == 24 and segments[0] == ava256.NEUTRAL and segments[-1] == "EXP_free_face"
    assert segments == sorted(segments, key=segments.index) and len(set(segments)) == 8
    assert np.abs(np.array(lines[0][1])).max() <= 0.2
    free = [np.array(e) for s, e in lines if s == "EXP_free_face"]
    assert all(np.abs(e - np.array(other)).max() > 0.2 for e in free for s, other in lines if s != "EXP_free_face")


def test_the_head_is_a_good_host_for_primitives():
    topology = geometry.topology()
    corners = topology.uvs[topology.face_uvs].astype(np.float64)
    edges = corners[:, 1:] - corners[:, :1]
    area = 0.5 * (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0])
    np.testing.assert_allclose(area, np.sign(area[0]) * 0.5 / geometry.CELLS**2, rtol=1e-3)  # none degenerate, none folded over
    assert abs(area.sum()) == pytest.approx(1, rel=1e-4)  # all texels covered
    person = ava256_layout.identity(ava256_layout.Request(), 0)
    vertices = geometry.shape(person, Expression(), skin.hair_thickness(geometry.vertex_surface(), person))
    index, weights = mesh.uv_barycentric(topology, 64)
    image = (vertices[index] * weights[..., None]).sum(-2)
    for axis in (0, 1):
        assert np.linalg.norm(np.diff(image, axis=axis), axis=-1).min() > 0.05  # mm: no pole, so that every texel has a frame
    assert np.abs(vertices).max() < 256  # inside the raymarcher's volume


def test_normals_point_outwards():
    person = ava256_layout.identity(ava256_layout.Request(), 1)
    vertices = geometry.shape(person, Expression(), np.zeros(len(geometry.topology().uvs)))
    normals = geometry.normals(vertices, geometry.topology().faces)
    outward = vertices - np.array([0, 0, -8]) * np.array([1, 0, 1])
    outward[:, 1] = np.maximum(vertices[:, 1] - 20, 0)
    assert np.mean((normals * outward).sum(1) > 0) > 0.93
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, atol=1e-6)


@pytest.mark.parametrize("name", ["jaw", "smile", "brow", "blink", "pucker", "puff", "gaze_x"])
def test_expressions_move_shape_and_colour(name):
    person = ava256_layout.identity(ava256_layout.Request(), 0)
    rest, moved = (render.face(person, Expression(**{name: amount}), 64) for amount in (0.0, 1.0))
    if name != "gaze_x":
        assert np.linalg.norm(moved.vertices - rest.vertices, axis=1).max() > 1.4
    if name != "puff":
        assert np.abs(moved.paint.colour - rest.paint.colour).max() > 15


def test_labels_tell_the_parts_apart():
    person = ava256_layout.identity(ava256_layout.Request(), 0)
    paint = render.face(person, Expression(jaw=1.0), 256).paint
    expected = {skin.HAIR, skin.BODY, skin.APPAREL, skin.UPPER_LIP, skin.LOWER_LIP}
    assert expected | {skin.UPPER_TEETH, skin.LOWER_TEETH, skin.TONGUE} == set(np.unique(paint.label))


def test_light_follows_the_view():
    request = ava256_layout.Request()
    head = render.face(ava256_layout.identity(request, 0), Expression(), 64)
    left, right = (np.array([x, 0.1, 0.9]) / np.linalg.norm([x, 0.1, 0.9]) for x in (-0.8, 0.8))
    difference = np.abs(render._light(head.normals, left) - render._light(head.normals, right))
    assert difference.mean() > 0.15


def test_nothing_else_is_overwritten(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="not to be overwritten"):
        ava256_layout.write(tmp_path, SMALL, jobs=1, exist_ok=True)
    folder = tmp_path / "captures"
    folder.mkdir()  # an empty one may be there
    assert ava256_layout.write(folder, SMALL, jobs=1)
    before = contents(folder)
    assert not ava256_layout.write(folder, SMALL, jobs=1, exist_ok=True)
    with pytest.raises(ValueError, match="not to be overwritten"):
        ava256_layout.write(folder, SMALL, jobs=1)
    with pytest.raises(ValueError, match="not to be overwritten"):
        ava256_layout.write(folder, ava256_layout.Request(**{**vars(SMALL), "seed": 9}), jobs=1, exist_ok=True)
    assert contents(folder) == before and (tmp_path / "mine.txt").read_text() == "precious"


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*unused):
        raise RuntimeError("no space left")

    monkeypatch.setattr(ava256_layout, "_write_capture", fail)
    with pytest.raises(RuntimeError):
        ava256_layout.write(tmp_path / "captures", SMALL, jobs=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("field", ["identities", "frames", "cameras", "height", "texture_size"])
def test_requests_must_make_sense(field):
    with pytest.raises(ValueError, match=f"--{field} must be"):
        ava256_layout.Request(**{field: 0})


def test_the_record_says_what_was_asked_for(tiny_capture):
    assert json.loads((tiny_capture / ava256_layout.REQUEST).read_text())["frames"] == 6


def test_the_command_writes_refuses_and_says_so_in_a_line(tmp_path):
    def run(*flags):
        command = [sys.executable, "-c", "from ava_jax.bin.ava import synth; synth()", f"--out={tmp_path / 'made'}", "--jobs=1"]
        return subprocess.run([*command, "--texture_size=32", "--height=32", *flags], capture_output=True, text=True, timeout=600)

    small = ("--identities=1", "--frames=3", "--cameras=1")
    first, again, other = run(*small), run(*small, "--exist_ok"), run("--identities=2", "--exist_ok")
    assert (first.returncode, again.returncode, other.returncode) == (0, 0, 1), first.stderr
    assert "1 capture\n" in first.stdout and "as they were" in again.stdout
    assert "not to be overwritten" in other.stderr and "Traceback" not in other.stderr and other.stderr.count("\n") == 1
