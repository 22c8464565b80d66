"""One rig, written in each convention by formulas of their own: what the readers must undo.

The truth is OpenCV's: K with integer pixel centres, world to camera, k1 k2 p1 p2 k3. Nothing here imports what it tests.
"""

import json
import math
import pathlib
import struct
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.spatial.transform import Rotation

SIZE = (32, 22)  # height, width
NAMES = ("a7", "b3", "c5")
FRAMES = (3, 12)
FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


class Camera(NamedTuple):
    """K of fx fy cx cy; rotation [3, 3] and translation [3], world to camera; k1 k2 p1 p2 k3."""

    fx: float
    fy: float
    cx: float
    cy: float
    rotation: np.ndarray
    translation: np.ndarray
    terms: tuple[float, ...]

    @property
    def matrix(self) -> np.ndarray:
        return np.vstack([np.column_stack([self.rotation, self.translation]), [0, 0, 0, 1]])

    @property
    def to_world(self) -> np.ndarray:
        return np.linalg.inv(self.matrix)

    @property
    def centre(self) -> np.ndarray:
        return -self.rotation.T @ self.translation

    @property
    def k(self) -> np.ndarray:
        return np.array([[self.fx, 0, self.cx], [0, self.fy, self.cy], [0, 0, 1]])


def rig(**changes) -> dict[str, Camera]:
    """Three cameras in metres around the origin; `changes` are of all."""
    rng = np.random.default_rng(5)
    made = {}
    for i, name in enumerate(NAMES):
        turn = Rotation.from_euler("yxz", [40 * (i - 1) + 3, 170 + 5 * i, 8 * i - 3], degrees=True).as_matrix()
        given = {
            "fx": 81.9 + i,
            "fy": 81.85 + 2 * i,
            "cx": 11.015 + 0.3 * i,
            "cy": 16.0325 - 0.2 * i,
            "rotation": turn,
            "translation": np.array([0.01, -0.02, 1.05]) + 0.02 * rng.standard_normal(3),
            "terms": (-0.11 + 0.01 * i, 0.34, 0.0011, -0.0007, -0.2),
        }
        made[name] = Camera(**(given | changes))
    return made


POINTS = np.array([[0.0, 0.0, 0.0], [0.04, -0.03, 0.06], [-0.055, 0.07, 0.02], [0.1, 0.12, -0.05]])


def pixels(camera: Camera, points: np.ndarray = POINTS) -> np.ndarray:
    """Where OpenCV's formula has the points [P, 3], number by number."""
    k1, k2, p1, p2, k3 = camera.terms
    found = []
    for point in points:
        x, y, z = (float(camera.rotation[i] @ point + camera.translation[i]) for i in range(3))
        x, y = x / z, y / z
        r2 = x * x + y * y
        g = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
        u = x * g + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        v = y * g + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        found.append((camera.fx * u + camera.cx, camera.fy * v + camera.cy))
    return np.array(found)


def picture(path: pathlib.Path, size: tuple[int, int] = SIZE, value: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size[::-1], value).save(path)


def _pictures(folder: pathlib.Path, masks: str = "") -> None:
    for name in NAMES:
        for frame in FRAMES:
            picture(folder / "images" / name / f"{frame:06d}.png")
            if masks:
                picture(folder / masks / name / f"{frame:06d}.png", value=255)


def words(values) -> str:
    return " ".join(repr(float(v)) for v in np.ravel(values))


def _wxyz(rotation: np.ndarray) -> np.ndarray:
    return np.roll(Rotation.from_matrix(rotation).as_quat(), 1)


def colmap_cameras(cameras: dict[str, Camera]) -> list[tuple[int, int, str, list[float]]]:
    """Id, model's number and name, parameters."""
    found = []
    for i, c in enumerate(cameras.values()):
        k1, k2, p1, p2, k3 = c.terms
        found.append((i + 1, 6, "FULL_OPENCV", [c.fx, c.fy, c.cx + 0.5, c.cy + 0.5, k1, k2, p1, p2, k3, 0.0, 0.0, 0.0]))
    return found


