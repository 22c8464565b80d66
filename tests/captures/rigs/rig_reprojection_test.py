"""Each mistake that importers make is named by the report, from landmarks and from silhouettes; what is sound or something else is not."""

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy.spatial.transform import Rotation

from ava_jax.captures.rigs import reprojection
from ava_jax.captures.rigs.types import Distortion, RigCamera

SIZE = (260, 200)
TERMS = (-0.05, 0.03, 0.02, -0.015, 0.01, 0.0, 0.0, 0.0)


def head(rows: int = 30, columns: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A closed surface of no symmetry, about 0.2 m high: vertices in metres, faces."""
    polar, around = np.meshgrid(np.linspace(0.02, np.pi - 0.02, rows), np.linspace(0, 2 * np.pi, columns, endpoint=False), indexing="ij")
    direction = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], -1)
    radius = 0.09 + 0.018 * np.sin(2 * around + 0.4) * np.sin(polar) + 0.012 * np.cos(3 * polar + 1) + 0.01 * direction[..., 0]
    vertices = (radius[..., None] * direction * [0.85, 1.15, 1.0]).reshape(-1, 3)
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns), indexing="ij")
    a, b = i * columns + j, i * columns + (j + 1) % columns
    faces = np.concatenate([np.stack([a, b, a + columns], -1), np.stack([b, b + columns, a + columns], -1)]).reshape(-1, 3)
    caps = [
        np.stack([np.full(columns - 2, s), s + np.arange(1, columns - 1), s + np.arange(2, columns)], -1) for s in (0, (rows - 1) * columns)
    ]
    return vertices, np.concatenate([faces, *caps])


VERTICES, FACES = head()


def rig() -> list[RigCamera]:
    cameras = []
    for i, (yaw, pitch, roll) in enumerate([(-70, 5, 12), (-25, -15, -8), (20, 12, 5), (65, -4, -15)]):
        turn = Rotation.from_euler("zxy", [roll, 180 + pitch, yaw], degrees=True).as_matrix()
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = turn, [0.03 - 0.02 * i, -0.02 + 0.015 * i, 0.42]
        k = np.array([[330.0 + i, 0, 103.25 - i], [0, 332.0, 121.5 + 2 * i], [0, 0, 1]])
        cameras.append(RigCamera(f"c{i}", SIZE, k, pose, Distortion("opencv", TERMS)))
    return cameras


def pixels(camera: RigCamera, points: np.ndarray) -> np.ndarray:
    """OpenCV's formula, written out here."""
    x, y, z = (points @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]).T
    x, y = x / z, y / z
    r2, (k1, k2, p1, p2, k3) = x * x + y * y, TERMS[:5]
    g = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3
    u, v = x * g + 2 * p1 * x * y + p2 * (r2 + 2 * x * x), y * g + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    return np.stack([camera.k[0, 0] * u + camera.k[0, 2], camera.k[1, 1] * v + camera.k[1, 2]], -1)


def mask(camera: RigCamera, fine: int = 8) -> np.ndarray:
    """The mesh's silhouette, drawn at `fine` times the size: inside where half a pixel's area is."""
    drawn = (pixels(camera, VERTICES) + 0.5) * fine - 0.5
    image = Image.new("1", (SIZE[1] * fine, SIZE[0] * fine))
    pencil = ImageDraw.Draw(image)
    for corners in drawn[FACES].reshape(-1, 6).tolist():
        pencil.polygon(corners, fill=1)
    return np.asarray(image, np.float32).reshape(SIZE[0], fine, SIZE[1], fine).mean((1, 3)) >= 0.5


def landmarks(cameras: list[RigCamera], noise: float = 0.0) -> list[reprojection.Landmarks]:
    rng = np.random.default_rng(3)
    points = VERTICES[::5]
    return [reprojection.Landmarks(c.name, points, pixels(c, points) + noise * rng.standard_normal((len(points), 2))) for c in cameras]


@pytest.fixture(scope="module")
def silhouettes() -> list[reprojection.Silhouette]:
    return [reprojection.Silhouette(c.name, VERTICES, FACES, mask(c)) for c in rig()]


def with_k(camera, **changes):
    k = camera.k.copy()
    for at, value in changes.items():
        k[int(at[1]), int(at[2])] = value
    return dataclasses.replace(camera, k=k)


def posed(camera, rotation, translation):
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, translation
    return dataclasses.replace(camera, world_to_camera=pose)


def parts(camera):
    return camera.world_to_camera[:3, :3], camera.world_to_camera[:3, 3]


def swapped(camera):
    terms = list(TERMS)
    terms[2], terms[3] = terms[3], terms[2]
    return dataclasses.replace(camera, distortion=Distortion("opencv", tuple(terms)))


