"""The same rig in every convention is the same capture: K, poses and pixels, frames, masks; the published example too."""

import json
import re
import struct

import numpy as np
import pytest
import rig_writers as writers

from ava_jax.captures.rigs import lens, reading
from ava_jax.captures.rigs.types import Rig

PIXELS = 1e-6
WIDE = 4 * writers.POINTS  # far from the axes, where the eighth power is seen
CENTRED = {"fx": 81.9, "fy": 81.9, "cx": (writers.SIZE[1] - 1) / 2, "cy": (writers.SIZE[0] - 1) / 2, "terms": (0.0,) * 5}
STRAIGHT = {"terms": (0.0,) * 5}
ONE = {"fx": 8190.0, "fy": 8185.0, "cx": 1101.5, "cy": 1603.25, "terms": (0.0,) * 5}
SQUARE = {"fx": 81.9, "fy": 81.9}

# Format, writer, what the rig must be for the format to hold it, and how it is read.
CONVENTIONS = {
    "colmap, text": ("colmap", writers.colmap_text, {}),
    "colmap, binary": ("colmap", writers.colmap_binary, {}),
    "nerfstudio": ("transforms", writers.nerfstudio, {}),
    "blender": ("transforms", writers.blender, CENTRED),
    "metashape": ("metashape", writers.metashape, {}),
    "realitycapture, attributes": ("realitycapture", writers.xmp, {}),
    "realitycapture, elements": ("realitycapture", lambda f, c: writers.xmp(f, c, elements=True), {}),
    "realitycapture, no distortion": ("realitycapture", lambda f, c: writers.xmp(f, c, model="perspective"), STRAIGHT),
    "realitycapture, CSV": ("realitycapture", writers.registration_csv, SQUARE),
    "opencv, YAML": ("opencv", writers.opencv_yaml, {}),
    "opencv, XML": ("opencv", writers.opencv_xml, {}),
    "ROS": ("opencv", writers.ros, {}),
    "EasyMocap": ("opencv", writers.easymocap, {}),
    "EasyMocap, axis-angle": ("opencv", lambda f, c: writers.easymocap(f, c, axis_angle=True), {}),
    "KRT": ("krt", writers.krt, {}),
    "NeRSemble": ("nersemble", writers.nersemble, ONE),
    "VHAP": ("vhap", writers.vhap, STRAIGHT),
    "VHAP, splits": ("vhap", lambda f, c: writers.vhap(f, c, splits=True), STRAIGHT),
}
UNITS = {"krt": 1.0, "nersemble": 1000.0, "vhap": 1000.0}


def require_same(found: Rig, truth: dict[str, writers.Camera], unit: float = 1.0) -> None:
    """Holds a rig's cameras against the truth in metres; `unit` units of the rig are one metre."""
    assert [camera.name for camera in found.cameras] == sorted(truth)
    for camera in found.cameras:
        true = truth[camera.name]
        np.testing.assert_allclose(camera.k, true.k, atol=PIXELS, rtol=0)
        np.testing.assert_allclose(camera.world_to_camera[:3, :3], true.rotation, atol=1e-9)
        np.testing.assert_allclose(camera.world_to_camera[:3, 3] / unit, true.translation, atol=1e-9)
        np.testing.assert_allclose(lens.project(unit * writers.POINTS, camera), writers.pixels(true), atol=PIXELS, rtol=0)


@pytest.mark.parametrize("name", CONVENTIONS)
def test_conventions_agree(tmp_path, name):
    form, write, changes = CONVENTIONS[name]
    truth = writers.rig(**changes)
    found = reading.read(write(tmp_path, truth))
    assert found.notes[0].startswith(f"format: {form} of ")
    assert found.mm_per_unit == UNITS.get(form)
    require_same(found, truth, 1000.0 if form == "krt" else 1.0)
    size = (3208, 2200) if form == "nersemble" else writers.SIZE
    assert {camera.size for camera in found.cameras} == {size}
    assert list(found.images) == sorted((camera, frame) for camera in truth for frame in writers.FRAMES)
    assert all(path.is_file() and f"{frame}" in path.name for (_, frame), path in found.images.items())
    named = reading.read(tmp_path, form)
    assert [c.name for c in named.cameras] == [c.name for c in found.cameras] and named.images == found.images


@pytest.mark.parametrize("write", [writers.colmap_text, writers.nerfstudio, writers.vhap])
def test_masks_are_found(tmp_path, write):
    found = reading.read(write(tmp_path, writers.rig(**STRAIGHT)))
    assert list(found.masks) == list(found.images)
    assert all(mask != found.images[key] and mask.name == found.images[key].name for key, mask in found.masks.items())


