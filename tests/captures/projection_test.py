"""Calibrations held against the captures' meshes; what else their numbers could mean."""

import dataclasses
import json
import shutil
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from ava_jax.captures import appearance, ava256, projection, reading
from ava_jax.core import cameras
from ava_jax.data import archive, mesh_files
from ava_jax.data.archive import Archives
from ava_jax.tasks.ava256.evaluation import check

OPENGL = np.diag([1.0, -1.0, -1.0])


@pytest.fixture(scope="module")
def sound(tiny_capture) -> ava256.Capture:
    return ava256.load(ava256.find(str(tiny_capture), "")[0])


def require(capture: ava256.Capture, **options) -> list[str]:
    return projection.require(Archives(), [capture], **options)


def changed(capture: ava256.Capture, rotation, translation) -> ava256.Capture:
    return dataclasses.replace(capture, rotation=np.asarray(rotation), translation=np.asarray(translation))


def inverse(capture):
    turned = np.swapaxes(capture.rotation, -1, -2)
    return turned, -np.einsum("cij,cj->ci", turned, capture.translation)


def elsewhere(capture: ava256.Capture) -> ava256.Capture:
    """The same cameras in a world with its origin 3 m from the head, as of a rig that is calibrated on its own."""
    shift = np.array([900.0, -1200.0, 2600.0])
    return dataclasses.replace(capture, translation=capture.translation - capture.rotation @ shift)


def moved(found: projection.Reference) -> projection.Reference:
    shift = np.array([900.0, -1200.0, 2600.0])
    pose = found.pose.copy()
    pose[:, 3] += shift
    return found._replace(points=found.points + shift, pose=pose)


def test_a_sound_capture_is_all_inside(sound):
    found = projection.reference(Archives(), sound)
    assert found.frame == sound.frames[0] and projection.fractions(found, sound).min() == 1
    assert require(sound) == []


def test_a_camera_takes_milliseconds(sound):
    found = projection.reference(Archives(), sound)
    began = time.process_time()
    for _ in range(5):
        projection.doubts_of(found, sound)
    assert (time.process_time() - began) / (5 * len(sound.cameras)) < 0.02


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda c: (np.swapaxes(c.rotation, -1, -2), c.translation), "rotation transposed"),
        (lambda c: inverse(c), "camera to world inverted"),
        (lambda c: (c.rotation, inverse(c)[1]), "translation taken as the camera's position"),
        (lambda c: (c.rotation, c.translation / 1000), "metres to mm"),
        (lambda c: (c.rotation, c.translation / 10), "centimetres to mm"),
        (lambda c: (OPENGL @ c.rotation, c.translation @ OPENGL), "y up and z backwards"),
        (lambda c: (inverse(c)[0] @ OPENGL, inverse(c)[1] / 1000), r"camera to world inverted, metres to mm, y up and z backwards"),
    ],
    ids=["rotation", "camera to world", "position", "metres", "centimetres", "OpenGL", "all"],
)
def test_what_is_meant_is_named(sound, wrong, words):
    world = elsewhere(sound)
    found = moved(projection.reference(Archives(), sound))
    assert projection.doubts_of(found, world) == []
    with pytest.raises(
        ValueError, match=rf"calibration\.json: camera \d+: \d+% of the face falls inside.*T changed so: {words}[^,]*\? ava"
    ) as error:
        projection.doubts_of(found, changed(world, *wrong(world)))
    assert "\n" not in str(error.value)


def test_head_poses_that_are_inverted_are_named(sound):
    found = moved(projection.reference(Archives(), sound))
    vertices = (found.points - found.pose[:, 3]) @ found.pose[:, :3]
    pose = np.concatenate([found.pose[:, :3].T, -found.pose[:, :3].T @ found.pose[:, 3:]], axis=1)
    wrong = projection.Reference(found.frame, vertices @ pose[:, :3].T + pose[:, 3], pose)
    with pytest.raises(ValueError, match="it would with head poses inverted"):
        projection.doubts_of(wrong, elsewhere(sound))


def test_one_camera_that_sees_nothing_is_refused_and_can_be_left_out(sound):
    translation = sound.translation.copy()
    translation[1] += [9000.0, 0, 0]
    message = rf"camera {sound.cameras[1]}: 0% of the face falls inside its images; K or T transposed, or not in mm\?.*config.data.cameras"
    with pytest.raises(ValueError, match=message):
        require(changed(sound, sound.rotation, translation))


def test_a_close_up_is_told_and_taken(sound):
    focal = sound.focal.copy()
    focal[0] *= 4
    (doubt,) = require(dataclasses.replace(sound, focal=focal))
    assert f"camera {sound.cameras[0]}: " in doubt and "is that so?" in doubt


def test_a_calibration_of_smaller_images_is_told(sound):
    doubts = require(dataclasses.replace(sound, focal=sound.focal / 4, principal=sound.principal / 4))
    assert len(doubts) == 1 and "is K for images of another size?" in doubts[0]


def test_a_distortion_is_told_or_refused(sound):
    distorted = dataclasses.replace(sound, distorted=sound.cameras[:1])
    (doubt,) = require(distorted)
    assert f"1 camera ({sound.cameras[0]}) with a distortion: images are taken as undistorted, as published ones are" in doubt
    message = rf"1 camera \({sound.cameras[0]}\) with a distortion.*undistort the images.*config.data.undistorted=True"
    with pytest.raises(ValueError, match=message):
        require(distorted, undistorted=False)
    assert require(sound, undistorted=False) == []


