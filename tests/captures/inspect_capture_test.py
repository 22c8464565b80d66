"""`ava inspect`: what it finds of a capture, where it draws it, and what it says of captures that are broken or lack a part."""

import io
import json
import pathlib
import re
import shutil
import subprocess
import sys
import zipfile

import numpy as np
import pytest
from browser import browsing
from PIL import Image
from range_server import RangeServer

from ava_jax.captures import calibration, photographs, writing
from ava_jax.captures.inspect import chart, choice, coverage, inspecting, page, run, scene
from ava_jax.captures.inspect.choice import Asked
from ava_jax.captures.inspect.inspecting import Request
from ava_jax.captures.inspect.subject import Subject
from ava_jax.captures.packed import pack
from ava_jax.captures.packed.plan import Settings
from ava_jax.data import archive
from ava_jax.tasks.multiface.data import packed
from ava_jax.viz import wire

REQUEST = Request(size=96)


def folders(root: pathlib.Path) -> list[pathlib.Path]:
    return sorted(path.parent for path in root.glob("*/decoder"))


def inspect(captures: list, out: pathlib.Path, request: Request = REQUEST, **more) -> dict[str, str]:
    return run.run(captures, out, request, **{"topology": None, "threads": 2, "resume": False} | more)


def summary(folder: pathlib.Path) -> dict:
    return json.loads((folder / inspecting.SUMMARY).read_text())


def space(folder: pathlib.Path) -> dict:
    """What the page's script draws."""
    found = re.search(r"<script type='application/json' id='scene'>(.*?)</script>", (folder / "index.html").read_text(), re.S)
    return json.loads(found[1])


@pytest.fixture(scope="module")
def drawn(tiny_capture, tmp_path_factory) -> pathlib.Path:
    """Both captures drawn: the folder with the page of both."""
    out = tmp_path_factory.mktemp("drawn") / "inspect"
    assert inspect(folders(tiny_capture), out) == {}
    return out


@pytest.fixture
def own(tiny_capture, tmp_path) -> pathlib.Path:
    """The second capture, which lacks nothing, in a folder of its own; its files may be changed."""
    capture = folders(tiny_capture)[1]
    shutil.copy(tiny_capture / "face_topology.obj", tmp_path)
    return pathlib.Path(shutil.copytree(capture, tmp_path / capture.name))


def test_each_capture_has_its_pictures_and_a_page_that_needs_nothing_else(tiny_capture, drawn):
    for capture in folders(tiny_capture):
        found = summary(drawn / capture.name)
        assert sorted(found["written"]) == sorted(path.name for path in (drawn / capture.name).iterdir())
        pictures = {name for name in found["written"] if name.endswith(".png")}
        assert pictures == {"cameras.png", "contact.png", "coverage.png", *(one["file"] for one in found["overlays"])}
        assert len(found["overlays"]) == 2 and found["overlays"][0]["segment"] == "EXP_neutral_peak"
        for one in found["overlays"]:
            assert all(view["inside"] > 0.9 and view["on_person"] > 0.9 for view in one["cameras"].values()), "as sound captures have it"
            assert one["keypoints"] == 100 and one["keypoints_to_mesh_mm"] < 0.01, "vertices, in procedural heads"
        text = (drawn / capture.name / "index.html").read_text()
        assert len(text) < page.MOST_BYTES and text.count("data:image/") == len(pictures) - 1, "cameras.png is the scene, which turns"
        assert not re.search(r"(src|href)='(?!data:)|https?://", text)
    both = (drawn / "index.html").read_text()
    assert all(f"href='{capture.name}/index.html'" in both for capture in folders(tiny_capture))


def test_the_summary_counts_what_the_zips_have(tiny_capture, drawn):
    first = folders(tiny_capture)[0]
    found = summary(drawn / first.name)
    members = {}
    for path in (first / "decoder").rglob("*.zip"):
        with zipfile.ZipFile(path) as zipped:
            members[str(path.relative_to(first))] = len(zipped.namelist())
    assert {one["file"]: one["there"] for one in found["files"]} == members
    listed = found["frames"]
    assert all(one["there"] + one["absent"] == listed and not one["unreadable"] for one in found["files"])
    assert found["counts"]["image"] == {"absent": 1, "there": 3 * listed - 1, "unreadable": 0}
    (lacking,) = [one for one in found["files"] if one["absent"]]
    with zipfile.ZipFile(first / lacking["file"]) as zipped:
        there = {int(pathlib.Path(name).stem) for name in zipped.namelist()}
    assert int(lacking["lacking"]) not in there and found["notes"] == ["image: 1 of 18 absent, in 1 of 3 cameras"]