def test_binary_and_text_of_colmap_are_one(tmp_path):
    truth = writers.rig()
    text, binary = (reading.read(write(tmp_path / write.__name__, truth)) for write in (writers.colmap_text, writers.colmap_binary))
    for a, b in zip(text.cameras, binary.cameras, strict=True):
        assert (a.name, a.size, a.distortion) == (b.name, b.size, b.distortion)
        np.testing.assert_array_equal(a.k, b.k)
        np.testing.assert_array_equal(a.world_to_camera, b.world_to_camera)
    assert list(text.images) == list(binary.images)


def test_every_model_of_colmap(tmp_path):
    """Parameters where the table has them; the rest of the models are refused by name, in both forms."""
    from ava_jax.captures.rigs import colmap, colmap_binary

    f, fx, fy, cx, cy = 80.0, 80.0, 82.0, 11.0, 16.5
    models = {
        "SIMPLE_PINHOLE": ([f, cx, cy], (f, f), "none", ()),
        "PINHOLE": ([fx, fy, cx, cy], (fx, fy), "none", ()),
        "SIMPLE_RADIAL": ([f, cx, cy, 0.1], (f, f), "opencv", (0.1, 0, 0, 0, 0, 0, 0, 0)),
        "RADIAL": ([f, cx, cy, 0.1, 0.2], (f, f), "opencv", (0.1, 0.2, 0, 0, 0, 0, 0, 0)),
        "OPENCV": ([fx, fy, cx, cy, 0.1, 0.2, 0.3, 0.4], (fx, fy), "opencv", (0.1, 0.2, 0.3, 0.4, 0, 0, 0, 0)),
        "OPENCV_FISHEYE": ([fx, fy, cx, cy, 0.1, 0.2, 0.3, 0.4], (fx, fy), "fisheye", (0.1, 0.2, 0.3, 0.4)),
        "FULL_OPENCV": ([fx, fy, cx, cy, *range(1, 9)], (fx, fy), "opencv", tuple(range(1, 9))),
    }
    for number, (name, (parameters, focal, model, terms)) in enumerate(models.items()):
        (tmp_path / "cameras.txt").write_text(f"1 {name} 22 32 {writers.words(parameters)}\n")
        data = struct.pack("<QiiQQ", 1, 1, number, 22, 32) + struct.pack(f"<{len(parameters)}d", *parameters)
        (tmp_path / "cameras.bin").write_bytes(data)
        for read in (lambda: colmap.read_cameras(tmp_path / "cameras.txt"), lambda: colmap_binary.read_cameras(tmp_path / "cameras.bin")):
            size, k, distortion = read()[1]
            assert size == (32, 22) and (distortion.model, distortion.coefficients) == (model, terms)
            np.testing.assert_array_equal(k, [[focal[0], 0, 10.5], [0, focal[1], 16.0], [0, 0, 1]])
    for number, name in enumerate(("FOV", "SIMPLE_RADIAL_FISHEYE", "RADIAL_FISHEYE", "THIN_PRISM_FISHEYE"), 7):
        (tmp_path / "cameras.txt").write_text(f"\n# x\n1 {name} 22 32 80 11 16 0.1\n")
        with pytest.raises(ValueError, match=f"cameras.txt, line 3: camera model {name} is not supported.*image_undistorter"):
            colmap.read_cameras(tmp_path / "cameras.txt")
        (tmp_path / "cameras.bin").write_bytes(struct.pack("<QiiQQ4d", 1, 1, number, 22, 32, 80, 11, 16, 0.1))
        with pytest.raises(ValueError, match=f"cameras.bin, camera 0 of 1: camera model {name} is not supported"):
            colmap_binary.read_cameras(tmp_path / "cameras.bin")


def test_metashape_in_local_coordinates(tmp_path):
    truth = writers.rig()
    require_same(reading.read(writers.metashape(tmp_path, truth, local=True), "metashape-local"), truth)
    world = reading.read(tmp_path)
    for camera in world.cameras:  # the scale is on the centre, not in R
        true = truth[camera.name]
        np.testing.assert_allclose(camera.world_to_camera[:3, :3], true.rotation, atol=1e-12)
        centre = -camera.world_to_camera[:3, :3].T @ camera.world_to_camera[:3, 3]
        np.testing.assert_allclose(centre, 3 * true.centre + [5, 6, 7], atol=1e-12)
    assert any("1 cameras are not aligned" in note and "lost" in note for note in world.notes)


