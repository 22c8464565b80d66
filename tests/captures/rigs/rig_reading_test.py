"""Which format a path holds, which part of a name is the camera's and which the frame's, and what is refused, in one line."""

import json
import pathlib
import re
import shutil
import struct

import numpy as np
import pytest
import rig_writers as writers
from scipy.spatial.transform import Rotation

from ava_jax.captures.rigs import building, reading
from ava_jax.captures.rigs.types import RigCamera

STRAIGHT = {"terms": (0.0,) * 5}


def refusal(call) -> str:
    """The one line of a refusal."""
    with pytest.raises(ValueError) as e:
        call()
    text = str(e.value)
    assert "\n" not in text and len(text) < 1500, text
    return text


# Formats.


def test_unknown_folders_are_told_what_would_be_recognised(tmp_path):
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / "config.yaml").write_text("TASK: 1\n")
    for path in (tmp_path, tmp_path / "notes.json", tmp_path / "config.yaml"):
        text = refusal(lambda: reading.read(path))
        assert text.startswith(f"{path}: holds no calibration that is recognised.")
        assert all(f"{name}: " in text for name in reading.FORMATS)
    assert refusal(lambda: reading.read(tmp_path / "none")) == (
        f"{tmp_path / 'none'}: there is no such file or folder; give the rig's calibration, or the folder that holds it."
    )
    assert "must be one of colmap, transforms" in refusal(lambda: reading.read(tmp_path, "nerf"))
    for form in reading.FORMATS:
        assert str(tmp_path) in refusal(lambda: reading.read(tmp_path, form))


def test_folders_of_several_formats_are_refused_until_one_is_named(tmp_path):
    truth = writers.rig(**STRAIGHT)
    writers.colmap_text(tmp_path, truth)
    writers.metashape(tmp_path, truth)
    text = refusal(lambda: reading.read(tmp_path))
    assert "several calibrations: colmap (" in text and "metashape (" in text and "name one's path or its format" in text
    assert reading.read(tmp_path, "metashape").notes[0].startswith("format: metashape")
    assert reading.read(tmp_path / "sparse" / "0").notes[0].startswith("format: colmap")
    assert reading.read(tmp_path / "sparse" / "0" / "cameras.txt").notes[0].startswith("format: colmap")
    assert reading.read(tmp_path / "cameras.xml").notes[0].startswith("format: metashape")
    shutil.copytree(tmp_path / "sparse" / "0", tmp_path / "sparse" / "1")
    assert "several calibrations: colmap (" in refusal(lambda: reading.read(tmp_path, "colmap"))


def test_pictures_of_another_folder_can_be_named(tmp_path):
    truth = writers.rig()
    writers.colmap_text(tmp_path / "model", truth)
    (tmp_path / "model" / "images").rename(tmp_path / "photographs")
    lost = reading.read(tmp_path / "model")
    assert lost.images == {} and any("6 of 6 pictures are not there: a7/000003.png" in note for note in lost.notes)
    assert len(lost.cameras) == 3
    found = reading.read(tmp_path / "model", images=tmp_path / "photographs")
    assert len(found.images) == 6 and not any("not there" in note for note in found.notes)
    (tmp_path / "photographs" / "b3" / "000012.png").unlink()
    found = reading.read(tmp_path / "model", images=tmp_path / "photographs")
    assert len(found.images) == 5 and any("1 of 6 pictures are not there: b3/000012.png" in note for note in found.notes)


def test_a_model_of_colmap_beside_its_text_is_read_as_binary(tmp_path):
    truth = writers.rig()
    writers.colmap_text(tmp_path / "a", truth)
    writers.colmap_binary(tmp_path / "b", truth)
    for name in ("cameras.bin", "images.bin"):
        shutil.copy(tmp_path / "b" / "sparse" / name, tmp_path / "a" / "sparse" / "0" / name)
    found = reading.read(tmp_path / "a")
    assert any("binary" in note for note in found.notes) and any("in text too" in note for note in found.notes)


