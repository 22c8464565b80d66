"""Faults made in a capture of ava-256: each is reported with its file and what to do, and nothing else is."""

import io
import json
import pathlib
import re
import shutil
import zipfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from ava_jax.captures import appearance
from ava_jax.captures.verify import report, tree
from ava_jax.captures.verify.contents import Depth
from ava_jax.captures.verify.findings import Book
from ava_jax.data import archive, images, mesh_files

CAMERA = "401168"  # the one in front, which everyone has
DEPTH = Depth("all")


@pytest.fixture
def capture(tiny_capture, tmp_path) -> pathlib.Path:
    """A capture of which files may be changed: the second person's, which lacks nothing."""
    name = sorted(path.parent.name for path in tiny_capture.glob("*/decoder"))[1]
    shutil.copy(tiny_capture / "face_topology.obj", tmp_path)
    return pathlib.Path(shutil.copytree(tiny_capture / name, tmp_path / name))


def verify(folder: pathlib.Path, depth: Depth = DEPTH) -> Book:
    (book,) = tree.verify(tree.find([folder]), depth)
    return book


def members(path: pathlib.Path) -> list[tuple[str, bytes]]:
    with zipfile.ZipFile(path) as file:
        return [(name, file.read(name)) for name in file.namelist()]


def change(path: pathlib.Path, edit: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]) -> None:
    archive.write(path, edit(members(path)))


def first(edit: Callable[[bytes], bytes]) -> Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]]:
    """Changes the first member's content."""
    return lambda found: [(found[0][0], edit(found[0][1])), *found[1:]]


def test_a_sound_capture(capture):
    book = verify(capture, Depth("all", crc=True))
    assert book.findings == [] and book.state == "sound"
    assert {key: book.counts[key] for key in ("zips", "cameras", "frames", "images decoded", "meshes read", "head poses read")} == {
        "zips": 10,
        "cameras": 3,
        "frames": 6,
        "images decoded": 18,
        "meshes read": 6,
        "head poses read": 6,
    }


def cut(path: pathlib.Path) -> None:
    path.write_bytes(path.read_bytes()[:-200])


def empty(path: pathlib.Path) -> None:
    path.write_bytes(b"")


def beyond(path: pathlib.Path) -> None:
    """Takes bytes out of the middle: the directory at the end stays readable."""
    data = path.read_bytes()
    at = data.rindex(b"PK\x05\x06")
    size, offset = int.from_bytes(data[at + 12 : at + 16], "little"), int.from_bytes(data[at + 16 : at + 20], "little")
    end = data[at : at + 16] + (100).to_bytes(4, "little") + data[at + 20 :]
    path.write_bytes(data[:100] + data[offset : offset + size] + end)


def rot(path: pathlib.Path) -> None:
    """Turns a byte of the first member's content."""
    name = members(path)[0][0]
    data = bytearray(path.read_bytes())
    data[30 + len(name) + 40] ^= 0xFF
    path.write_bytes(data)


def nan(data: bytes) -> bytes:
    vertices = mesh_files.read_vertices(data).copy()
    vertices[3] = np.nan
    return mesh_files.write_vertices(vertices)


def half(data: bytes) -> bytes:
    return mesh_files.write_vertices(mesh_files.read_vertices(data)[::2])