def test_frames_that_are_absent_cut_or_damaged_are_told_apart_and_drawn(own, tmp_path):
    zips = sorted((own / "decoder" / "image").glob("*.zip"))
    with zipfile.ZipFile(zips[0]) as zipped:
        content = {name: zipped.read(name) for name in zipped.namelist()}
    names = list(content)
    del content[names[1]], content[names[2]]
    content[names[4]] = content[names[4]][:90]
    archive.write(zips[0], content.items())
    zips[1].write_bytes(zips[1].read_bytes()[:-40])
    zips[2].unlink()
    subject = Subject(own, topology=None, threads=2)
    drawn = inspecting.draw(subject, REQUEST._replace(decode=True))
    ids = [path.stem.removeprefix("cam") for path in zips]
    states = [subject.coverage.of("image", name).tolist() for name in ids]
    assert states == [[1, 0, 0, 1, 2, 1], [2] * 6, [0] * 6]
    frames = [int(pathlib.Path(name).stem) for name in names]
    rows = {pathlib.Path(one["file"]).stem: one for one in drawn.summary["files"] if one["file"].startswith("decoder/image/")}
    assert rows[zips[0].stem]["lacking"] == f"{frames[1]} to {frames[2]}, {frames[4]}"
    assert "not a whole zip" in rows[zips[1].stem]["fault"] and not rows[zips[2].stem]["exists"]
    notes = "\n".join(drawn.summary["notes"])
    assert f"image: no file of 1 calibrated camera ({ids[2]})" in notes and f"image of camera {ids[1]}: nothing can be read" in notes
    assert f"{zips[0].name}, frame {frames[4]}: 90 bytes that cannot be decoded" in notes
    assert [camera["kind"] for camera in scene_of(drawn.page)["cameras"]] == ["shown", "unreadable", "none"]
    picture = np.asarray(drawn.pictures["coverage.png"])
    for state, count in ((coverage.THERE, sum(row.count(1) for row in subject.coverage.state.tolist())), (coverage.UNREADABLE, 7)):
        width, height = 40 - 1, 15 - 1  # of a cell, without the lines between
        pixels = int((picture[:-30] == chart.COLOURS[state]).all(-1).sum())
        assert abs(pixels / (width * height) - count) < 0.5, state


def scene_of(text: str) -> dict:
    return json.loads(re.search(r"id='scene'>(.*?)</script>", text, re.S)[1])


def test_what_a_capture_lacks_is_named_and_left_out(own, drawn):
    decoder = own / "decoder"
    assert summary(drawn / own.name)["notes"] == []
    shutil.rmtree(decoder / "keypoints_3d")
    shutil.rmtree(decoder / "segmentation_parts")
    less = inspecting.draw(Subject(own, topology=None, threads=2), REQUEST)
    assert less.summary["notes"] == ["keypoints: there is none", "segmentation: there is none"]
    name = less.summary["overlays"][0]["file"]
    assert Image.open(drawn / own.name / name).width / less.pictures[name].width == pytest.approx(2, rel=0.1), "two panels of four"
    (own.parent / "face_topology.obj").unlink()
    less = inspecting.draw(Subject(own, topology=None, threads=2), REQUEST)
    assert any(line.startswith("faces: meshes are not drawn: topology") for line in less.summary["notes"])
    assert scene_of(less.page)["heads"] == []
    shutil.rmtree(decoder / "image")
    shutil.rmtree(decoder / "head_pose")
    less = inspecting.draw(Subject(own, topology=None, threads=2), REQUEST)
    assert sorted(less.pictures) == ["cameras.png", "coverage.png"] and less.thumbnail is None
    assert {"image: there is none", "head pose: there is none"} <= set(less.summary["notes"])


def test_cameras_and_keypoints_in_metres_are_drawn_and_told(own):
    path = own / "decoder" / "camera_calibration.json"
    tree = json.loads(path.read_text())
    for entry in tree["KRT"]:
        entry["T"][3][:3] = [value / 1000 for value in entry["T"][3][:3]]
    path.write_text(json.dumps(tree))
    keypoints = own / "decoder" / "keypoints_3d" / "keypoints_3d.zip"
    with zipfile.ZipFile(keypoints) as zipped:
        rows = {name: np.load(io.BytesIO(zipped.read(name))) for name in zipped.namelist()}
    writing.keypoints(own / "decoder", ((int(name[:6]), row * [1, 1e-3, 1e-3, 1e-3, 1, 1]) for name, row in rows.items()))
    found = inspecting.draw(Subject(own, topology=None, threads=2), REQUEST).summary
    assert any("falls inside its images" in line and "metres to mm" in line for line in found["notes"]), found["notes"]
    assert any(line.startswith("keypoints, frame") and "must be in the world, in mm" in line for line in found["notes"]), found["notes"]