# Names.


def shots(names: list[str], cameras: list[int]) -> list[building.Shot]:
    """Pictures, each with the pose of the camera of that number."""
    found = []
    for name, number in zip(names, cameras, strict=True):
        pose = np.eye(4)
        pose[:3, :3] = Rotation.from_euler("y", 20 * number, degrees=True).as_matrix()
        pose[:3, 3] = [0.1 * number, 0, 1]
        found.append(building.Shot(name, RigCamera("", (32, 22), np.diag([80.0, 80, 1]), pose)))
    return found


@pytest.mark.parametrize(
    "names, cameras, expected",
    [
        (["images/c1/000001.png", "images/c1/000002.png", "images/c2/000001.png"], [1, 1, 2], [("c1", 1), ("c1", 2), ("c2", 1)]),
        (["c1/x/f_9.png", "c2/x/f_9.png"], [1, 2], [("c1", 9), ("c2", 9)]),
        (["a/c1/7.png", "b/c1/7.png"], [1, 2], [("a", 7), ("b", 7)]),
        (["f0001/c1.png", "f0002/c1.png", "f0001/c2.png", "f0002/c2.png"], [1, 1, 2, 2], [("c1", 1), ("c1", 2), ("c2", 1), ("c2", 2)]),
        (["left_0007.png", "left_0008.png", "right_0007.png"], [1, 1, 2], [("left", 7), ("left", 8), ("right", 7)]),
        (["00003_01.png", "00004_01.png", "00003_02.png"], [1, 1, 2], [("01", 3), ("01", 4), ("02", 3)]),
        (["cam_01.png", "cam_02.png", "cam_03.png"], [1, 2, 3], [("cam_01", 0), ("cam_02", 0), ("cam_03", 0)]),
        (["r_0.png", "r_1.png"], [1, 2], [("r_0", 0), ("r_1", 0)]),
        (["train/r_0.png", "test/r_0.png", "train/r_1.png"], [1, 2, 3], [("train-r_0", 0), ("test-r_0", 0), ("train-r_1", 0)]),
        (["front.png"], [1], [("front", 0)]),
        (["images/c1/1.png", "images/c1/2.png"], [1, 1], [("c1", 1), ("c1", 2)]),
        (["images/000001.png", "images/000002.png"], [1, 2], [("000001", 0), ("000002", 0)]),
    ],
)
def test_cameras_and_frames_are_told_from_names_and_poses(tmp_path, names, cameras, expected):
    listed = shots(names, cameras)
    listed = [shot._replace(picture=tmp_path / shot.name) for shot in listed]
    found = building.build(tmp_path, listed)
    assert {key: path.relative_to(tmp_path).as_posix() for key, path in found.images.items()} == dict(zip(expected, names, strict=True))
    assert [camera.name for camera in found.cameras] == sorted({name for name, _ in expected})
    for (name, _), number in zip(expected, cameras, strict=True):
        camera = next(c for c in found.cameras if c.name == name)
        assert camera.world_to_camera[0, 3] == pytest.approx(0.1 * number)