def test_metashape_with_all_its_terms(tmp_path):
    """k4, b1 and b2 by Metashape's own formula, whose pixels have their origin at the corner."""
    truth = writers.rig()
    writers.metashape(tmp_path, truth, local=True)
    given = {
        "f": 80.0,
        "cx": 1.5,
        "cy": -0.75,
        "b1": 2.0,
        "b2": 0.6,
        "k1": -0.1,
        "k2": 0.2,
        "k3": -0.3,
        "k4": 0.4,
        "p1": 0.004,
        "p2": -0.006,
    }
    file = tmp_path / "cameras.xml"
    inner = "".join(f"<{key}>{value}</{key}>" for key, value in given.items())
    file.write_text(re.sub(r"(<calibration [^>]*adjusted[^>]*><resolution[^>]*/>).*?(</calibration>)", rf"\1{inner}\2", file.read_text()))
    height, width = writers.SIZE
    for camera in reading.read(tmp_path, "metashape-local").cameras:
        true = truth[camera.name]
        local = WIDE @ true.rotation.T + true.translation
        x, y = local[:, 0] / local[:, 2], local[:, 1] / local[:, 2]
        r2, n = x * x + y * y, given
        g = 1 + n["k1"] * r2 + n["k2"] * r2**2 + n["k3"] * r2**3 + n["k4"] * r2**4
        bent_x = x * g + n["p1"] * (r2 + 2 * x * x) + 2 * n["p2"] * x * y
        bent_y = y * g + n["p2"] * (r2 + 2 * y * y) + 2 * n["p1"] * x * y
        u = width / 2 + n["cx"] + bent_x * n["f"] + bent_x * n["b1"] + bent_y * n["b2"]
        v = height / 2 + n["cy"] + bent_y * n["f"]
        np.testing.assert_allclose(lens.project(WIDE, camera), np.stack([u, v], -1) - 0.5, atol=PIXELS, rtol=0)


def test_realitycapture_with_four_radial_terms(tmp_path):
    """brown4t2: x g + 2 t1 x y + t2 (r2 + 2 x^2), g up to the eighth power."""
    truth = writers.rig(fx=81.9, fy=81.9)
    writers.registration_csv(tmp_path, truth)
    file = tmp_path / "registration.csv"
    file.write_text(re.sub(r",0\.0,0\.0011,-0\.0007\n", ",0.7,0.0011,-0.0007\n", file.read_text()))
    for camera in reading.read(tmp_path).cameras:
        true = truth[camera.name]
        local = WIDE @ true.rotation.T + true.translation
        normalised = local[:, :2] / local[:, 2:]
        extra = 81.9 * 0.7 * normalised * ((normalised**2).sum(1, keepdims=True)) ** 4
        assert np.abs(extra).max() > 0.01
        np.testing.assert_allclose(lens.project(WIDE, camera), writers.pixels(true, WIDE) + extra, atol=PIXELS, rtol=0)


def test_videos_of_half_the_size_scale_k(tmp_path):
    found = reading.read(writers.nersemble(tmp_path, writers.rig(**ONE), (1604, 1100)))
    for camera in found.cameras:
        assert camera.size == (1604, 1100)
        expected = [[4095.0, 0, (1101.5 + 0.5) / 2 - 0.5], [0, 4092.5, (1603.25 + 0.5) / 2 - 0.5], [0, 0, 1]]
        np.testing.assert_allclose(camera.k, expected, atol=1e-9)


def test_frames_of_videos_are_extracted(tmp_path):
    imageio = pytest.importorskip("imageio.v3")
    from ava_jax.captures.rigs import nersemble

    writers.nersemble(tmp_path, writers.rig(**ONE), (16, 11))
    sequence = tmp_path / "sequences" / "EXP-2"
    (sequence / "images").mkdir(parents=True)
    with pytest.raises(ValueError, match="must hold images/cam_<serial>.mp4"):
        nersemble.extract(sequence)
    frames = np.stack([np.full((64, 48, 3), 40 * i, np.uint8) for i in range(5)])
    imageio.imwrite(sequence / "images" / "cam_a7.mp4", frames, fps=10, macro_block_size=1)
    notes = " ".join(reading.read(sequence).notes)
    assert "pictures are in videos" in notes and "ffmpeg -i" in notes
    assert nersemble.extract(sequence, every=2) == 3 == nersemble.extract(sequence, every=2)
    with pytest.raises(ValueError, match="several sequences are there.*name one"):
        reading.read(tmp_path)
    (sequence / "images" / "cam_b3.mp4").write_bytes(b"no video")
    with pytest.raises(ValueError, match="cam_b3.mp4: cannot be read as a video"):
        nersemble.extract(sequence, cameras=["b3"])
    assert sorted(p.name for p in (sequence / "images" / "cam_a7").iterdir()) == ["000000.jpg", "000002.jpg", "000004.jpg"]


def test_vhap_gives_flame_by_timestep(tmp_path):
    found = reading.read(writers.vhap(tmp_path, writers.rig(**STRAIGHT)))
    assert {frame: path.name for frame, path in found.flame.items()} == {3: "00003.npz", 12: "00012.npz"}


