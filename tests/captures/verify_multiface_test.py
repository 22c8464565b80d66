"""A small capture of multiface, written as it is published, and faults made in it."""

import json
import pathlib
import re
import shutil
import zipfile

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ava_jax.captures.verify import report, tree
from ava_jax.captures.verify.contents import Depth
from ava_jax.captures.verify.findings import Book
from ava_jax.core.cameras import look_at
from ava_jax.data import images, mesh_files

NAME = "m--20190529--1004--1234567--GHS"
SEGMENTS = {"E001_Neutral_Eyes_Open": ["000100", "000103"], "E057_Cheeks_Puffed": ["021897", "021900", "021903"]}
CAMERAS = ("400002", "400029", "400069")
HEIGHT, WIDTH = 2048 // 32, 1334 // 32
VERTICES = 30
CENTRE = np.array([900.0, -600.0, 1500.0])  # of the rig, mm: not the world's origin, at which transposed rotations would look too
NEUTRAL, PUFFED = SEGMENTS


def write(folder: pathlib.Path) -> pathlib.Path:
    """Three cameras around 30 vertices in a box of 160 mm, two segments."""
    rng = np.random.default_rng(0)
    points = rng.uniform(-80, 80, (VERTICES, 3)).astype("<f4")
    pose = np.column_stack([Rotation.from_euler("y", 20, degrees=True).as_matrix(), CENTRE + [5.0, 10.0, -4.0]])
    picture = lambda height, width: images.encode(rng.integers(0, 255, (height, width, 3), np.uint8), "png")  # noqa: E731
    files = {"KRT": krt(), "tex_mean.png": picture(16, 16), "tex_var.txt": b"120.5\n", "vert_var.txt": b"31.0\n"}
    files |= {"vert_mean.bin": points.tobytes(), "frame_list.txt": "".join(f"{s} {f}\n" for s in SEGMENTS for f in SEGMENTS[s]).encode()}
    for segment, frames in SEGMENTS.items():
        for frame in frames:
            mesh = f"tracked_mesh/{segment}/{frame}"
            files[f"{mesh}.bin"] = (points + rng.normal(0, 1, points.shape)).astype("<f4").tobytes()
            files[f"{mesh}_transform.txt"] = "\n".join(" ".join(map(str, row)) for row in pose).encode()
            files[f"{mesh}.obj"] = obj(points)
            for camera in CAMERAS:
                files[f"images/{segment}/{camera}/{frame}.png"] = picture(HEIGHT, WIDTH)
                files[f"unwrapped_uv_1024/{segment}/{camera}/{frame}.png"] = picture(16, 16)
            files[f"unwrapped_uv_1024/{segment}/average/{frame}.png"] = picture(16, 16)
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def obj(points: np.ndarray) -> bytes:
    lines = [f"v {x} {y} {z}" for x, y, z in points.tolist()] + ["vt 0 0", "vt 1 0", "vt 0 1"]
    return "\n".join([*lines, *(f"f {i}/1 {i + 1}/2 {i + 2}/3" for i in range(1, VERTICES - 1))]).encode()


def krt() -> bytes:
    blocks = []
    for camera, azimuth in zip(CAMERAS, (-40.0, 0.0, 40.0), strict=True):
        position = 1000 * np.array([np.sin(np.deg2rad(azimuth)), 0.1, np.cos(np.deg2rad(azimuth))])
        rotation = look_at(position, np.zeros(3), np.array([0.0, 1.0, 0.0]))
        # Turned in its plane: upright cameras on a circle have rotations that are their own transposes.
        rotation = Rotation.from_euler("z", 60 + azimuth / 4, degrees=True).as_matrix() @ rotation
        position = position + CENTRE
        rows = np.column_stack([rotation, -rotation @ position])
        k = [[3800, 0, 667], [0, 3800, 1024], [0, 0, 1]]
        lines = [
            camera,
            *(" ".join(map(str, row)) for row in k),
            "0.0 0.0 0.0 0.0 0.0",
            *(" ".join(map(str, row)) for row in rows.tolist()),
        ]
        blocks.append("\n".join(lines))
    return ("\n\n".join(blocks) + "\n").encode()


def verify(folder: pathlib.Path, depth: Depth = Depth("all")) -> Book:
    (book,) = tree.verify(tree.find([folder]), depth)
    return book


@pytest.fixture
def capture(tmp_path) -> pathlib.Path:
    return write(tmp_path / NAME)


def test_a_sound_capture(capture):
    book = verify(capture)
    assert book.layout == "multiface" and book.findings == [], report.text([book])
    counts = {"frames": 5, "cameras": 3, "segments": 2, "mesh files": 5, "image files": 15, "images decoded": 15, "textures decoded": 5}
    assert counts.items() <= book.counts.items()


def overwrite(data: bytes):
    return lambda path: path.write_bytes(data)