def test_a_camera_that_moves_among_others_that_stand_is_refused(tmp_path):
    names = [f"c{c}/{f}.png" for c in (1, 2, 3) for f in (1, 2)]
    text = refusal(lambda: building.build(tmp_path, shots(names, [1, 1, 2, 4, 3, 3])))
    assert "camera 'c2' must stand still; its pose in 'c2/2.png' differs from that in 'c2/1.png' by 40 degrees and" in text
    nearly = shots(names, [1, 1, 2, 2, 3, 3])
    pose = nearly[3].camera.world_to_camera.copy()
    pose[:3, :3] = Rotation.from_euler("y", 0.1, degrees=True).as_matrix() @ pose[:3, :3]
    pose[:3, 3] = pose[:3, :3] @ nearly[3].camera.world_to_camera[:3, :3].T @ nearly[3].camera.world_to_camera[:3, 3]
    nearly[3] = nearly[3]._replace(camera=RigCamera("", (32, 22), np.diag([80.2, 80, 1]), pose))
    found = building.build(tmp_path, nearly)
    assert any(
        "differ over its frames by up to 0.1 degrees" in note and "K by up to 0.2 pixels" in note and "first frame's is taken" in note
        for note in found.notes
    )
    for change, word in (({"size": (32, 23)}, "is of another size than"), ({"k": np.diag([82.0, 80, 1])}, "differ by 2 pixels")):
        odd = shots(names, [1, 1, 2, 2, 3, 3])
        odd[3] = odd[3]._replace(camera=RigCamera(**(vars(odd[3].camera) | change)))
        text = refusal(lambda: building.build(tmp_path, odd))
        assert "camera 'c2' must have one size and one K" in text and word in text


def test_a_frame_that_is_there_twice_is_refused(tmp_path):
    listed = [shot._replace(key=("c", 1)) for shot in shots(["a.png", "b.png"], [1, 1])]
    assert "camera 'c' has frame 1 twice" in refusal(lambda: building.build(tmp_path, listed))
    assert "lists no picture" in refusal(lambda: building.build(tmp_path, []))
    writers.krt(tmp_path / "k", writers.rig())
    writers.picture(tmp_path / "k" / "images" / "OTHER" / "a7" / "000003.png")
    assert "is frame 3 of camera 'a7', as " in refusal(lambda: reading.read(tmp_path / "k"))


def test_sizes_that_nobody_says_are_noted(tmp_path):
    writers.krt(tmp_path, writers.rig())
    shutil.rmtree(tmp_path / "images")
    found = reading.read(tmp_path)
    assert {camera.size for camera in found.cameras} == {(0, 0)} and found.images == {}
    assert any("image size not known of 3 cameras (a7, b3, c5)" in note for note in found.notes)


# Damaged and wrong files.


def changed(path: pathlib.Path, old: str, new: str, count: int = 1) -> None:
    text = path.read_text()
    assert old in text or re.search(old, text), old
    path.write_text(text.replace(old, new, count) if old in text else re.sub(old, new, text, count=count))


