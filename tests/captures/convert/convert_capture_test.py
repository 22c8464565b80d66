"""A rig's recording becomes the capture that is synthesised of the same head; what is wrong is refused before it is converted."""

import dataclasses
import json
import pathlib
import shutil
import zipfile

import numpy as np
import plyfile
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from ava_jax.captures import appearance, ava256, capture_set, projection, reading
from ava_jax.captures.convert import converting, meshes, plan, review, work
from ava_jax.core import zbuffer
from ava_jax.core.types import Cameras
from ava_jax.data import images, mesh_files
from ava_jax.data.archive import Archives


def silent(line: str) -> None:
    """Says nothing."""


def samples(root, *, downsample):
    """The reader's samples of the first capture of a folder, by (camera, frame)."""
    capture = ava256.load(ava256.find(str(root), "")[0])
    reader = reading.Reader(Archives(), downsample=downsample, texture_size=128, vertices=7921, segmentation=True, frames_kept=3)
    found = {}
    for camera, name in enumerate(capture.cameras):
        for frame in capture.frames.tolist():
            try:
                found[name, frame] = reader.read(capture, camera, frame, int(capture.frames[0]))
            except reading.Unreadable:  # the synthesised capture lacks one image
                continue
    return capture, found


def pixels(sample):
    camera = Cameras(*(sample[key].astype(np.float64) for key in ("camera_rotation", "camera_position", "focal", "principal")))
    return zbuffer.project(sample["vertices"], camera)