def edit(old: str, new: str):
    def change(path: pathlib.Path) -> None:
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return change


def untransposed(path: pathlib.Path) -> None:
    """[R^T, t] in place of [R, t] of every camera."""
    blocks = path.read_text().strip().split("\n\n")
    made = []
    for block in blocks:
        lines = block.splitlines()
        rows = np.array([line.split() for line in lines[5:]], float)
        rows[:, :3] = rows[:, :3].T.copy()
        made.append("\n".join([*lines[:5], *(" ".join(map(str, row)) for row in rows.tolist())]))
    path.write_text("\n\n".join(made) + "\n")


MESH, POSE = f"tracked_mesh/{PUFFED}/021900.bin", f"tracked_mesh/{PUFFED}/021900_transform.txt"
IMAGE, AVERAGE = f"images/{PUFFED}/400029/021900.png", f"unwrapped_uv_1024/{PUFFED}/average/021900.png"
FAULTS = {
    # file, what is done to it, file that is reported, kind, words of what, frames and detail
    "no KRT": ("KRT", pathlib.Path.unlink, "KRT", "file", "is missing"),
    "no statistics": ("tex_var.txt", pathlib.Path.unlink, "tex_var.txt", "file", "is missing"),
    "KRT short": ("KRT", edit("0.0 0.0 0.0 0.0 0.0\n", ""), "KRT", "calibration", "cannot be used.*must have 8 lines per camera"),
    "KRT a word": ("KRT", edit("3800 0 667", "3800 0 x"), "KRT", "calibration", "cannot be used.*line 2: must be 3 numbers of K"),
    "R transposed": ("KRT", untransposed, "KRT", "calibration", "fit the mesh.*rotation transposed"),
    "list malformed": ("frame_list.txt", edit(" 000100", ""), "frame_list.txt", "frame list", "line 1: must be 'SEGMENT FRAME'"),
    "mesh cut": (MESH, overwrite(b"\0" * 100), f"tracked_mesh/{PUFFED}", "mesh", "cut, or of another topology.*021900.*100 bytes"),
    "mesh not finite": (
        MESH,
        overwrite(np.full((VERTICES, 3), np.nan, "<f4").tobytes()),
        "tracked_mesh/",
        "mesh",
        "021900.*30 .*not finite",
    ),
    "pose mirrors": (POSE, overwrite(b"-1 0 0 0 0 1 0 0 0 0 1 0"), "tracked_mesh/", "head pose", "021900_transform.txt.*mirrors"),
    "pose short": (POSE, overwrite(b"1 0 0"), "tracked_mesh/", "head pose", "021900_transform.txt: must be 3 x 4 finite numbers; got 3"),
    "image empty": (IMAGE, overwrite(b""), f"images/{PUFFED}/400029", "image", "is empty.*021900"),
    "image damaged": (IMAGE, overwrite(b"no picture"), "images/*/400029", "image", f"cannot be decoded.*{PUFFED}/400029/021900.png"),
    "average damaged": (AVERAGE, overwrite(b"no picture"), "unwrapped_uv_1024/*/average", "texture", "cannot be decoded.*021900.png"),
    "variance": ("vert_var.txt", overwrite(b"-3"), "vert_var.txt", "statistics", "must hold one number, a variance"),
    "mean mesh": (
        "vert_mean.bin",
        overwrite(b"\0" * 24),
        "vert_mean.bin",
        "statistics",
        "must be 30 vertices of three float32; it has 24 bytes",
    ),
    "mean texture": ("tex_mean.png", overwrite(b"no picture"), "tex_mean.png", "statistics", "cannot be decoded as a picture"),
    "topology": (
        f"tracked_mesh/{NEUTRAL}/000100.obj",
        overwrite(b"v 0 0 zero"),
        f"tracked_mesh/{NEUTRAL}/000100.obj",
        "topology",
        "line 1",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_named_with_its_file_and_what_to_do(capture, name):
    file, spoil, reported, kind, words = FAULTS[name]
    spoil(capture / file)
    book = verify(capture)
    assert book.state == "broken"
    (fault,) = [one for one in book.findings if one.level == "fault"]
    assert (fault.kind, fault.file) == (kind, reported) and fault.action
    assert re.search(words, " ".join([fault.what, *fault.frames, fault.detail])), fault
    assert fault.action in report.text([book])


@pytest.mark.parametrize(
    "rows, words",
    [
        (("0 3800 1024", "5 3800 1024"), "K must have the rows fx 0 cx, 0 fy cy, 0 0 1: here it is not stored transposed"),
        (("3800 0 667", "-3800 0 667"), "camera 400002: K's focal lengths must be positive; got -3800 and 3800"),
        (("3800 0 667", "nan 0 667"), "camera 400002: not all numbers are finite"),
    ],
)
def test_a_camera_that_can_be_none(capture, rows, words):
    edit(*rows)(capture / "KRT")
    (fault,) = verify(capture, Depth("none")).findings
    assert fault.level == "fault" and fault.kind == "calibration" and words in fault.detail


def test_segments_and_cameras_that_were_left_out(capture):
    """Published captures are fetched by segment; the frame list names all."""
    for path in list(capture.glob(f"*/{PUFFED}")):
        shutil.rmtree(path)
    shutil.rmtree(capture / "images" / NEUTRAL / "400069")
    book = verify(capture)
    assert {(one.level, one.kind, one.file) for one in book.findings} == {
        ("note", "segment", f"tracked_mesh/{PUFFED}"),
        ("doubt", "image", f"images/{NEUTRAL}/400069"),
    }
    shutil.rmtree(capture / "unwrapped_uv_1024" / NEUTRAL / "average")
    assert ("fault", f"unwrapped_uv_1024/{NEUTRAL}/average") in {(one.level, one.file) for one in verify(capture).findings}
    shutil.rmtree(capture / "tracked_mesh" / NEUTRAL)
    assert [one.what for one in verify(capture).findings if one.level == "fault"] == ["none of those listed is there"]


def test_a_mini_set_without_neutral_is_doubted(capture):
    for path in [*capture.glob(f"*/{NEUTRAL}")]:
        path.rename(path.with_name("E061_Lips_Puffed"))
    edit(f"{NEUTRAL} 000100\n{NEUTRAL} 000103", "E061_Lips_Puffed 000100\nE061_Lips_Puffed 000103")(capture / "frame_list.txt")
    (doubt,) = verify(capture).findings
    assert doubt.kind == "neutral face" and "nearest to the mean mesh" in doubt.what and "E001_Neutral_Eyes_Open" in doubt.action


def from_ava256(decoder: pathlib.Path, topology: pathlib.Path, folder: pathlib.Path) -> pathlib.Path:
    """The capture of ava-256 in `decoder/`, in multiface's layout: K for half the size, nothing transposed, files in place of zips."""
    blocks = []
    for entry in json.loads((decoder / "camera_calibration.json").read_text())["KRT"]:
        k, t = np.array(entry["K"]).T, np.array(entry["T"]).T[:3]
        k[:2] /= 2
        rows = [
            entry["cameraId"],
            *(" ".join(map(str, row)) for row in k.tolist()),
            "0 0 0 0 0",
            *(" ".join(map(str, r)) for r in t.tolist()),
        ]
        blocks.append("\n".join(rows))
    files = {"KRT": "\n\n".join(blocks).encode(), "tex_var.txt": b"1", "vert_var.txt": b"1"}
    files["tex_mean.png"] = (decoder / "uv_image" / "color_mean.png").read_bytes()
    mean = np.load(decoder / "kinematic_tracking" / "registration_vertices_mean.npy")
    files["vert_mean.bin"] = mean.astype("<f4").tobytes()

    def members(path: pathlib.Path) -> dict[str, bytes]:
        with zipfile.ZipFile(path) as file:
            return {pathlib.PurePosixPath(name).stem: file.read(name) for name in file.namelist()}

    frames = list(members(decoder / "head_pose" / "head_pose.zip"))
    files["frame_list.txt"] = "".join(f"{NEUTRAL} {frame}\n" for frame in frames).encode()
    for frame, pose in members(decoder / "head_pose" / "head_pose.zip").items():
        files[f"tracked_mesh/{NEUTRAL}/{frame}_transform.txt"] = pose
    for frame, mesh in members(decoder / "kinematic_tracking" / "registration_vertices.zip").items():
        files[f"tracked_mesh/{NEUTRAL}/{frame}.bin"] = mesh_files.read_vertices(mesh).tobytes()
    files[f"tracked_mesh/{NEUTRAL}/{frames[0]}.obj"] = topology.read_bytes()
    pictures = {f"unwrapped_uv_1024/{NEUTRAL}/average": decoder / "uv_image" / "color.zip"}
    pictures |= {f"images/{NEUTRAL}/{path.stem.removeprefix('cam')}": path for path in (decoder / "image").glob("cam*.zip")}
    for name, path in pictures.items():
        files |= {f"{name}/{frame}.png": images.encode(images.decode(data), "png") for frame, data in members(path).items()}
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def test_the_same_heads_in_both_layouts(tiny_capture, tmp_path):
    """A rig around the world's origin: with rotations transposed the mesh stays inside, and its colours are elsewhere."""
    decoder = sorted(tiny_capture.glob("*/decoder"))[1]
    capture = from_ava256(decoder, tiny_capture / "face_topology.obj", tmp_path / NAME)
    book = verify(capture)
    assert book.findings == [], report.text([book])
    untransposed(capture / "KRT")
    (doubt,) = verify(capture).findings
    assert (doubt.level, doubt.kind, doubt.file, doubt.what) == ("doubt", "calibration", "KRT", "may not fit the images")
    assert "rotation transposed" in doubt.detail