_NUMBER = r"-?\d+\.\d+(?:e-?\d+)?"
W = writers  # short, for the table
_WRONG = {
    "no second line": (W.colmap_text, "sparse/0/images.txt", r"\n\n2 ", "\n2 ", r"images.txt, line 4: must hold X Y POINT3D_ID triples"),
    "points that are none": (W.colmap_text, "sparse/0/images.txt", "1.5 2.5 -1", "1.5 x -1", "images.txt, line 6: must hold X Y"),
    "a short line": (W.colmap_text, "sparse/0/images.txt", r" 1 a7/000003.png", "", "images.txt, line 3: must be IMAGE_ID QW"),
    "NaN": (W.colmap_text, "sparse/0/images.txt", rf"\n1 {_NUMBER}", "\n1 nan", "images.txt, line 3: QW QX QY QZ must be a finite"),
    "no unit": (W.colmap_text, "sparse/0/images.txt", rf"\n1 {_NUMBER}", "\n1 3.0", "line 3: the quaternion must have length 1"),
    "no camera": (W.colmap_text, "sparse/0/images.txt", " 2 b3/", " 9 b3/", "images.txt, line 7: image 'b3/000003.png' is of camera 9"),
    "twice": (W.colmap_text, "sparse/0/images.txt", r"\n2 ", "\n1 ", "images.txt, line 5: image 1 is there twice"),
    "parameters": (W.colmap_text, "sparse/0/cameras.txt", " 0.0\n", "\n", "line 3: FULL_OPENCV must have 12 parameters; got 11"),
    "camera twice": (W.colmap_text, "sparse/0/cameras.txt", r"\n2 ", "\n1 ", "cameras.txt, line 4: camera 1 is there twice"),
    "focal": (W.colmap_text, "sparse/0/cameras.txt", "32 81.9 ", "32 -81.9 ", "cameras.txt, line 3: focal lengths must be positive"),
    "matrix gone": (W.nerfstudio, "transforms.json", '"transform_matrix"', '"x"', r"frames\[0\]: transform_matrix is missing"),
    "path gone": (W.nerfstudio, "transforms.json", '"file_path"', '"x"', r"frames\[0\]: file_path must be a path"),
    "mask gone": (W.nerfstudio, "transforms.json", "segments/a7", "segments/x", r"frames\[0\]: mask_path 'segments/x.*' is not there"),
    "NaN in JSON": (W.nerfstudio, "transforms.json", '"fl_x": 81.9', '"fl_x": NaN', r"frames\[0\]: fl_x must be a finite number"),
    "model": (W.nerfstudio, "transforms.json", '"OPENCV"', '"EQUIRECTANGULAR"', "camera_model must be OPENCV, .*export undistorted"),
    "k4": (W.nerfstudio, "transforms.json", '"OPENCV"', '"PINHOLE"', "camera_model PINHOLE has no k1, which is -0.11"),
    "scale": (W.nerfstudio, "transforms.json", '"applied_scale": 0.37', '"applied_scale": 0', "applied_scale must be positive"),
    "applied": (W.nerfstudio, "transforms.json", "[0.0, 1.0, 0.0, 0.3]", "[0.0, 2.0, 0, 0.3]", "applied_transform's rotation is none"),
    "no JSON": (W.nerfstudio, "transforms.json", '"h": 32', '"h": ', "transforms.json: must be JSON; line 1, column"),
    "cy gone": (W.vhap, "transforms.json", '"cy"', '"x"', r"frames\[0\]: cy is missing"),
    "timestep": (W.vhap, "transforms.json", '"timestep_index": 3', '"timestep_index": -3', r"frames\[0\]: timestep_index must be a whole"),
    "FLAME twice": (W.vhap, "transforms.json", "flame_param/00003", "flame_param/00012", "timestep 3 has two files of FLAME parameters"),
    "XML cut": (W.metashape, "cameras.xml", "</chunk></document>", "", r"cameras.xml, line \d+: is no XML that can be read"),
    "entity": (W.metashape, "cameras.xml", "<document ", "<!DOCTYPE x><document ", "line 2: has a document type"),
    "f": (W.metashape, "cameras.xml", "<f>81.85</f>", "", "cameras.xml, line 2: sensor 0: its calibration has no f"),
    "word": (W.metashape, "cameras.xml", "<f>81.85</f>", "<f>x</f>", "line 2: sensor 0: f must be a number; got 'x'"),
    "fisheye": (W.metashape, "cameras.xml", 'type="frame"', 'type="fisheye"', "sensor 0: type 'fisheye' is not supported, frame is"),
    "sensor": (W.metashape, "cameras.xml", 'sensor_id="1"', 'sensor_id="7"', r"line \d+: camera 'b3/000003': its sensor_id '7' names no"),
    "transform": (W.metashape, "cameras.xml", rf"<transform>{_NUMBER} ", "<transform>", "transform must be 4 x 4 numbers; got 15"),
    "chunk": (
        W.metashape,
        "cameras.xml",
        rf"<rotation locked='true'>{_NUMBER}",
        "<rotation>9.0",
        r"line \d+: transform of the chunk: the rotation is none",
    ),
    "XMP model": (W.xmp, "a7/000003.xmp", "brown3t2", "division", "000003.xmp, line 3: DistortionModel must be one of perspective"),
    "XMP terms": (W.xmp, "a7/000003.xmp", "brown3t2", "brown3", "line 3: DistortionModel brown3 has no use for all of the coefficients"),
    "XMP rotation": (W.xmp, "a7/000003.xmp", rf"<xcr:Rotation>{_NUMBER} ", "<xcr:Rotation>", "line 11: xcr:Rotation must be 3 x 3"),
    "XMP skew": (W.xmp, "a7/000003.xmp", 'Skew="0"', 'Skew="0.1"', "000003.xmp, line 3: Skew must be 0; got 0.1: export undistorted"),
    "CSV value": (W.registration_csv, "registration.csv", ",92.1375", ",92.1375,", "registration.csv, line 2: must have 16 values; got 17"),
    "matrix size": (W.opencv_yaml, "a7.yml", "data: [ ", "data: [ 1.0, ", "a7.yml: camera_matrix must be 3 x 3 numbers; got 10"),
    "no K": (W.easymocap, "intri.yml", "K_b3:", "K_x:", "intri.yml: has K_x, which names does not list"),
    "no T": (W.easymocap, "extri.yml", "T_b3:", "T_x:", "extri.yml: has no T_b3"),
    "nan": (W.easymocap, "intri.yml", r"data: \[ [^,]*", "data: [ .Nan", "intri.yml: K_a7 must be a number; got '.Nan'"),
    "YAML": (W.opencv_yaml, "b3.yml", "data: [ ", "data: { ", r"b3.yml, line \d+: is no YAML that can be read"),
    "ROS": (W.ros, "info1.yaml", "plumb_bob", "mei", "info1.yaml: distortion_model must be plumb_bob, rational_polynomial"),
    "ROS pose": (W.ros, "extri.yml", "Rot_b3", "Rot_x", "extri.yml: has no R_b3"),
    "OpenCV rotation": (
        W.opencv_xml,
        "c5.xml",
        rf"<data>\n {_NUMBER} (.*\s*)</data></ex",
        r"<data> 5 \1</data></ex",
        "c5.xml: the rotation",
    ),
    "KRT row": (W.krt, "KRT", r"0.0 0.0 1.0\n", "0.0 1.0\n", "KRT, line 4: camera 'a7': must be 3 numbers; got '0.0 1.0'"),
    "KRT K": (W.krt, "KRT", r"0.0 0.0 1.0\n", "0.0 0.0 2.0\n", "KRT, line 2: camera 'a7': K must have the rows"),
    "KRT twice": (W.krt, "KRT", "b3", "a7", "KRT, line 10: camera 'a7' is there twice"),
    "KRT end": (W.krt, "KRT", r"\n[^\n]*\n\n$", "\n", "KRT, line 25: camera 'c5' must have 8 lines; the file ends after 7"),
}