def test_it_equals_the_capture_of_the_same_head(converted, direct):
    capture, found = samples(converted.folder.parent, downsample=1)
    truth, expected = samples(direct, downsample=ava256.SENSOR[0] // 128)
    assert capture.cameras == truth.cameras and capture.sensor == (128, 83)
    np.testing.assert_array_equal(capture.frames, truth.frames)
    np.testing.assert_array_equal(capture.segments, truth.segments)
    np.testing.assert_allclose(capture.focal, truth.focal * 128 / 4096, atol=1e-7)
    np.testing.assert_allclose(capture.principal, truth.principal * 128 / 4096, atol=1e-7)
    assert len(expected) == 4 * 3 - 1 and len(found) == 4 * 3
    for key, sample in expected.items():
        mine = found[key]
        there, true = pixels(mine), pixels(sample)
        np.testing.assert_allclose(there[:, :2], true[:, :2], atol=1e-3)  # pixels
        np.testing.assert_allclose(there[:, 2], true[:, 2], atol=2e-3)  # mm
        both, either = (op(mine["segmentation"] > 0, sample["segmentation"] > 0) for op in (np.logical_and, np.logical_or))
        assert both.sum() / either.sum() > 0.96
        skin = ndimage.binary_erosion(both, iterations=2)
        error = np.square(mine["image"][skin].astype(float) - sample["image"][skin]).mean()
        assert 10 * np.log10(255**2 / error) > 33
    with zipfile.ZipFile(capture.texture.with_name("coverage.zip")) as coverage:
        for frame in capture.frames.tolist():
            seen = images.decode_labels(coverage.read(f"coverage/{frame:06d}.png")) > 0
            assert 0.5 < seen.mean() < 0.95
            key = next(key for key in expected if key[1] == frame)
            mine, true = found[key]["texture"][seen].astype(float), expected[key]["texture"][seen].astype(float)
            assert np.corrcoef((mine - mine.mean(0)).ravel(), (true - true.mean(0)).ravel())[0, 1] > 0.9
            assert found[key]["texture"][~seen].min(-1).mean() > 5  # filled


def test_the_reader_takes_it_without_a_doubt(converted, direct):
    captures = capture_set.load(str(converted.folder.parent))
    mean = np.load(captures.captures[0].vertices.with_name("registration_vertices_mean.npy"))
    topology = mesh_files.read_topology(captures.topology, len(mean))
    true = capture_set.load(str(direct)).captures[0].vertices.with_name("registration_vertices_mean.npy")
    assert np.abs(mean - np.load(true)).max() < 8  # mm: head axes are the template's, up to the two heads' difference
    assert projection.require(captures.archives, captures.captures) == []
    assert appearance.doubts(captures.archives, captures.captures, topology, captures.cameras) == []


def test_the_page_and_the_record(converted):
    text = converted.page.read_text()
    for picture in converted.page.parent.glob("*.jpg"):
        assert picture.name in text and images.decode(picture.read_bytes()).std() > 10
    assert len(list(converted.page.parent.glob("*.jpg"))) == 9
    meta = json.loads((converted.folder / converting.META).read_text())
    assert meta["mm_per_unit"] == 1000 and meta["neutral_frame"] == 1000 and "sRGB" in meta["colours"]
    iou = next(line for line in meta["report"] if "IoU" in line)
    assert float(iou.partition(": ")[2].partition(": ")[2].split()[0]) > 0.96


def test_again_it_is_as_it_was_and_nothing_is_overwritten(converted, ask):
    out = converted.folder.parent
    before = {p: p.stat().st_mtime_ns for p in out.rglob("*")}
    again = converting.convert(ask(out), say=silent)
    assert not again.written and again.folder == converted.folder
    with pytest.raises(ValueError, match="is there already, made otherwise"):
        converting.convert(ask(out, quality=50), say=silent)
    assert {p: p.stat().st_mtime_ns for p in out.rglob("*")} == before


def test_after_a_kill_it_goes_on_and_gives_the_same_bytes(converted, ask, tmp_path, monkeypatch):
    out, made = tmp_path / "captures", work.make_frame

    def killed(frame):
        if frame == 1003:
            raise KeyboardInterrupt
        return made(frame)

    monkeypatch.setattr(work, "make_frame", killed)
    with pytest.raises(KeyboardInterrupt):
        converting.convert(ask(out), say=silent)
    assert [path.name for path in out.iterdir()] == [".20000101--0000--SYN001.partial"]
    done = {p: p.stat().st_mtime_ns for p in out.rglob("*.zip")}
    assert len(done) == 4 + 1
    monkeypatch.setattr(work, "make_frame", made)
    kept = []
    monkeypatch.setattr(converting, "_assemble", _watched(converting._assemble, lambda: kept.extend(p for p in done if p.exists())))
    again = converting.convert(ask(out), say=silent)
    assert set(kept) == set(done)
    for path in sorted(converted.folder.rglob("*")):
        if path.is_file() and path.name != converting.META:  # which names the folder
            assert (again.folder / path.relative_to(converted.folder)).read_bytes() == path.read_bytes(), path
    assert sorted(path.name for path in out.iterdir()) == ["20000101--0000--SYN001", "face_topology.obj"]


def _watched(function, look):
    def call(*args):
        look()
        return function(*args)

    return call


def test_ply_and_npz_are_the_same_meshes(rig, ask, tmp_path):
    source = meshes.find(rig / "meshes")
    stacked = np.stack([source.read(frame) for frame in source.frames])
    np.savez(tmp_path / "all.npz", vertices=stacked, frames=np.array(source.frames))
    for kind in ("ply", "npz"):
        (tmp_path / kind).mkdir()
    for frame, mesh in zip(source.frames, stacked, strict=True):
        rows = np.array([tuple(row) for row in mesh], [("x", "f8"), ("y", "f8"), ("z", "f8")])
        plyfile.PlyData([plyfile.PlyElement.describe(rows, "vertex")]).write(tmp_path / "ply" / f"head_{frame:06d}.ply")
        np.savez(tmp_path / "npz" / f"{frame}.npz", vertices=mesh)
    for path in (tmp_path / "all.npz", tmp_path / "ply", tmp_path / "npz"):
        found = plan.make(ask(tmp_path, meshes=path))
        for frame, mesh in zip(source.frames, stacked, strict=True):
            np.testing.assert_allclose(found.meshes.read(frame), mesh, atol=1e-6)
        assert found.frames == source.frames


# What cannot be right is said before anything is converted.


def changed(made: plan.Plan, change) -> plan.Plan:
    cameras = tuple(dataclasses.replace(camera, **change(camera)) for camera in made.rig.cameras)
    return dataclasses.replace(made, rig=dataclasses.replace(made.rig, cameras=cameras))


def posed(matrix):
    return lambda camera: {"world_to_camera": matrix(camera.world_to_camera.copy())}


def transposed(pose):
    pose[:3, :3] = pose[:3, :3].T
    return pose


@pytest.mark.parametrize(
    "change, words",
    [
        pytest.param(posed(transposed), "R transposed", id="transposed"),
        pytest.param(posed(np.linalg.inv), "pose inverted", id="inverted", marks=pytest.mark.slow),
        pytest.param(posed(lambda pose: np.diag([1.0, -1, -1, 1]) @ pose), "OpenGL", id="opengl", marks=pytest.mark.slow),
    ],
)
def test_a_wrong_convention_is_named(ask, tmp_path, monkeypatch, change, words):
    made = plan.make
    monkeypatch.setattr(plan, "make", lambda request: changed(made(request), change))
    with pytest.raises(ValueError, match=f"the conventions cannot be right: it looks like .*{words}.*--force goes on"):
        converting.convert(ask(tmp_path / "captures"), say=silent)
    page = tmp_path / "captures" / ".20000101--0000--SYN001.partial" / "pictures" / "index.html"
    assert "WRONG" in page.read_text()
    assert not ava256_captures(tmp_path / "captures")


def ava256_captures(folder):
    return list(folder.glob("2*"))


def test_without_masks_the_mesh_and_the_colours_tell(ask, tmp_path):
    bare = plan.make(ask(tmp_path))
    bare = dataclasses.replace(bare, rig=dataclasses.replace(bare.rig, masks={}))
    assert review.faults(bare, review.look(bare, 1000)) == []
    wrong = changed(bare, posed(transposed))
    assert "rotation transposed" in review.faults(wrong, review.look(wrong, 1000))[0]


def test_a_unit_that_is_not_known_is_refused_with_the_one_that_fits(ask, tmp_path):
    with pytest.raises(ValueError, match=r"unit is not known.*--scale=1000 \(metres: 3\d\d mm\)"):
        plan.make(ask(tmp_path, scale=None))
    with pytest.raises(ValueError, match=r"no head's are.*--scale=1000"):
        plan.make(ask(tmp_path, scale=1.0))
    found = plan.make(ask(tmp_path, scale=1000.0))
    centres = [found.pinhole(camera) for camera in found.rig.cameras[:2]]
    apart = np.linalg.norm(np.subtract(*(-c.rotation.T @ c.translation for c in centres)))
    names = [camera.name for camera in found.rig.cameras[:2]]
    assert plan.make(ask(tmp_path, scale=None, distance=(*names, apart))).mm == pytest.approx(1000, abs=1e-6)


def test_without_a_template_the_cameras_tell_the_axes(ask, tmp_path):
    guessed, told = plan.make(ask(tmp_path, template=None)), plan.make(ask(tmp_path))
    turn = guessed.pose[:, :3].T @ told.pose[:, :3]
    assert np.degrees(np.arccos((np.trace(turn) - 1) / 2)) < 25
    assert np.linalg.norm(guessed.pose[:, 3] - told.pose[:, 3]) < 60  # mm


def test_a_mirrored_mesh_is_refused(rig, ask, tmp_path):
    source = meshes.find(rig / "meshes")
    np.savez(tmp_path / "m.npz", vertices=np.stack([source.read(f) * [-1, 1, 1] for f in source.frames]), frames=np.array(source.frames))
    with pytest.raises(ValueError, match="only mirrored"):
        plan.make(ask(tmp_path, meshes=tmp_path / "m.npz"))


@pytest.mark.slow
def test_damaged_pictures_are_left_out_and_told(rig, ask, tmp_path):
    copy = tmp_path / "rig"
    shutil.copytree(rig, copy)
    camera = plan.make(ask(tmp_path)).rig.cameras[1].name
    damaged = copy / "images" / camera / "001003.png"
    damaged.write_bytes(damaged.read_bytes()[:200])
    out = tmp_path / "captures"
    request = ask(out, rig=copy, texture_size=32)
    done = converting.convert(request, say=silent)
    assert sum(f"left out: {damaged}" in line for line in done.lines) == 1
    with zipfile.ZipFile(done.folder / "decoder" / "image" / f"cam{camera}.zip") as pictures:
        assert sorted(pathlib.Path(name).stem for name in pictures.namelist()) == ["001000", "001006"]
    for frame in (1000, 1006):
        path = copy / "images" / camera / f"{frame:06d}.png"
        path.write_bytes(b"no picture")
    with pytest.raises(ValueError, match="cannot be read, the first: .*001000.png"):
        converting.convert(dataclasses.replace(request, out=tmp_path / "more"), say=silent)


def test_captures_of_one_folder_have_one_topology(converted, ask, tmp_path, rig):
    lines = (rig / "topology.obj").read_text().splitlines()
    other = tmp_path / "other.obj"
    other.write_text("\n".join(["vt 0.5 0.5" if line.startswith("vt 0.5000000 1.0") else line for line in lines]) + "\n")
    assert other.read_text() != (rig / "topology.obj").read_text()
    with pytest.raises(ValueError, match="meshes of another topology"):
        converting.convert(ask(converted.folder.parent, subject="OTHER", topology=other), say=silent)


def test_the_chart_is_held_against_what_a_model_makes_of_it(converted, ask, tmp_path, rig):
    assert any(line.startswith("UV chart: 7921 vertices") and "% on the face" in line for line in converted.lines)
    lines = (rig / "topology.obj").read_text().splitlines()
    beyond = tmp_path / "beyond.obj"
    moved = [f"vt {float(line.split()[1]) + 0.5} {line.split()[2]}" if line.startswith("vt ") else line for line in lines]
    beyond.write_text("\n".join(moved) + "\n")
    with pytest.raises(ValueError, match="topology .*beyond.obj: .*0..1"):
        converting.convert(ask(tmp_path / "out", topology=beyond), say=silent)
    assert not list((tmp_path / "out").glob("*"))


def test_masks_of_a_folder_and_cameras_without_numbers(rig, ask, tmp_path):
    copy = tmp_path / "rig"
    shutil.copytree(rig, copy)
    (copy / "masks").rename(tmp_path / "matte")
    text = (copy / "images.txt").read_text()
    for name in sorted(path.name for path in (copy / "images").iterdir()):
        for root in (copy / "images", tmp_path / "matte"):
            (root / name).rename(root / f"left{name}")
        text = text.replace(f" {name}/", f" left{name}/")
    (copy / "images.txt").write_text(text)
    found = plan.make(ask(tmp_path, rig=copy, masks=tmp_path / "matte"))
    assert len(found.rig.masks) == len(found.rig.images) == 12
    assert found.rig.masks["left400008", 1000] == tmp_path / "matte" / "left400008" / "001000.png"
    assert sorted(found.numbers.values()) == ["1", "2", "3", "4"] and any("left400008 = 1" in note for note in found.notes)


def test_flame_parameters_of_an_export_with_the_users_model(rig, ask, tmp_path):
    """VHAP's export and a stand-in of FLAME, whose template is the head at rest, in metres."""
    usual = plan.make(ask(tmp_path))
    rest, _ = usual.surface(usual.neutral)
    joints = np.zeros((5, len(rest)))
    joints[:, :8] = 1 / 8
    zeros = {"shapedirs": np.zeros((len(rest), 3, 4)), "posedirs": np.zeros((len(rest), 3, 36)), "J_regressor": joints}
    weights = np.eye(5)[np.zeros(len(rest), int)]
    parents = np.array([[-1, 0, 1, 1, 1], [0, 1, 2, 3, 4]])
    faces = usual.topology.faces
    np.savez(tmp_path / "flame.npz", v_template=rest / 1000, weights=weights, kintree_table=parents, f=faces, **zeros)
    frames, worlds = [], {}
    for step, frame in enumerate(usual.frames):
        turn, shift = np.array([0.05 * step, -0.1, 0.02]), np.array([0.1, 0.02 * step, -0.3])
        np.savez(tmp_path / f"{step:05d}.npz", rotation=turn[None], translation=shift[None], expr=np.zeros((1, 2)))
        pivot = joints[0] @ rest / 1000
        worlds[step] = 1000 * ((rest / 1000 - pivot) @ Rotation.from_rotvec(turn).as_matrix().T + pivot + shift)
        for index, camera in enumerate(usual.rig.cameras):
            pose = np.linalg.inv(np.diag([1.0, -1, -1, 1]) @ camera.world_to_camera)
            pose[:3, 3] = np.array([0.1, 0, -0.3]) + 1.1 * pose[:3, 2]  # a metre from the head
            name, (height, width) = f"{camera.name}/{frame:06d}.png", camera.size
            intrinsics = {"fl_x": camera.k[0, 0], "fl_y": camera.k[1, 1], "cx": camera.k[0, 2], "cy": height - camera.k[1, 2]}
            entry = {"timestep_index": step, "camera_index": index, "w": width, "h": height, "transform_matrix": pose.tolist()}
            paths = {"file_path": f"images/{name}", "fg_mask_path": f"masks/{name}", "flame_param_path": f"{step:05d}.npz"}
            frames.append(entry | intrinsics | paths)
    (tmp_path / "transforms.json").write_text(json.dumps({"frames": frames}))
    for kind in ("images", "masks"):
        (tmp_path / kind).symlink_to(rig / kind)
    free = {"meshes": None, "template": None, "segments": None, "scale": None}
    with pytest.raises(ValueError, match="names no meshes.*--flame_model=FILE.pkl, your own copy"):
        plan.make(ask(tmp_path / "o", rig=tmp_path, **free))
    made = plan.make(ask(tmp_path / "o", rig=tmp_path, flame_model=tmp_path / "flame.npz", **free))
    assert made.mm == 1000 and made.frames == (0, 1, 2) and any("as of the FLAME model" in note for note in made.notes)
    for step, world in worlds.items():
        vertices, pose = made.surface(step)
        np.testing.assert_allclose(vertices, rest, atol=1e-6)  # the model's own axes are the head's
        np.testing.assert_allclose(vertices @ pose[:, :3].T + pose[:, 3], world, atol=1e-6)


def test_a_capture_with_a_neck(ask, tmp_path):
    plain, made = plan.make(ask(tmp_path)), plan.make(ask(tmp_path, neck=60.0))
    vertices, pose = made.surface(made.neutral)
    bare, same = plain.surface(plain.neutral)
    np.testing.assert_array_equal(pose, same)
    np.testing.assert_array_equal(vertices[: len(bare)], bare)
    assert len(vertices) == len(bare) + made.neck.added == made.topology.faces.max() + 1
    assert vertices[:, 1].min() < bare[:, 1].min() - 40 and any("264 edges of the border" in note for note in made.notes)
    assert review.look(made, made.neutral, outlines=False).median("inside") > 0.8