def test_a_union_of_sequences_that_were_moved_apart_is_refused(tmp_path):
    """Each sequence is moved by its own mean head translation, so that its cameras lie elsewhere; one that is not is read."""
    for moved, refused in ((0.0, False), (0.01, True)):
        folder = tmp_path / str(moved)
        frames = []
        for i, sequence in enumerate(("SEQ1", "SEQ2")):
            truth = {n: c._replace(translation=c.translation + c.rotation @ [i * moved, 0, 0]) for n, c in writers.rig(**STRAIGHT).items()}
            (folder / sequence).mkdir(parents=True)
            writers.vhap(folder / sequence, truth)
            for frame in json.loads((folder / sequence / "transforms.json").read_text())["frames"]:
                paths = {key: f"../{sequence}/{value}" for key, value in frame.items() if key.endswith("_path")}
                frames.append(frame | paths | {"timestep_index": frame["timestep_index"] + 100 * i})
        (folder / "UNION").mkdir()
        (folder / "UNION" / "transforms_train.json").write_text(json.dumps({"frames": frames}))
        if refused:
            with pytest.raises(
                ValueError, match="transforms_train.json: camera 'a7' lies 0.01 m apart in ../SEQ1 and ../SEQ2: each sequence"
            ):
                reading.read(folder / "UNION")
        else:
            found = reading.read(folder / "UNION")
            assert len(found.images) == 12 and sorted(found.flame) == [3, 12, 103, 112]


@pytest.mark.data
@pytest.mark.parametrize("form", ["colmap", "nerfstudio", "metashape", "vhap", "nersemble"])
def test_the_published_example(test_data, tmp_path, form):
    """All conventions of specs/own_rig_example.json give its K, T and pixels."""
    file = test_data / "specs" / "own_rig_example.json"
    if not file.is_file():
        pytest.skip("AVA_TEST_DATA has no specs/own_rig_example.json")
    example = json.loads(file.read_text())
    width, height = example["image_size_wh"]
    given = example[form]
    if form == "colmap":
        (tmp_path / "cameras.txt").write_text(f"1 {given['model']} {width} {height} {writers.words(given['params'])}\n")
        (tmp_path / "images.txt").write_text(f"1 {writers.words(given['qvec_wxyz'])} {writers.words(given['tvec'])} 1 cam/1.png\n\n")
    elif form == "nerfstudio":
        frame = {"file_path": "cam/1.png", "transform_matrix": given.pop("transform_matrix")}
        (tmp_path / "transforms.json").write_text(json.dumps(given | {"frames": [frame]}))
    elif form == "vhap":
        frame = given | {"file_path": "images/00001_00.png", "timestep_index": 1, "camera_index": 0}
        (tmp_path / "transforms.json").write_text(json.dumps({"frames": [frame]}))
    elif form == "nersemble":
        poses = {"world_2_cam": {"222200036": given["world_2_cam"]}, "intrinsics": example["K_integer_centres"]}
        (tmp_path / "camera_params.json").write_text(json.dumps(poses))
    else:
        inner = "".join(f"<{key}>{given[key]!r}</{key}>" for key in ("f", "cx", "cy", "b1", "b2", "k1", "k2", "k3", "p1", "p2"))
        (tmp_path / "cameras.xml").write_text(
            f'<document><chunk><sensors><sensor id="0"><resolution width="{width}" height="{height}"/><calibration class="adjusted">{inner}'
            f'</calibration></sensor></sensors><cameras><camera id="0" sensor_id="0" label="cam/1"><transform>'
            f"{writers.words(given['camera_transform_chunk'])}</transform></camera></cameras></chunk></document>"
        )
    (camera,) = reading.read(tmp_path).cameras
    assert camera.size == (height, width)
    np.testing.assert_allclose(camera.k.T, example["ava_KRT_entry"]["K"], atol=PIXELS)
    stored = camera.world_to_camera.T.copy()
    stored[3, :3] *= 1000  # metres
    np.testing.assert_allclose(stored, example["ava_KRT_entry"]["T"], atol=1e-9)
    points = np.array(example["points_world_mm"]) / 1000
    straight = form in ("vhap", "nersemble")  # which hold no distortion: of images that were undistorted
    expected = np.array(example["pixels_undistorted_same_K" if straight else "pixels_distorted"])
    np.testing.assert_allclose(lens.project(points, camera), expected, atol=PIXELS, rtol=0)
    undistorted = lens.to_pixels(lens.undistort(lens.from_pixels(expected, camera.k), camera), camera.k)
    np.testing.assert_allclose(undistorted, example["pixels_undistorted_same_K"], atol=PIXELS, rtol=0)