@pytest.mark.parametrize("name", _WRONG)
def test_wrong_files_are_refused_by_name_and_line(tmp_path, name):
    write, file, old, new, text = _WRONG[name]
    changes = STRAIGHT if write is writers.vhap else {"fx": 81.9, "fy": 81.9} if write is writers.registration_csv else {}
    form = reading.read(write(tmp_path, writers.rig(**changes))).notes[0].split()[1]
    changed(tmp_path / file, old, new)
    found = refusal(lambda: reading.read(tmp_path, form))
    assert re.search(text, found) if text else file in found, found
    assert pathlib.PurePath(file).name in found


def test_a_folder_that_is_none_of_nersembles_is_refused(tmp_path):
    writers.nersemble(tmp_path, writers.rig(fx=8190.0, fy=8185.0, cx=1101.5, cy=1603.25, **STRAIGHT), (32, 32))
    assert "must be of the aspect of 3208 x 2200" in refusal(lambda: reading.read(tmp_path))
    file = tmp_path / "calibration" / "camera_params.json"
    tree = json.loads(file.read_text())
    tree["world_2_cam"]["b3"][3][3] = 2.0
    file.write_text(json.dumps(tree))
    assert "camera_params.json: camera 'b3': world_2_cam must end in the row 0 0 0 1" in refusal(lambda: reading.read(tmp_path))
    file.write_text(json.dumps({"world_2_cam": {}}))
    assert 'camera_params.json: must be {"world_2_cam"' in refusal(lambda: reading.read(tmp_path))