def colmap_text(folder: pathlib.Path, cameras: dict[str, Camera]) -> pathlib.Path:
    """`sparse/0` in text; the second lines are empty, or have points, in turn."""
    _pictures(folder, "masks")
    model = folder / "sparse" / "0"
    model.mkdir(parents=True)
    lines = ["# Camera list", "#   CAMERA_ID, MODEL, WIDTH, HEIGHT, PARAMS[]"]
    lines += [f"{i} {name} {SIZE[1]} {SIZE[0]} {words(p)}" for i, _, name, p in colmap_cameras(cameras)]
    (model / "cameras.txt").write_text("\n".join(lines) + "\n")
    lines = ["# Image list with two lines of data per image:", "#   IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME"]
    for number, (i, name, frame, c) in enumerate(_images(cameras), 1):
        lines += [f"{number} {words(_wxyz(c.rotation))} {words(c.translation)} {i} {name}/{frame:06d}.png"]
        lines += ["" if number % 2 else "1.5 2.5 -1 7.25 8.5 12"]
    (model / "images.txt").write_text("\n".join(lines) + "\n")
    return folder


def colmap_binary(folder: pathlib.Path, cameras: dict[str, Camera]) -> pathlib.Path:
    """`sparse` as binary."""
    _pictures(folder)
    model = folder / "sparse"
    model.mkdir(parents=True)
    data = struct.pack("<Q", len(cameras))
    for i, model_id, _, p in colmap_cameras(cameras):
        data += struct.pack("<iiQQ", i, model_id, SIZE[1], SIZE[0]) + struct.pack(f"<{len(p)}d", *p)
    (model / "cameras.bin").write_bytes(data)
    images = list(_images(cameras))
    data = struct.pack("<Q", len(images))
    for number, (i, name, frame, c) in enumerate(images, 1):
        data += struct.pack("<i7di", number, *_wxyz(c.rotation), *c.translation, i) + f"{name}/{frame:06d}.png".encode() + b"\0"
        points = [] if number % 2 else [(1.5, 2.5, -1), (7.25, 8.5, 12)]
        data += struct.pack("<Q", len(points)) + b"".join(struct.pack("<ddq", *p) for p in points)
    (model / "images.bin").write_bytes(data)
    return folder


def _images(cameras):
    for i, (name, c) in enumerate(cameras.items(), 1):
        for frame in FRAMES:
            yield i, name, frame, c


def _opengl(c: Camera) -> np.ndarray:
    return c.to_world @ FLIP


def nerfstudio(folder: pathlib.Path, cameras: dict[str, Camera], *, scale: float = 0.37) -> pathlib.Path:
    """Intrinsics per frame, masks, the world turned, moved and scaled as an import does."""
    _pictures(folder, "segments")
    applied = np.array([[0.0, 1, 0, 0.3], [1.0, 0, 0, -0.2], [0, 0, -1.0, 0.1]])
    frames = []
    for _, name, frame, c in _images(cameras):
        matrix = _opengl(c)
        moved = np.eye(4)
        moved[:3, :3] = applied[:, :3] @ matrix[:3, :3]
        moved[:3, 3] = scale * (applied[:, :3] @ matrix[:3, 3] + applied[:, 3])
        k1, k2, p1, p2, k3 = c.terms
        frames.append(
            {"file_path": f"./images/{name}/{frame:06d}.png", "mask_path": f"segments/{name}/{frame:06d}.png", "k1": k1, "k3": k3}
            | {"fl_x": c.fx, "fl_y": c.fy, "cx": c.cx + 0.5, "cy": c.cy + 0.5, "transform_matrix": moved.tolist(), "colmap_im_id": 1}
        )
    top = {"w": SIZE[1], "h": SIZE[0], "k1": 9.0, "k2": k2, "p1": p1, "p2": p2, "k4": 0.0, "camera_model": "OPENCV"}
    top |= {"applied_transform": applied.tolist(), "applied_scale": scale, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(top))
    return folder