def test_a_camera_without_a_place_in_space_is_left_out_there(own):
    path = own / "decoder" / "camera_calibration.json"
    tree = json.loads(path.read_text())
    tree["KRT"][0]["K"][0][0] = 0.0
    path.write_text(json.dumps(tree))
    subject = Subject(own, topology=None, threads=2)
    built = scene.build(subject, [subject.frame(int(subject.capture.frames[0]))], [])
    assert len(built.names) == 2 and tree["KRT"][0]["cameraId"] not in built.names
    assert any(line.endswith(f"not drawn there: {tree['KRT'][0]['cameraId']}") for line in subject.notes)


@pytest.mark.data
def test_the_near_real_capture(test_data, tmp_path):
    (found,) = run.find([str(test_data / "capture" / "20260102--0901--RLF002")])
    assert inspect([found], tmp_path) == {}
    told = summary(tmp_path / found.name)
    assert told["notes"] == ["image: 1 of 280 absent, in 1 of 14 cameras"], "what its README says"
    for one in told["overlays"]:
        assert one["keypoints"] == 271 and one["keypoints_to_mesh_mm"] < 1, "they are vertices"
        assert min(view["on_person"] for view in one["cameras"].values()) > 0.97


def test_cameras_in_space_see_what_they_see_in_pictures(tiny_capture):
    """Corners of a pyramid fall onto the picture's corners; the face looks along z, its left is x, and cameras' pictures stand upright."""
    subject = Subject(folders(tiny_capture)[1], topology=None, threads=2)
    frame = subject.frame(int(subject.capture.frames[0]))
    built = scene.build(subject, [frame], [0])
    height, width = subject.capture.sensor
    world = choice.positions(subject)[:, None] + scene._corners(subject, 300.0)
    for camera in range(len(built.names)):
        pixels = photographs.project(world[camera], subject.capture, camera, height)
        expected = [(-0.5, -0.5), (width - 0.5, -0.5), (width - 0.5, height - 0.5), (-0.5, height - 0.5)]
        np.testing.assert_allclose(pixels[:, :2], expected, atol=1e-6 * height)
        np.testing.assert_allclose(pixels[:, 2], 300.0)
        upper, lower = built.corners[camera][:2].mean(0), built.corners[camera][2:].mean(0)
        assert upper[1] > lower[1]
    assert np.diag(built.axes) == pytest.approx(1, abs=0.05), "the head's axes are the viewer's, but for its turn"
    distances = [np.linalg.norm(p - choice.centre(subject, frame)) for p in choice.positions(subject)]
    np.testing.assert_allclose(np.linalg.norm(built.positions, axis=1), distances)
    (head,) = built.heads
    few = scene.decimated(head, 500)
    assert 250 < len(few.faces) <= 500 and few.faces.max() < len(few.vertices)
    gap = np.linalg.norm(few.vertices[:, None] - head.vertices[None], axis=-1).min(1)
    assert gap.max() < 15, "mm from the surface's vertices"


def test_keypoints_are_drawn_where_they_are(tiny_capture):
    picture = np.zeros((200, 100, 3), np.uint8)
    points = np.array([[20.0, 30.0, 900.0], [70.0, 150.0, 900.0], [50.0, 90.0, -5.0]])
    drawn = wire.dots(picture, points, np.full((3, 3), 255, np.uint8), np.array([False, True, False]), 400).astype(int)
    margin = round(wire.MARGIN * 400)
    at = [(round((y + 0.5) * 2 - 0.5) + margin, round((x + 0.5) * 2 - 0.5) + margin) for x, y, _ in points]
    assert drawn[at[0]].min() > 200 and drawn[at[1]].max() < 60, "a disk; a ring is hollow"
    bright = np.argwhere(drawn[margin + 3 : -margin - 3, margin + 3 : -margin - 3].min(-1) > 100) + margin + 3
    near = [np.abs(bright - np.array(one)).max(1) <= 5 for one in at]
    assert near[0].any() and near[1].any() and not near[2].any() and (near[0] | near[1]).all(), "none of what lies behind the camera"