WRONG = {
    "p1 and p2 swapped": swapped,
    "half a pixel: cx and cy are 0.5 too large": lambda c: with_k(c, k02=c.k[0, 2] + 0.5, k12=c.k[1, 2] + 0.5),
    "half a pixel: cx and cy are 0.5 too small": lambda c: with_k(c, k02=c.k[0, 2] - 0.5, k12=c.k[1, 2] - 0.5),
    "cy flipped: it is h - cy": lambda c: with_k(c, k12=SIZE[0] - c.k[1, 2]),
    "cy flipped: it is h - 1 - cy": lambda c: with_k(c, k12=SIZE[0] - 1 - c.k[1, 2]),
    "scale x 1000: translations are 1000 times too small for the points": lambda c: posed(c, parts(c)[0], parts(c)[1] / 1000),
    "scale x 1000: translations are 1000 times too large for the points": lambda c: posed(c, parts(c)[0], parts(c)[1] * 1000),
    "units: translations are 10 times too small for the points": lambda c: posed(c, parts(c)[0], parts(c)[1] / 10),
    "R transposed": lambda c: posed(c, parts(c)[0].T, parts(c)[1]),
    "R transposed, camera to world": lambda c: posed(c, parts(c)[0].T, parts(c)[0].T @ parts(c)[0].T @ parts(c)[1]),
    "pose inverted": lambda c: posed(c, parts(c)[0].T, -parts(c)[0].T @ parts(c)[1]),
    "translation is the camera's centre": lambda c: posed(c, parts(c)[0], -parts(c)[0].T @ parts(c)[1]),
    "axes of OpenGL": lambda c: posed(c, np.diag([1, -1, -1]) @ parts(c)[0], np.diag([1, -1, -1]) @ parts(c)[1]),
}


@pytest.mark.parametrize("name", WRONG)
@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_landmarks_name_the_mistake(name, noise):
    cameras = rig()
    found = reprojection.report([WRONG[name](c) for c in cameras], landmarks(cameras, noise))
    assert [fault.known for fault in found.faults] == [True], found.lines()
    assert found.faults[0].name.startswith(name), found.lines()
    assert found.faults[0].after < (0.003 if noise == 0 else 0.5), found.lines()
    assert any(name in line for line in found.lines())


@pytest.mark.parametrize("name", WRONG)
def test_silhouettes_name_the_mistake(name, silhouettes):
    found = reprojection.report([WRONG[name](c) for c in rig()], silhouettes)
    assert [fault.name.startswith(name) and fault.known for fault in found.faults] == [True], found.lines()
    assert found.faults[0].after < 0.3, found.lines()


def test_what_is_sound_is_not_blamed(silhouettes):
    cameras = rig()
    for seen in (landmarks(cameras), landmarks(cameras, 0.3), landmarks(cameras, 3.0), silhouettes, [*silhouettes, *landmarks(cameras)]):
        found = reprojection.report(cameras, seen)
        assert found.faults == (), found.lines()
        assert set(found.cameras) == {c.name for c in cameras}
    assert max(reprojection.report(cameras, silhouettes).cameras.values()) < 0.35  # pixels: what a binary mask gives


def test_what_detectors_are_off_by_is_not_blamed_on_the_calibration():
    """Landmarks 0.2 pixels off on both axes among noise of 1 pixel: sure by their number, too little to be a mistake of a reader."""
    cameras = rig()
    seen = [one._replace(pixels=one.pixels + 0.2) for one in landmarks(cameras, 1.0)]
    found = reprojection.report(cameras, seen)
    assert found.faults == (), found.lines()


def test_two_mistakes_are_both_named():
    cameras = rig()
    found = reprojection.report([WRONG["cy flipped: it is h - cy"](swapped(c)) for c in cameras], landmarks(cameras, 0.05))
    assert {fault.name for fault in found.faults} == {"p1 and p2 swapped", "cy flipped: it is h - cy"}, found.lines()


@pytest.mark.parametrize(
    "change, name",
    [
        (lambda c: with_k(c, k00=1.02 * c.k[0, 0], k11=1.02 * c.k[1, 1]), "focal lengths +2% off"),
        (lambda c: with_k(c, k02=c.k[0, 2] + 1, k12=c.k[1, 2] + 1), "cx and cy off by 1, 1 pixels"),
        (lambda c: with_k(c, k02=c.k[0, 2] + 0.5), "cx and cy off by 0.5, 0 pixels"),
    ],
)
def test_what_is_something_else_is_not_called_a_known_mistake(change, name):
    cameras = rig()
    found = reprojection.report([change(c) for c in cameras], landmarks(cameras, 0.1))
    assert [(fault.name, fault.known) for fault in found.faults] == [(name, False)]
    assert any("no known mistake" in line for line in found.lines())


def test_a_camera_that_is_off_is_named():
    cameras = rig()
    seen = landmarks(cameras, 0.2)
    seen[2] = seen[2]._replace(pixels=seen[2].pixels + [9.0, -13.0])
    lines = reprojection.report(cameras, seen).lines()
    assert "worst camera 'c2' 15.8" in lines[0] and lines[-1] == "cameras over 5 pixels, better left out: c2"


def test_what_cannot_be_looked_at_is_refused(silhouettes):
    cameras = rig()
    for seen, text in (
        ([], "got none"),
        ([silhouettes[0]._replace(camera="x")], "camera 'x' is not in the rig"),
        ([silhouettes[0]._replace(mask=np.zeros((3, 4), bool))], r"must be of its camera's size \(260, 200\); got \(3, 4\)"),
        ([silhouettes[0]._replace(mask=np.zeros(SIZE, bool))], "must have an inside and an outside"),
        ([landmarks(cameras)[0]._replace(pixels=np.zeros((1, 2)))], "landmarks must be points"),
    ):
        with pytest.raises(ValueError, match=text):
            reprojection.report(cameras, seen)