def blender(folder: pathlib.Path, cameras: dict[str, Camera]) -> pathlib.Path:
    """camera_angle_x alone; paths lack their extension; the size is the pictures'."""
    c = next(iter(cameras.values()))
    assert c.fx == c.fy and (c.cx, c.cy) == ((SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2) and not any(c.terms)
    _pictures(folder)
    frames = [
        {"file_path": f"./images/{name}/{frame:06d}", "rotation": 0.01, "transform_matrix": _opengl(c).tolist()}
        for _, name, frame, c in _images(cameras)
    ]
    angle = 2 * math.atan(SIZE[1] / 2 / c.fx)
    for split, members in (("train", frames[:4]), ("val", frames[4:])):
        (folder / f"transforms_{split}.json").write_text(json.dumps({"camera_angle_x": angle, "frames": members}))
    return folder


def metashape(folder: pathlib.Path, cameras: dict[str, Camera], *, local: bool = False) -> pathlib.Path:
    """Poses in a chunk that is turned, moved and scaled; p1 and p2 swapped; a group, and a camera that is not aligned."""
    _pictures(folder)
    turn, move, scale = Rotation.from_euler("xyz", [20, -30, 50], degrees=True).as_matrix(), np.array([0.5, 2.0, -1.0]), 2.5
    if local:
        chunk = "<transform><rotation>1 0 0 0 1 0 0 0 1</rotation><translation>5 6 7</translation><scale>3</scale></transform>"
        turn, move, scale = np.eye(3), np.zeros(3), 1.0
    else:
        chunk = f"<transform><rotation locked='true'>{words(turn)}</rotation><translation>{words(move)}</translation>"
        chunk += f"<scale>{scale!r}</scale></transform>"
    sensors, views = "", ""
    for i, (name, c) in enumerate(cameras.items()):
        k1, k2, p1, p2, k3 = c.terms
        numbers = {"f": c.fy, "cx": c.cx + 0.5 - SIZE[1] / 2, "cy": c.cy + 0.5 - SIZE[0] / 2, "b1": c.fx - c.fy}
        numbers |= {"k1": k1, "k2": k2, "k3": k3, "p1": p2, "p2": p1}
        inner = "".join(f"<{key}>{value!r}</{key}>" for key, value in numbers.items())
        size = f'<resolution width="{SIZE[1]}" height="{SIZE[0]}"/>'
        sensors += (
            f'<sensor id="{i}" label="x" type="frame">{size}<calibration type="frame" class="initial"><f>1</f></calibration>'
            f'<calibration type="frame" class="adjusted">{size}{inner}</calibration></sensor>\n'
        )
        matrix = np.eye(4)
        matrix[:3, :3] = turn.T @ c.rotation.T
        matrix[:3, 3] = turn.T @ (c.centre - move) / scale
        for frame in FRAMES:
            view = f'<camera id="{10 * i + frame}" sensor_id="{i}" label="{name}/{frame:06d}">'
            view += f"<transform>{words(matrix)}</transform></camera>\n"
            views += f'<group id="0" label="g">{view}</group>' if frame == FRAMES[0] else view
    views += '<camera id="99" sensor_id="0" label="lost"/>'
    xml = '<?xml version="1.0" encoding="UTF-8"?>\n<document version="2.0.0"><chunk label="Chunk 1" enabled="true">'
    xml += f'<sensors next_id="3">{sensors}</sensors>'
    xml += f"<cameras>{views}</cameras>{chunk}</chunk></document>\n"
    (folder / "cameras.xml").write_text(xml)
    return folder


def _relative(c: Camera) -> tuple[float, float, float]:
    side = max(SIZE)
    return c.fx * 36 / side, (c.cx + 0.5 - SIZE[1] / 2) / side, (c.cy + 0.5 - SIZE[0] / 2) / side


def xmp(folder: pathlib.Path, cameras: dict[str, Camera], *, elements: bool = False, model: str = "brown3t2") -> pathlib.Path:
    """An XMP beside each picture; with attributes, or with elements and the right spelling."""
    for _, name, frame, c in _images(cameras):
        picture(folder / name / f"{frame:06d}.png")
        f, u, v = _relative(c)
        k1, k2, p1, p2, k3 = c.terms
        given = {"Coordinates": "absolute", "DistortionModel": model, "FocalLength35mm": repr(f), "Skew": "0"}
        given |= {"AspectRatio": repr(c.fy / c.fx), "PrincipalPointU": repr(u), "PrincipalPointV": repr(v)}
        given["DistortionCoefficients" if elements else "DistortionCoeficients"] = words([k1, k2, k3, 0, p1, p2])
        parts = {"Rotation": words(c.rotation), "Position": words(c.centre)}
        if elements:
            parts, given = parts | given, {}
        attributes = "\n   ".join(f'xcr:{key}="{value}"' for key, value in given.items())
        inner = "\n".join(f"<xcr:{key}>{value}</xcr:{key}>" for key, value in parts.items())
        (folder / name / f"{frame:06d}.xmp").write_text(
            '<x:xmpmeta xmlns:x="adobe:ns:meta/">\n <rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">\n'
            f'  <rdf:Description xcr:Version="3" {attributes} xmlns:xcr="http://www.capturingreality.com/ns/xcr/1.1#">\n{inner}\n'
            "  </rdf:Description>\n </rdf:RDF>\n</x:xmpmeta>\n"
        )
    return folder


def registration_csv(folder: pathlib.Path, cameras: dict[str, Camera]) -> pathlib.Path:
    """Angles in degrees of camera to world with OpenGL's axes, Rz(-heading) Rx(pitch) Ry(roll); one focal length, no aspect."""
    _pictures(folder)
    lines = ["#name,x,y,alt,heading,pitch,roll,f,px,py,k1,k2,k3,k4,t1,t2"]
    for _, name, frame, c in _images(cameras):
        assert c.fx == c.fy
        heading, pitch, roll = Rotation.from_matrix(_opengl(c)[:3, :3]).as_euler("ZXY", degrees=True) * [-1, 1, 1]
        k1, k2, p1, p2, k3 = c.terms
        row = [*c.centre, heading, pitch, roll, *_relative(c), k1, k2, k3, 0, p1, p2]
        lines.append(f"{name}/{frame:06d}.png," + ",".join(repr(float(v)) for v in row))
    (folder / "registration.csv").write_text("\n".join(lines) + "\n")
    return folder


def _matrix(key: str, value: np.ndarray) -> str:
    value = np.atleast_2d(value)
    data = ", ".join(f"{v:.17e}" for v in value.ravel())
    return f"{key}: !!opencv-matrix\n   rows: {value.shape[0]}\n   cols: {value.shape[1]}\n   dt: d\n   data: [ {data} ]\n"


def opencv_yaml(folder: pathlib.Path, cameras: dict[str, Camera]) -> pathlib.Path:
    """A file per camera, with R as axis-angle for one, 3 x 3 for the others."""
    _pictures(folder)
    for i, (name, c) in enumerate(cameras.items()):
        turn = Rotation.from_matrix(c.rotation).as_rotvec()[:, None] if i == 0 else c.rotation
        text = f'%YAML:1.0\n---\ncalibration_time: "Tue 10 Oct 2023 12:00:00"\nimage_width: {SIZE[1]}\nimage_height: {SIZE[0]}\n'
        text += _matrix("camera_matrix", c.k) + _matrix("distortion_coefficients", np.array(c.terms)[:, None])
        (folder / f"{name}.yml").write_text(text + _matrix("R", turn) + _matrix("T", c.translation[:, None]))
    return folder


def opencv_xml(folder: pathlib.Path, cameras: dict[str, Camera]) -> pathlib.Path:
    """As `opencv_yaml`, in XML, with 8 coefficients; [R, t] as one matrix."""
    _pictures(folder)

    def element(key, value):
        rows, cols = np.atleast_2d(value).shape
        sizes = f"<rows>{rows}</rows>\n <cols>{cols}</cols>\n <dt>d</dt>"
        return f'<{key} type_id="opencv-matrix">\n {sizes}\n <data>\n {words(value)}</data></{key}>\n'

    for name, c in cameras.items():
        text = f'<?xml version="1.0"?>\n<opencv_storage>\n<image_width>{SIZE[1]}</image_width><image_height>{SIZE[0]}</image_height>\n'
        text += element("camera_matrix", c.k) + element("distortion_coefficients", np.array([*c.terms, 0, 0, 0]))
        (folder / f"{name}.xml").write_text(text + element("extrinsic_matrix", c.matrix[:3]) + "</opencv_storage>\n")
    return folder


def ros(folder: pathlib.Path, cameras: dict[str, Camera]) -> pathlib.Path:
    """camera_info in YAML, named by camera_name; poses in extri.yml."""
    _pictures(folder)
    poses = "%YAML:1.0\n---\n"
    for i, (name, c) in enumerate(cameras.items()):
        text = f"image_width: {SIZE[1]}\nimage_height: {SIZE[0]}\ncamera_name: {name}\n"
        text += f"camera_matrix:\n  rows: 3\n  cols: 3\n  data: {c.k.ravel().tolist()}\n"
        text += f"distortion_model: plumb_bob\ndistortion_coefficients:\n  rows: 1\n  cols: 5\n  data: {list(c.terms)}\n"
        (folder / f"info{i}.yaml").write_text(text + "rectification_matrix:\n  rows: 3\n  cols: 3\n  data: [1, 0, 0, 0, 1, 0, 0, 0, 1]\n")
        poses += _matrix(f"Rot_{name}", c.rotation) + _matrix(f"T_{name}", c.translation[:, None])
    (folder / "extri.yml").write_text(poses)
    return folder


def easymocap(folder: pathlib.Path, cameras: dict[str, Camera], *, axis_angle: bool = False) -> pathlib.Path:
    """intri.yml and extri.yml, whose image sizes are those of the pictures."""
    _pictures(folder)
    names = "".join(f'  - "{name}"\n' for name in cameras)
    inner, outer = f"%YAML:1.0\n---\nnames:\n{names}", f"%YAML:1.0\n---\nnames:\n{names}"
    for name, c in cameras.items():
        inner += _matrix(f"K_{name}", c.k) + _matrix(f"dist_{name}", np.array(c.terms))
        outer += _matrix(f"R_{name}", Rotation.from_matrix(c.rotation).as_rotvec()[:, None])
        outer += "" if axis_angle else _matrix(f"Rot_{name}", c.rotation)
        outer += _matrix(f"T_{name}", c.translation[:, None])
    (folder / "intri.yml").write_text(inner)
    (folder / "extri.yml").write_text(outer)
    return folder


def krt(folder: pathlib.Path, cameras: dict[str, Camera]) -> pathlib.Path:
    """multiface's KRT, millimetres; pictures by segment, camera, frame."""
    for name in NAMES:
        for frame in FRAMES:
            picture(folder / "images" / f"SEG{frame}" / name / f"{frame:06d}.png")
    text = ""
    for name, c in cameras.items():
        rows = [*c.k, np.array(c.terms), *np.column_stack([c.rotation, 1000 * c.translation])]
        text += "\n".join([name, *map(words, rows)]) + "\n\n"
    (folder / "KRT").write_text(text)
    return folder


def nersemble(folder: pathlib.Path, cameras: dict[str, Camera], size: tuple[int, int] = (3208, 2200)) -> pathlib.Path:
    """camera_params.json; frames already taken out of the videos, of any size."""
    c = next(iter(cameras.values()))
    assert len({(c.fx, c.fy, c.cx, c.cy) for c in cameras.values()}) == 1 and not any(c.terms)
    poses = {name: c.matrix.tolist() for name, c in cameras.items()}
    (folder / "calibration").mkdir(parents=True)
    (folder / "calibration" / "camera_params.json").write_text(json.dumps({"world_2_cam": poses, "intrinsics": c.k.tolist()}))
    for name in NAMES:
        for frame in FRAMES:
            picture(folder / "sequences" / "EMO-1-shout" / "images" / f"cam_{name}" / f"{frame:06d}.png", size)
    return folder


def vhap(folder: pathlib.Path, cameras: dict[str, Camera], *, splits: bool = False) -> pathlib.Path:
    """cy as h - cy, integer centres, camera to world with OpenGL's axes; FLAME's parameters by timestep, masks."""
    frames = []
    for i, (name, c) in enumerate(cameras.items()):
        assert not any(c.terms)
        for frame in FRAMES:
            file = f"{frame:05d}_{i:02d}.png"
            picture(folder / "images" / file)
            picture(folder / "fg_masks" / file, value=255)
            (folder / "flame_param").mkdir(exist_ok=True)
            np.savez(folder / "flame_param" / f"{frame:05d}.npz", translation=np.zeros((1, 3)))
            frames.append(
                {
                    "timestep_index": frame,
                    "timestep_index_original": frame,
                    "timestep_id": f"{frame:06d}",
                    "camera_index": i,
                    "camera_id": name,
                }
                | {"cx": c.cx, "cy": SIZE[0] - c.cy, "fl_x": c.fx, "fl_y": c.fy, "w": SIZE[1], "h": SIZE[0]}
                | {"camera_angle_x": 2 * math.atan(SIZE[1] / 2 / c.fx), "transform_matrix": _opengl(c).tolist()}
                | {"file_path": f"images/{file}", "fg_mask_path": f"fg_masks/{file}", "flame_param_path": f"flame_param/{frame:05d}.npz"}
            )
    np.savez(folder / "canonical_flame_param.npz", jaw_pose=np.array([[0.3, 0, 0]]))
    for name, members in (("train", frames[:4]), ("val", frames[4:5]), ("test", frames[5:])) if splits else (("", frames),):
        file = f"transforms{'_' if name else ''}{name}.json"
        (folder / file).write_text(json.dumps({"frames": members, "timestep_indices": list(FRAMES), "camera_indices": [0, 1, 2]}))
    return folder