@pytest.mark.parametrize("number", [0, 1])
def test_colours_tell_what_the_part_inside_cannot(tiny_capture, number):
    """Of a rig that looks at the world's origin, all is inside with rotations transposed: from other sides."""
    capture = ava256.load(ava256.find(str(tiny_capture), "")[number])
    archives, found = Archives(), projection.reference(Archives(), capture)
    topology = mesh_files.read_topology(tiny_capture / "face_topology.obj", len(found.points))
    assert appearance.doubts(archives, [capture], topology, capture.cameras) == []
    wrong = changed(capture, np.swapaxes(capture.rotation, -1, -2), capture.translation)
    assert require(wrong) == []
    (line,) = appearance.doubts(archives, [wrong], topology, wrong.cameras)
    assert appearance.doubts(archives, [wrong], topology, ()) == []
    assert "its colours are elsewhere" in line and "they fit with T changed so: rotation transposed" in line and "\n" not in line


@pytest.mark.data
def test_the_reference_captures_are_sound(test_data):
    root = test_data / "capture"
    for folder in ava256.find(str(root), "")[:2]:
        capture = ava256.load(folder)
        found = projection.reference(Archives(), capture)
        topology = mesh_files.read_topology(root / "face_topology.obj", len(found.points))
        assert require(capture) == appearance.doubts(Archives(), [capture], topology, capture.cameras) == []
        wrong = changed(capture, *inverse(capture))  # its rig is symmetric: all is inside all the same
        (line,) = appearance.doubts(Archives(), [wrong], topology, wrong.cameras)
        assert "camera to world inverted" in line


@pytest.fixture
def own(tiny_capture, tmp_path):
    return shutil.copytree(tiny_capture, tmp_path / "captures")


def _rewrite(path, change):
    with zipfile.ZipFile(path) as z:
        members = [(name, change(z.read(name))) for name in z.namelist()]
    archive.write(path, members)


def test_meshes_in_metres_are_named(own):
    capture = ava256.load(ava256.find(str(own), "")[0])
    _rewrite(capture.vertices, lambda data: mesh_files.write_vertices(mesh_files.read_vertices(data) / 1000))
    with pytest.raises(
        ValueError, match=r"registration_vertices\.zip, frame \d+: the mesh of a head must be in mm; this one is 0\.\d+ long"
    ):
        require(capture)


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda pose: pose * [[1, 1, 1.1, 1]], "a head pose.*must begin with a rotation.*not orthonormal"),
        (lambda pose: pose * [[1, 1, -1, 1]], r"it mirrors \(determinant -1\)"),
        (lambda pose: np.concatenate([pose, [[0, 0, 0, 1]]]), "3 x 4 finite numbers; got 16"),
        (lambda pose: pose.T.reshape(3, 4), "must begin with a rotation"),
        (lambda pose: pose * np.nan, "finite numbers"),
    ],
    ids=["scaled", "mirrored", "4 x 4", "transposed", "nan"],
)
def test_head_poses_that_cannot_be_right_are_named(own, change, message):
    capture = ava256.load(ava256.find(str(own), "")[0])

    def rewritten(data: bytes) -> bytes:
        pose = change(np.array(data.split(), float).reshape(3, 4) + [[0, 0, 0, 500.0], [0, 0, 0, 20], [0, 0, 0, 3]])
        return "\n".join(" ".join(map(str, row)) for row in pose.tolist()).encode()

    _rewrite(capture.head_pose, rewritten)
    with pytest.raises(reading.Unreadable, match=rf"head_pose\.zip, frame \d+: .*{message}"):
        reading.head_pose(Archives(), capture, int(capture.frames[1]))
    with pytest.raises(ValueError, match="no frame has both a mesh and a head pose that can be read"):
        require(capture)


@pytest.mark.parametrize("separator, head", [(", ", b""), ("\t", b""), (";", b"\xef\xbb\xbf"), ("\r\n", b"")])
def test_head_poses_are_read_as_editors_save_them(own, separator, head):
    capture = ava256.load(ava256.find(str(own), "")[0])
    frame = int(capture.frames[2])
    expected = reading.head_pose(Archives(), capture, frame)
    _rewrite(capture.head_pose, lambda data: head + separator.join(data.decode().split()).encode() + b"\n\n")
    np.testing.assert_array_equal(reading.head_pose(Archives(), capture, frame), expected)


def test_rotations():
    assert cameras.rotation_fault(np.eye(3)) == ""
    assert "finite" in cameras.rotation_fault(np.eye(3) * np.nan) and "mirrors" in cameras.rotation_fault(-np.eye(3))


def test_the_check_draws_sound_and_transposed_captures(own, sound, tmp_path):
    import ml_collections

    topology = own / "face_topology.obj"
    whole = check.strip(Archives(), sound, topology)
    assert [caption for caption, _ in whole.panels] == [f"camera {camera}: 100% inside" for camera in sound.cameras]
    for path in own.glob("*/decoder/camera_calibration.json"):
        tree = json.loads(path.read_text())
        for entry in tree["KRT"]:
            entry["T"] = np.array(entry["T"]).T.tolist()
        path.write_text(json.dumps(tree))
    config = ml_collections.ConfigDict({"data": {"root": str(own), "ids": "", "cameras": (), "topology": ""}})
    (picture,) = check.write(config, tmp_path / "run")
    assert picture == tmp_path / "run" / "check.jpg" and Image.open(picture).width > 1000
    outside = check.strip(Archives(), ava256.load(ava256.find(str(own), "")[0], judge=False), topology)
    assert all(": 0% inside" in caption for caption, _ in outside.panels)
    assert (outside.panels[0][1] != whole.panels[0][1]).any()