def test_packed_captures_give_the_same_pictures(tiny_capture, drawn, tmp_path):
    pack.pack(str(tiny_capture), tmp_path / "packed", Settings())
    assert inspect(folders(tmp_path / "packed"), tmp_path / "out") == {}
    for capture in folders(tiny_capture):
        of_zips, packed = summary(drawn / capture.name), summary(tmp_path / "out" / capture.name)
        assert (of_zips.pop("kept_as"), packed.pop("kept_as")) == ("zips", "packed records")
        of_zips.pop("folder"), packed.pop("folder")
        assert of_zips == packed
        for name in (name for name in packed["written"] if name.endswith(".png")):
            pictures = [np.asarray(Image.open(out / capture.name / name)) for out in (drawn, tmp_path / "out")]
            np.testing.assert_array_equal(*pictures)


def test_captures_of_a_server(tiny_capture, drawn, tmp_path):
    name = folders(tiny_capture)[1].name
    with RangeServer(tiny_capture) as served:
        found = run.find([f"{served.url}/{name}/"])
        assert inspect(found, tmp_path / "out") == {}
        with pytest.raises(ValueError, match="no capture, and no folder that the server lists captures of; name one"):
            run.find([served.url])
    here, there = summary(drawn / name), summary(tmp_path / "out" / name)
    assert there["overlays"] == here["overlays"] and there["files"] == here["files"] and there["folder"].startswith("http://")