def test_binary_models_cut_anywhere_are_refused(tmp_path):
    """Every length of both files; bytes too many; counts that lie."""
    writers.colmap_binary(tmp_path, writers.rig())
    for name in ("cameras.bin", "images.bin"):
        file = tmp_path / "sparse" / name
        data = file.read_bytes()
        for length in range(len(data)):
            file.write_bytes(data[:length])
            assert name in refusal(lambda: reading.read(tmp_path))
        file.write_bytes(data + b"\0")
        assert f"{name}: has bytes after its" in refusal(lambda: reading.read(tmp_path))
        for count in (2**63, 2**64 - 1, 10):
            file.write_bytes(struct.pack("<Q", count) + data[8:])
            assert f"{name}: promises {count} entries" in refusal(lambda: reading.read(tmp_path)) or count == 10
        file.write_bytes(data)
    assert len(reading.read(tmp_path).cameras) == 3
    # Points that the file does not hold, so many that their size overflows.
    file = tmp_path / "sparse" / "images.bin"
    data = file.read_bytes()
    first = data.index(b"\0", 8 + 64) + 1
    file.write_bytes(data[:first] + struct.pack("<Q", 2**63) + data[first + 8 :])
    assert "images.bin, image 0 of 6: the file ends before its" in refusal(lambda: reading.read(tmp_path))


@pytest.mark.parametrize("name", ["empty", "text", "zeros"])
@pytest.mark.parametrize(
    "file, form",
    [
        ("transforms.json", "transforms"),
        ("transforms.json", "vhap"),
        ("cameras.xml", "metashape"),
        ("a.xmp", "realitycapture"),
        ("a.csv", "realitycapture"),
        ("a.yml", "opencv"),
        ("a.xml", "opencv"),
        ("KRT", "krt"),
        ("camera_params.json", "nersemble"),
    ],
)
def test_files_that_are_something_else_are_refused(tmp_path, name, file, form):
    (tmp_path / file).write_bytes({"empty": b"", "text": b"hello, world\n", "zeros": bytes(300)}[name])
    assert str(tmp_path) in refusal(lambda: reading.read(tmp_path / file, form))
    assert str(tmp_path) in refusal(lambda: reading.read(tmp_path))


def test_pictures_that_give_sizes_must_be_there(tmp_path):
    truth = writers.rig(fx=81.9, fy=81.9)
    writers.xmp(tmp_path / "x", truth)
    (tmp_path / "x" / "b3" / "000012.png").unlink()
    assert "000012.xmp: its picture, b3/000012 with .png" in refusal(lambda: reading.read(tmp_path / "x"))
    writers.registration_csv(tmp_path / "c", truth)
    (tmp_path / "c" / "images" / "b3" / "000012.png").write_bytes(b"x")
    assert "registration.csv, line 5: " in refusal(lambda: reading.read(tmp_path / "c"))
    shutil.rmtree(tmp_path / "c" / "images")
    assert "registration.csv: its pictures, 'a7/000003.png' and so on, must be there" in refusal(lambda: reading.read(tmp_path / "c"))
    centred = {"fx": 81.9, "fy": 81.9, "cx": 10.5, "cy": 15.5, "terms": (0.0,) * 5}
    writers.blender(tmp_path / "b", writers.rig(**centred))
    (tmp_path / "b" / "images" / "c5" / "000012.png").unlink()
    assert "transforms_val.json: frames[1]: w and h are missing" in refusal(lambda: reading.read(tmp_path / "b"))


def test_xmp_without_pose_is_left_out_and_told(tmp_path):
    writers.xmp(tmp_path, writers.rig())
    file = tmp_path / "a7" / "000003.xmp"
    file.write_text(re.sub(r"<xcr:Position>.*</xcr:Position>", "", file.read_text()))
    found = reading.read(tmp_path)
    assert len(found.images) == 5 and any("1 XMP files have no pose and are left out: 000003.xmp" in note for note in found.notes)