def smaller(data: bytes) -> bytes:
    picture = images.decode(data)
    return images.encode(images.resize(picture, (picture.shape[0] // 2, picture.shape[1] // 2)), "avif")


def cropped(data: bytes) -> bytes:
    return images.encode(images.decode(data)[:, :-10], "avif")


def labelled(data: bytes) -> bytes:
    return images.encode(images.decode_labels(data) + np.uint8(40), "png")


def mirrored(data: bytes) -> bytes:
    pose = np.array(data.split(), float).reshape(3, 4)
    pose[0] *= -1
    return "\n".join(" ".join(map(str, row)) for row in pose).encode()


def short_keypoints(_: bytes) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros((4, 3)))
    return buffer.getvalue()


def flat_texture(data: bytes) -> bytes:
    buffer = io.BytesIO()
    Image.open(io.BytesIO(data)).resize((64, 32)).save(buffer, "PNG")
    return buffer.getvalue()


def edit_json(path: pathlib.Path, edit: Callable[[dict], None]) -> None:
    tree_ = json.loads(path.read_text())
    edit(tree_)
    path.write_text(json.dumps(tree_))


def transpose(key: str, of: int | slice) -> Callable[[pathlib.Path], None]:
    def edit(tree_: dict) -> None:
        for entry in tree_["KRT"][of] if isinstance(of, slice) else [tree_["KRT"][of]]:
            entry[key] = np.array(entry[key]).T.tolist()

    return lambda path: edit_json(path, edit)


def camera_to_world(path: pathlib.Path) -> None:
    def edit(tree_: dict) -> None:
        for entry in tree_["KRT"]:
            entry["T"] = np.linalg.inv(np.array(entry["T"])).tolist()

    edit_json(path, edit)


def metres(path: pathlib.Path) -> None:
    def edit(tree_: dict) -> None:
        for entry in tree_["KRT"]:
            entry["T"][3][:3] = [x / 1000 for x in entry["T"][3][:3]]

    edit_json(path, edit)


def drop_last_column(path: pathlib.Path) -> None:
    path.write_text("\n".join(line.partition(",")[0] for line in path.read_text().splitlines()))


def no_neutral(path: pathlib.Path) -> None:
    path.write_text(path.read_text().replace("EXP_neutral_peak", "EXP_other"))


IMAGE, LABELS = f"decoder/image/cam{CAMERA}.zip", f"decoder/segmentation_parts/cam{CAMERA}.zip"
MESHES, POSES = "decoder/kinematic_tracking/registration_vertices.zip", "decoder/head_pose/head_pose.zip"
MEAN, COLOURS = "decoder/kinematic_tracking/registration_vertices_mean.npy", "decoder/uv_image/color.zip"
CALIBRATION, LIST, POINTS = "decoder/camera_calibration.json", "decoder/frame_list.csv", "decoder/keypoints_3d/keypoints_3d.zip"

FAULTS = {
    # file, what is done to it, kind, words of what and detail, words of the action, whether --repair fetches it
    "zip cut": (IMAGE, cut, "image", "the zip cannot be read .not a whole zip .truncated", "fetch the file again", True),
    "zip empty": (MESHES, empty, "mesh", "the zip cannot be read .not a whole zip", "fetch the file again", True),
    "zip with a hole": (COLOURS, beyond, "texture", "the zip cannot be read .*beyond the end of the file", "fetch the file again", True),
    "zip rotten": (IMAGE, rot, "image", "cannot be decoded .*frame 2000.*checksum", "fetch the file again", True),
    "zip missing": (POSES, pathlib.Path.unlink, "file", "is missing, and training needs it", "fetch it", True),
    "list missing": (LIST, pathlib.Path.unlink, "file", "is missing", "fetch it", True),
    "mean missing": (MEAN, pathlib.Path.unlink, "file", "is missing", "fetch it", True),
    "list malformed": (LIST, drop_last_column, "frame list", "cannot be used .*must have the columns seg_id,frame_id", "correct it", True),
    "no neutral": (LIST, no_neutral, "neutral face", "there is none .*EXP_neutral_peak", "fetch the segment EXP_neutral_peak", False),
    "mean damaged": (MEAN, lambda p: p.write_bytes(b"no array"), "statistics", "cannot be used .*cannot be read", "correct it", True),
    "K not transposed": (CALIBRATION, transpose("K", 1), "calibration", "cannot be used .*K is not transposed", "transposed|correct", True),
    "T not transposed": (CALIBRATION, transpose("T", 0), "calibration", "cannot be used .*T is not transposed", "correct it", True),
    "camera to world": (CALIBRATION, camera_to_world, "calibration", "does not fit the mesh .*it would with", "formats.md", True),
    "metres": (CALIBRATION, metres, "calibration", "does not fit the mesh .*metres to mm", "formats.md", True),
    "image no picture": (IMAGE, lambda p: change(p, first(lambda d: d[:50])), "image", "cannot be decoded .*frame 2000", "fetch", True),
    "image cropped": (IMAGE, lambda p: change(p, first(cropped)), "image", "cannot be decoded .*does not fit", "fetch", True),
    "image of another size": (
        IMAGE,
        lambda p: change(p, first(smaller)),
        "image",
        "another size .*64 x 41.* 32 x 20",
        "bring all to one",
        True,
    ),
    "labels over 10": (LABELS, lambda p: change(p, first(labelled)), "segmentation", "cannot be decoded .*0 to 10", "fetch", True),
    "mesh not finite": (
        MESHES,
        lambda p: change(p, first(nan)),
        "mesh",
        "cannot be decoded .*1 of its vertices are not finite",
        "fetch",
        True,
    ),
    "mesh of another topology": (MESHES, lambda p: change(p, first(half)), "mesh", "cannot be decoded .*the topology has", "fetch", True),
    "pose mirrors": (POSES, lambda p: change(p, first(mirrored)), "head pose", "cannot be decoded .*it mirrors", "fetch", True),
    "texture not square": (COLOURS, lambda p: change(p, first(flat_texture)), "texture", "cannot be decoded .*fit", "fetch", True),
    "keypoints": (POINTS, lambda p: change(p, first(short_keypoints)), "keypoints", r"cannot be decoded .*got \(4, 3\)", "fetch", True),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_file_and_what_to_do(capture, name):
    file, spoil, kind, words, action, refetch = FAULTS[name]
    spoil(capture / file)
    book = verify(capture)
    assert book.state == "broken"
    (fault,) = [found for found in book.findings if found.level == "fault" and found.kind == kind]
    text = f"{fault.what} ({'; '.join(filter(None, [', '.join(f'frame {f}' for f in fault.frames), fault.detail]))})"
    assert re.search(words, text), text
    assert re.search(action, fault.action), fault.action
    assert fault.file == (file if kind != "neutral face" else "")
    assert (fault.file in book.to_refetch) == refetch
    said = report.text([book])
    assert "1 broken" in said and fault.what in said and fault.action in said and (fault.file or "the capture") in said
    assert str(capture) not in said  # the report's paths are the capture's own


def test_a_sample_sees_no_more_than_it_is_told_to(capture):
    for path in (capture / "decoder" / "image").glob("cam*.zip"):
        change(path, lambda found: [*found[:1], (found[1][0], b"no picture"), *found[2:]])
    assert verify(capture, Depth("none")).state == "sound"
    assert verify(capture, Depth("sample", samples=1)).counts["images decoded"] == 3
    found = verify(capture, Depth("sample", samples=1))
    assert not [one for one in found.findings if one.kind == "image"]
    assert verify(capture, Depth("all")).state == "broken"


def test_crc_alone_finds_what_rotted(capture):
    rot(capture / LABELS)
    assert verify(capture, Depth("none")).state == "sound"
    book = verify(capture, Depth("none", crc=True))
    (fault,) = book.findings
    assert (fault.kind, fault.file, fault.frames) == ("segmentation", LABELS, ("2000",)) and "checksum" in fault.detail
    assert book.counts["members read"] == 6 * 10 - 1


def test_what_published_captures_have_is_no_fault(capture):
    """A few frames dropped, frames that nothing lists, a camera that cannot be scored."""
    change(capture / IMAGE, lambda found: found[:2] + found[3:])
    change(capture / MESHES, lambda found: [*found, (f"{990000:06d}.ply", found[0][1])])
    other = next(path for path in (capture / "decoder" / "segmentation_parts").glob("cam*.zip") if CAMERA not in path.name)
    other.unlink()
    book = verify(capture)
    assert book.state == "sound", report.text([book])
    assert {(one.kind, one.file): (one.level, one.frames) for one in book.findings} == {
        ("image", IMAGE): ("note", ("2006",)),
        ("mesh", MESHES): ("note", ("990000",)),
        ("segmentation", f"decoder/segmentation_parts/{other.name}"): ("note", ()),
    }
    assert "listed frames are missing" in report.text([book])


def _longer(capture: pathlib.Path, times: int) -> None:
    """Every frame so many times over, under numbers of its own."""
    for path in capture.rglob("*.zip"):
        change(path, lambda found: [(_renumbered(name, 1000 * k), data) for k in range(times) for name, data in found])
    path = capture / LIST
    header, *rows = path.read_text().split()
    cells = [row.split(",") for row in rows]
    path.write_text("\n".join([header, *(f"{s},{int(f) + 1000 * k}" for k in range(times) for s, f in cells)]) + "\n")


def _renumbered(name: str, more: int) -> str:
    path = pathlib.PurePosixPath(name)
    return str(path.with_name(f"{int(path.stem) + more:06d}{path.suffix}"))


def test_a_zip_that_lacks_what_the_others_have_is_broken(capture):
    _longer(capture, 4)
    change(capture / IMAGE, lambda found: found[:10])
    book = verify(capture, Depth("none"))
    (fault,) = [one for one in book.findings if one.level == "fault"]
    assert fault.file == IMAGE and fault.count == 14 and fault.detail == "14 of 24" and "other zips" in fault.what and fault.refetch


def test_a_subset_that_was_fetched_on_purpose_is_doubtful_at_most(capture):
    """Every other frame of all images; surfaces have all frames."""
    _longer(capture, 4)
    for path in (capture / "decoder" / "image").glob("cam*.zip"):
        change(path, lambda found: found[::2])
    book = verify(capture, Depth("none"))
    assert book.state == "doubtful"
    (doubt,) = book.findings
    assert (
        doubt.kind == "frame list" and doubt.count == 12 and "unless only some segments or every nth frame were asked for" in doubt.action
    )


def test_cameras_without_images_or_calibration(capture):
    image = capture / IMAGE
    image.rename(image.with_name("cam499999.zip"))
    book = verify(capture, Depth("none"))
    found = {one.file: one.what for one in book.findings if one.level == "doubt"}
    assert book.state == "doubtful" and found == {
        IMAGE: "calibrated cameras without images, which are not used",
        "decoder/image/cam499999.zip": "of a camera without calibration, which is not used",
    }


def test_an_unfinished_download_and_a_missing_topology(capture):
    (capture / "decoder" / "image" / "cam400000.zip.part").write_bytes(b"PK")
    (capture.parent / "face_topology.obj").unlink()
    book = verify(capture)
    assert {(one.level, one.kind) for one in book.findings} == {("doubt", "file"), ("doubt", "topology")}


def test_colours_that_lie_elsewhere_are_doubted(capture, monkeypatch):
    line = f"{capture / CALIBRATION}: its colours are elsewhere"
    monkeypatch.setattr(appearance, "doubt", lambda archives, found, reference, topology, cameras: line if CAMERA in cameras else "")
    (doubt,) = verify(capture).findings
    assert (doubt.level, doubt.kind, doubt.file, doubt.detail) == ("doubt", "calibration", CALIBRATION, "its colours are elsewhere")
    assert verify(capture, Depth("none")).findings == []


def test_headset_captures(capture):
    folder = capture / "encoder"
    picture = images.encode(np.full((400, 400, 3), 90, np.uint8), "avif")
    for name in ("cyclop", "left-eye-atl-temporal", "left-mouth", "right-eye-atl-temporal", "right-mouth"):
        archive.write(folder / "image" / f"cam-{name}.zip", [(f"{n:06d}.avif", picture) for n in range(4)])
    (folder / "frame_list.csv").write_text("seg_id,frame_id\n" + "".join(f"neutral,{n}\n" for n in range(4)))
    book = verify(capture)
    assert book.state == "sound" and book.counts["headset images decoded"] == 20
    (folder / "image" / "cam-left-mouth.zip").unlink()
    archive.write(folder / "image" / "cam-cyclop.zip", [("000000.avif", b"no picture")])
    book = verify(capture)
    assert {(one.level, one.file) for one in book.findings if one.kind == "headset image"} == {
        ("fault", "encoder/image/cam-left-mouth.zip"),
        ("note", "encoder/image/cam-cyclop.zip"),
        ("fault", "encoder/image/cam-cyclop.zip"),
    }
    shutil.rmtree(capture / "decoder")
    assert "decoder" not in report.text([verify(capture)])


def test_find_captures(tiny_capture, capture, tmp_path):
    one, other = sorted(path.parent for path in tiny_capture.glob("*/decoder"))
    assert tree.find([tiny_capture]) == [one, other]
    assert tree.find([other / "decoder", tiny_capture]) == [other, one]
    (tmp_path / "nothing" / "below").mkdir(parents=True)
    with pytest.raises(ValueError, match="no capture there"):
        tree.find([tmp_path / "nothing"])
    with pytest.raises(ValueError, match="no such folder"):
        tree.find([tmp_path / "absent"])