def test_what_is_named_is_shown(tiny_capture, tmp_path):
    capture = folders(tiny_capture)[1]
    subject = Subject(capture, topology=None, threads=2)
    frames, cameras = subject.capture.frames, subject.capture.cameras
    asked = Asked((int(frames[3]),), (cameras[1],), "")
    found = inspecting.draw(subject, Request(asked, 64)).summary
    assert [one["frame"] for one in found["overlays"]] == [frames[3]] and list(found["overlays"][0]["cameras"]) == [cameras[1]]
    segment = str(subject.capture.segments[-1])
    asked = Asked(segment=segment)
    assert choice.contact_frames(asked, subject) == frames[subject.capture.segments == segment].tolist()
    assert all(frame in frames[subject.capture.segments == segment] for frame in choice.overlay_frames(asked, subject))
    contact = choice.contact_frames(Asked(), subject)
    shown = [subject.capture.segments[frames.tolist().index(frame)] for frame in contact]
    assert shown == list(dict.fromkeys(subject.capture.segments.tolist())), "one of each segment"
    for wrong, said in (
        (
            Asked(frames=(int(frames[0]) + 1,)),
            f"--frames={frames[0] + 1}: capture {capture.name} lists no such frame; of 6, the nearest are",
        ),
        (Asked(cameras=("400",)), f"--cameras: no capture {capture.name} has 400; of 3, the nearest are"),
        (Asked(segment="EXP_neutral"), "the nearest are EXP_neutral_peak"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            choice.require(wrong, subject)
    with pytest.raises(ValueError, match="--frames=10x0: must be frame ids"):
        choice.named(["10x0"])


def test_nothing_is_written_into_captures_or_over_what_is_not_its_own(own, tmp_path):
    with pytest.raises(ValueError, match="lies in the capture"):
        inspect([own], own / "look")
    with pytest.raises(ValueError, match="is a file; name a folder"):
        inspect([own], own.parent / "face_topology.obj")
    other = tmp_path / "other" / own.name
    other.mkdir(parents=True)
    (other / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match="not empty, and not written by ava inspect"):
        inspect([own], tmp_path / "other")
    assert [path.name for path in other.iterdir()] == ["mine.txt"]


def test_drawing_again_replaces_and_resuming_leaves(own, tmp_path, monkeypatch):
    out, frames = tmp_path / "out", None
    assert inspect([own], out) == {}
    frames = [one["file"] for one in summary(out / own.name)["overlays"]]
    (out / own.name / "mine.txt").write_text("mine")
    assert sorted(path.name for path in out.iterdir()) == [own.name], "nothing is left beside it"
    once = Request(Asked(frames=(int(frames[0][8:14]),)), 96)
    assert inspect([own], out, once) == {}
    assert (out / own.name / frames[0]).is_file() and not (out / own.name / frames[1]).exists()
    assert (out / own.name / "mine.txt").read_text() == "mine"
    monkeypatch.setattr(run, "_draw", lambda *_: pytest.fail("drawn again"))
    assert inspect([own], out, once, resume=True) == {}
    with pytest.raises(pytest.fail.Exception, match="drawn again"):
        inspect([own], out, REQUEST, resume=True)


def test_a_capture_that_cannot_be_drawn_does_not_stop_the_others(tiny_capture, tmp_path, capsys):
    root = shutil.copytree(tiny_capture, tmp_path / "captures")
    broken, sound = folders(root)
    (broken / "decoder" / "camera_calibration.json").write_text("{}")
    (root / "face" / "tracked_mesh").mkdir(parents=True)
    (root / "headset" / "encoder").mkdir(parents=True)
    failed = inspect(run.find([str(root)]), tmp_path / "out")
    assert sorted(failed) == sorted([broken.name, "face", "headset"])
    assert "KRT: cannot be read" in failed["face"] and "the dome's part" in failed["headset"] and "must be" in failed[broken.name]
    assert capsys.readouterr().err.count(": not drawn: ") == 3
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted([sound.name, "index.html"])
    assert (tmp_path / "out" / "index.html").read_text().count("Not drawn:") == 3


def test_a_capture_of_multiface_gives_the_pictures_of_the_same_heads(tiny_multiface, drawn, tmp_path):
    """The same people from the same cameras: what both layouts have is equal, released or packed."""
    released = sorted(tiny_multiface.glob("m--*"))[1]
    packed.pack(released, tmp_path / "packed", image=True, downsample=32)
    assert inspect([released, tmp_path / "packed"], tmp_path / "out") == {}
    found, of_arrays = (summary(tmp_path / "out" / name) for name in (released.name, "packed"))
    twin = summary(drawn / released.name.removeprefix("m--").removesuffix("--GHS"))
    assert (found["kept_as"], of_arrays["kept_as"], found["sensor"]) == ("files of multiface", "arrays of multiface", [2048, 1334])
    for name in ("cameras", "frames", "segments", "counts", "overlays", "written"):
        assert found[name] == of_arrays[name]
    for mine, theirs in zip(found["cameras"], twin["cameras"], strict=True):
        assert (mine["id"], mine["images"], mine["inside"]) == (theirs["id"], theirs["images"], pytest.approx(theirs["inside"], abs=0.01))
        assert mine["position_mm"] == pytest.approx(theirs["position_mm"], abs=0.2)
    assert [one["frame"] for one in found["overlays"]] == [one["frame"] for one in twin["overlays"]] and not found["notes"]
    assert found["counts"]["view texture"]["there"] == 3 * found["frames"] and "keypoints" not in found["counts"]
    for name in (name for name in found["written"] if name.endswith(".png")):
        pictures = [np.asarray(Image.open(tmp_path / "out" / one / name)) for one in (released.name, "packed")]
        np.testing.assert_array_equal(*pictures)


def test_the_page_turns_in_a_browser(tiny_capture, drawn):
    folder = drawn / folders(tiny_capture)[1].name
    with browsing() as browser:
        opened = browser.new_page(viewport={"width": 900, "height": 700})
        faults, asked = [], []
        opened.on("pageerror", lambda error: faults.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url) if not request.url.startswith("data:") else None)
        opened.goto(f"file://{folder}/index.html")
        canvas = opened.locator("#space")
        canvas.scroll_into_view_if_needed()
        assert int(canvas.get_attribute("data-drawn")) > len(space(folder)["heads"][0]["faces"]) > 100
        pixels = "() => document.getElementById('space').toDataURL()"
        before = opened.evaluate(pixels)
        box = canvas.bounding_box()
        opened.mouse.move(box["x"] + 200, box["y"] + 200)
        opened.mouse.down()
        opened.mouse.move(box["x"] + 320, box["y"] + 220, steps=3)
        opened.mouse.up()
        opened.wait_for_timeout(100)
        turned = opened.evaluate(pixels)
        opened.get_by_role("button", name=f"frame {space(folder)['heads'][1]['frame']}").click()
        opened.wait_for_timeout(100)
        other = opened.evaluate(pixels)
    assert before != turned != other and faults == [] and len(asked) == 1


def test_the_command(tiny_capture, tmp_path):
    root = pathlib.Path(__file__).resolve().parents[2]
    capture = folders(tiny_capture)[1]

    def ava(*words: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "ava_jax.bin.ava", "inspect", *words]
        env = {"PYTHONPATH": str(root), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "JAX_PLATFORMS": "cpu"}
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=900)

    done = ava(str(capture), "--size=64")
    assert done.returncode == 0, done.stderr
    assert f"{capture.name}: 3 cameras, 6 frames" in done.stdout and f"wrote inspect/{capture.name}/index.html" in done.stdout
    assert len(summary(tmp_path / "inspect" / capture.name)["cameras"]) == len(
        calibration.read(capture / "decoder/camera_calibration.json")
    )
    done = ava("absent")
    assert done.returncode == 1 and done.stderr.startswith("ava inspect: absent: there is no such folder") and done.stderr.count("\n") == 1
