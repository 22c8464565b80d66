"""The parts of a conversion by themselves: alignment, pictures, textures, necks, frames' segments."""

import dataclasses
import pathlib

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from ava_jax.captures.convert import head, meshes, neck, plan, straighten, texture
from ava_jax.captures.convert.request import Request
from ava_jax.captures.rigs import lens
from ava_jax.captures.rigs.types import Distortion, RigCamera
from ava_jax.core import mesh
from ava_jax.core.cameras import look_at
from ava_jax.core.mesh import Topology
from ava_jax.core.types import Cameras
from ava_jax.data import images, mesh_files, obj_files


def request(**changes) -> Request:
    return Request(**{"rig": pathlib.Path("r"), "out": pathlib.Path("o"), "subject": "A"} | changes)


# Alignment.


def test_rigid_finds_rotation_translation_and_scale_and_never_mirrors():
    rng = np.random.default_rng(0)
    points, turn, shift = rng.normal(0, 50, (40, 3)), Rotation.random(random_state=1).as_matrix(), np.array([3.0, -2, 700])
    found = head.rigid(points, 1.7 * points @ turn.T + shift, scaled=True)
    np.testing.assert_allclose(found[0], turn, atol=1e-10)
    np.testing.assert_allclose(found[1], shift, atol=1e-8)
    assert found[2] == pytest.approx(1.7)
    flipped = points * [-1, 1, 1]
    assert np.linalg.det(head.rigid(points, flipped)[0]) == pytest.approx(1)
    assert head.mirrored(points, flipped) and not head.mirrored(points, points @ turn.T + shift)
    weighted = head.rigid(points, np.where(np.arange(40)[:, None] < 20, points @ turn.T, 0.0), np.arange(40) < 20)
    np.testing.assert_allclose(weighted[0], turn, atol=1e-10)
    with pytest.raises(ValueError, match="lie on a line"):
        head.rigid(points[:, :1] * [1.0, 2, 3], points)


def test_the_skull_is_what_stays_still_and_poses_follow_it():
    rng = np.random.default_rng(2)
    still = rng.normal(0, 60, (300, 3))
    loose = rng.random(300) < 0.5
    poses = [np.concatenate([Rotation.random(random_state=i).as_matrix(), rng.normal(0, 300, (3, 1))], axis=1) for i in range(12)]
    shapes = [still + loose[:, None] * rng.normal(0, 6, (300, 3)) + rng.normal(0, 0.02, (300, 3)) for _ in poses]
    worlds = [shape @ pose[:, :3].T + pose[:, 3] for shape, pose in zip(shapes, poses, strict=True)]
    skull = head.find_skull(worlds, np.arange(300))
    assert not loose[skull.index].any() and len(skull.index) == 90
    assert np.median(skull.motion[~loose]) < 0.1 < 3 < np.median(skull.motion[loose])
    for world, pose in zip(worlds, poses, strict=True):
        found = head.pose_of(world, skull, poses[0])
        assert np.abs(found - pose)[:, :3].max() < 1e-3 and np.abs(found - pose)[:, 3].max() < 0.05  # mm
        assert np.abs(head.into_head(world, found)[~loose] - still[~loose]).max() < 0.2
    one = head.find_skull(worlds[:1], np.arange(300))
    assert len(one.index) == 300


def test_axes_of_a_template_whatever_its_size():
    rng = np.random.default_rng(3)
    template = rng.normal(0, 0.05, (100, 3)) + [0.0, 0.0, 0.02]  # metres
    pose = np.concatenate([Rotation.random(random_state=5).as_matrix(), [[10.0], [20.0], [900.0]]], axis=1)
    world = 1100 * template @ pose[:, :3].T + pose[:, 3]
    skull = head.find_skull(world[None], np.arange(100))
    np.testing.assert_allclose(head.axes_from_template(skull, template), pose, atol=1e-6)
    with pytest.raises(ValueError, match="only mirrored"):
        head.axes_from_template(skull, template * [1, 1, -1])


def test_axes_of_the_cameras():
    skull = head.find_skull(np.random.default_rng(4).normal(0, 50, (1, 50, 3)), np.arange(50))
    centres = np.array([[1000.0, 30, 200], [900, 10, -300], [950, 0, 20]])
    rotations = np.stack([look_at(centre, np.zeros(3), (0, 1, 0)) for centre in centres])
    pose = head.axes_from_cameras(skull, rotations, centres)
    assert pose[0, 2] > 0.98 and pose[1, 1] > 0.98 and np.linalg.det(pose[:, :3]) == pytest.approx(1)  # forward is x, up is y


# Pictures.


def blob(camera: RigCamera, at: np.ndarray) -> np.ndarray:
    row, column = np.mgrid[: camera.size[0], : camera.size[1]]
    bell = 255 * np.exp(-((column - at[0]) ** 2 + (row - at[1]) ** 2) / (2 * 2.5**2))
    return np.repeat(np.rint(bell).astype(np.uint8)[..., None], 3, axis=-1)


def middle(picture: np.ndarray) -> np.ndarray:
    weight = picture[..., 0].astype(float)
    row, column = np.mgrid[: picture.shape[0], : picture.shape[1]]
    return np.array([(column * weight).sum(), (row * weight).sum()]) / weight.sum()


@pytest.mark.parametrize("skew", [0.0, 25.0])
@pytest.mark.parametrize("height", [300, 150, 113])
def test_straightened_pictures_show_points_where_the_new_calibration_puts_them(skew, height):
    k = np.array([[700.0, skew, 92.0], [0, 690.0, 161.0], [0, 0, 1]])
    camera = RigCamera("1", (300, 200), k, np.eye(4), Distortion("opencv", (-0.9, 0.4, 0.01, -0.02)))
    goal = straighten.target(camera, straighten.common_size((camera,), height))
    by = straighten.Straightener(camera, goal)
    assert goal.size == (height, 200 * height // 300)
    for point in np.array([[0.02, 0.03, 1], [-0.09, 0.12, 1], [0.06, -0.16, 1]]):
        seen = middle(by.picture(blob(camera, lens.project(point, camera))))
        expected = goal.k[:2, :2] @ point[:2] + goal.k[:2, 2]
        assert np.abs(seen - expected).max() < 0.05  # pixels
        mask = by.mask(np.where(blob(camera, lens.project(point, camera))[..., 0] > 30, 255, 0).astype(np.uint8))
        assert np.abs(np.argwhere(mask).mean(0)[::-1] - expected).max() < 0.5


def test_pictures_of_several_sizes_become_one():
    sharp = np.array([[400.0, 0, 50], [0, 400, 60], [0, 0, 1]])
    tall, wide = (RigCamera(name, size, sharp, np.eye(4)) for name, size in (("1", (160, 100)), ("2", (90, 130))))
    size = straighten.common_size((tall, wide), 120)
    assert size == (120, 130)
    for camera in (tall, wide):
        goal = straighten.target(camera, size)
        picture = straighten.Straightener(camera, goal).picture(np.full((*camera.size, 3), 200, np.uint8))
        assert picture.shape == (*size, 3)
        rows, columns = np.argwhere(picture[..., 0] > 0).T
        assert (rows.min(), columns.min()) == goal.corner and (np.ptp(rows) + 1, np.ptp(columns) + 1) == goal.inner
    with pytest.raises(ValueError, match="camera 2: its images must be 90 x 130"):
        straighten.Straightener(wide, goal).picture(np.zeros((160, 100, 3), np.uint8))


def test_nothing_is_made_up_outside_of_the_image():
    camera = RigCamera("1", (80, 80), np.array([[100.0, 0, 40], [0, 100, 40], [0, 0, 1]]), np.eye(4), Distortion("opencv", (0.5,)))
    white = np.full((80, 80, 3), 255, np.uint8)
    picture = straighten.Straightener(camera, straighten.target(camera, (80, 80))).picture(white)
    assert picture[40, 40, 0] == 255 and picture[0, 0, 0] == 0 and set(np.unique(picture)) == {0, 255}


def test_linear_colours_and_masks_in_colours(tmp_path):
    camera = RigCamera("1", (20, 20), np.array([[30.0, 0, 9], [0, 30, 9], [0, 0, 1]]), np.eye(4))
    by = straighten.Straightener(camera, straighten.target(camera, (20, 20)))
    grey = by.picture(np.full((20, 20, 3), 128, np.uint8), linear=True)
    assert (grey == 55).all()  # 0.2158 of the light
    (tmp_path / "mask.png").write_bytes(images.encode(np.dstack([np.full((20, 20), 255), np.zeros((20, 20, 2))]).astype(np.uint8), "png"))
    with pytest.raises(ValueError, match="mask.png: a mask must be grey"):
        straighten.read_mask(tmp_path / "mask.png")


# Textures.


def plate(size: float, depth: float, cells: int = 8) -> tuple[np.ndarray, Topology]:
    """A square that looks along +z, its texture's v up along y; [V, 3] and faces."""
    v, u = np.meshgrid(np.linspace(1, 0, cells + 1), np.linspace(0, 1, cells + 1), indexing="ij")
    vertices = np.stack([(u - 0.5) * size, (v - 0.5) * size, np.full_like(u, depth)], axis=-1).reshape(-1, 3)
    corner = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = (x.ravel() for x in (corner[:-1, :-1], corner[:-1, 1:], corner[1:, :-1], corner[1:, 1:]))
    faces = np.concatenate([np.stack([a, c, d], 1), np.stack([a, d, b], 1)]).astype(np.int32)
    return vertices, Topology(faces, faces.copy(), np.stack([u.ravel(), v.ravel()], 1).astype(np.float32))


def front(size: int, distance: float = 1000.0, x: float = 0.0) -> Cameras:
    position = np.array([x, 0.0, distance])
    return Cameras(look_at(position, np.zeros(3), (0, 1, 0)), position, np.full(2, 2.0 * size), np.full(2, (size - 1) / 2))


def test_a_texel_has_the_colour_of_its_pixel_and_what_is_hidden_has_none():
    rear, topology = plate(300.0, 0.0)
    block, _ = plate(100.0, 60.0)
    vertices = np.concatenate([rear, block])
    hiding = np.concatenate([topology.faces, topology.faces + len(rear)])
    size, camera = 240, front(240)
    row, column = np.mgrid[:size, :size]
    picture = np.stack([column, row, np.full_like(row, 77)], axis=-1).astype(np.uint8)
    chart = texture.texels(topology, 64)
    found = texture.unwrap(vertices, hiding, chart, [texture.View(picture, camera)])
    u = (np.arange(64) + 0.5) / 64
    where = (u[:, None] - 0.5) * 300 * 0.48 + (size - 1) / 2  # 0.48 pixels per mm
    seen = found.coverage > 0
    assert seen.mean() == pytest.approx(1 - (100 / 300 / 0.94) ** 2, abs=0.02)
    assert not seen[24:40, 24:40].any()
    np.testing.assert_allclose(found.colour[..., 0][seen], np.broadcast_to(where.T, (64, 64))[seen], atol=0.02)
    np.testing.assert_allclose(found.colour[..., 1][seen], np.broadcast_to(where, (64, 64))[seen], atol=0.02)
    assert not found.colour[~seen].any()
    mask = np.ones((size, size), bool)
    mask[:, : size // 2] = False
    masked = texture.unwrap(vertices, hiding, chart, [texture.View(picture, camera, mask)])
    assert not (masked.coverage > 0)[:, :33].any() and (masked.coverage > 0)[:, 40:].any()
    behind = texture.unwrap(vertices, hiding, chart, [texture.View(picture, front(240, -1000.0))])
    assert not behind.coverage.any()


def test_a_camera_that_sees_better_counts_for_more():
    vertices, topology = plate(200.0, 0.0)
    straight, aslant = front(240), front(240, 500.0, 866.0)  # the latter at 60 degrees
    views = [texture.View(np.full((240, 240, 3), value, np.uint8), camera) for value, camera in ((200, straight), (100, aslant))]
    found = texture.unwrap(vertices, topology.faces, texture.texels(topology, 32), views)
    assert found.colour[16, 16, 0] == pytest.approx((200 + 100 * 0.25) / 1.25, abs=1)
    assert found.coverage[16, 16] == pytest.approx(1.25, abs=0.02)


def test_filling_keeps_what_is_known():
    rng = np.random.default_rng(0)
    for size in (33, 64):
        picture, known = rng.uniform(50, 200, (size, size, 3)), rng.random((size, size)) < 0.1
        filled = texture.push_pull(picture, known)
        np.testing.assert_array_equal(filled[known], picture[known])
        assert filled.min() >= 50 and filled.max() <= 200
    flat = texture.push_pull(np.where(known[..., None], 90.0, 0.0), known)
    np.testing.assert_allclose(flat, 90.0)
    found = texture.Unwrapped(np.full((8, 8, 3), 40, np.float32), np.zeros((8, 8), np.float32))
    found.coverage[:, 4:] = 1
    assert (texture.fill(found, np.full((8, 8, 3), 120)) == np.where(np.arange(8) < 4, 120, 40)[None, :, None]).all()


# Necks.


def tube(around: int = 48) -> tuple[np.ndarray, Topology]:
    """A head of sorts, closed above and open below, y up; its chart is the upper half of the square."""
    rows = 10
    angle = np.linspace(0, 2 * np.pi, around + 1)
    height = np.linspace(100, -60, rows)
    radius = 70 * np.sqrt(np.clip(1 - (height / 101) ** 2, 0.02, 1)) + 5
    ring = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], -1)
    points = (ring[None] * radius[:, None, None] + height[:, None, None] * [0, 1, 0])[:, :-1].reshape(-1, 3)
    index = np.arange(rows * around).reshape(rows, around)
    index = np.concatenate([index, index[:, :1]], axis=1)
    uv = np.arange(rows * (around + 1)).reshape(rows, around + 1)
    u, v = np.meshgrid(np.linspace(0.02, 0.98, around + 1), np.linspace(0.98, 0.5, rows))

    def triangles(grid):
        a, b, c, d = (x.ravel() for x in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]))
        return np.concatenate([np.stack([a, c, d], 1), np.stack([a, d, b], 1)])

    cap = np.stack([np.full(around - 2, index[0, 0]), index[0, 1 : around - 1], index[0, 2:around]], 1)
    faces, face_uvs = triangles(index), triangles(uv)
    topology = Topology(
        np.concatenate([faces, cap]).astype(np.int32),
        np.concatenate([face_uvs, cap]).astype(np.int32),
        np.stack([u.ravel(), v.ravel()], 1).astype(np.float32),
    )
    return points, topology


def check_neck(grown: neck.Neck, vertices: np.ndarray, before: Topology, length: float) -> np.ndarray:
    whole = grown.extend(vertices)
    assert len(whole) == len(vertices) + grown.added and grown.topology.faces.max() == len(whole) - 1
    np.testing.assert_array_equal(whole[: len(vertices)], vertices)
    count = len(before.faces)
    np.testing.assert_array_equal(grown.topology.faces[:count], before.faces)
    ends = whole[-grown.edges :]
    path = np.linalg.norm(
        np.diff(np.concatenate([vertices[grown.border][None], whole[len(vertices) :].reshape(-1, grown.edges, 3)]), axis=0), axis=-1
    )
    assert path.sum(0).mean() == pytest.approx(length, rel=0.15)  # rings are smoothed
    assert (ends[:, 1] < vertices[grown.border][:, 1] - 0.3 * length).all()  # it hangs down
    # Each edge of the old border now belongs to two triangles, which pass it in opposite directions.
    directed = set(map(tuple, grown.topology.faces[:, [[0, 1], [1, 2], [2, 0]]].reshape(-1, 2).tolist()))
    for a, b in zip(grown.border.tolist(), np.roll(grown.border, -1).tolist(), strict=True):
        assert (a, b) in directed and (b, a) in directed
    # The chart of the neck lies apart from the mesh's.
    size = 512
    parts = [
        Topology(grown.topology.faces[part], grown.topology.face_uvs[part], grown.topology.uvs)
        for part in (slice(count), slice(count, None))
    ]
    old, new = (mesh.uv_triangles(part, size)[0] >= 0 for part in parts)
    assert new.sum() > 100 and not (old & new).any()
    assert grown.topology.uvs.min() >= 0 and grown.topology.uvs.max() <= 1
    return whole


def test_a_neck_grows_from_the_border():
    vertices, topology = tube()
    loops = neck.border_loops(topology, vertices)
    assert [len(loop) for loop in loops] == [48]
    grown = neck.grow(topology, vertices, 60.0)
    assert (grown.edges, grown.added) == (48, 4 * 48) and "free part" in grown.room
    np.testing.assert_array_equal(grown.topology.uvs[: len(topology.uvs)], topology.uvs)
    whole = check_neck(grown, vertices, topology, 60.0)
    normals = texture.vertex_normals(whole, grown.topology.faces)[len(vertices) :]
    outward = whole[len(vertices) :] * [1, 0, 1]
    assert (np.einsum("vi,vi->v", normals, outward) > 0).mean() > 0.95
    moved = grown.extend(vertices + [0, 5, 0])
    np.testing.assert_allclose(moved - whole, np.broadcast_to([0, 5, 0], whole.shape), atol=1e-9)


def test_a_closed_mesh_grows_no_neck():
    vertices, topology = tube()
    bottom = np.arange(len(vertices) - 48, len(vertices))
    lid = np.stack([np.full(46, bottom[0]), bottom[2:], bottom[1:-1]], 1)
    shut = Topology(
        np.concatenate([topology.faces, lid]).astype(np.int32), np.concatenate([topology.face_uvs, lid]).astype(np.int32), topology.uvs
    )
    with pytest.raises(ValueError, match="no border of 8 edges"):
        neck.grow(shut, vertices, 60.0)


@pytest.mark.data
def test_the_registered_topology_has_a_border_of_48_edges(test_data):
    path = test_data / "assets" / "face_topology.obj"
    drawn = obj_files.read(path).vertices.astype(np.float64)
    topology = mesh_files.read_topology(path, len(drawn))
    vertices = np.fromfile(test_data / "assets" / "021924.bin", "<f4").reshape(-1, 3).astype(np.float64)  # head axes
    assert [len(loop) for loop in neck.border_loops(topology, vertices)] == [48]
    grown = neck.grow(topology, vertices, 60.0)
    assert "no free part" in grown.room
    check_neck(grown, vertices, topology, 60.0)


# Frames.


def test_segments_of_a_file(tmp_path):
    path = tmp_path / "s.csv"
    path.write_text("seg_id,frame_id\nEXP_a,3\nEXP_neutral_peak,5\nEXP_neutral_peak,6\nEXP_a,9\n")
    notes = []
    names, neutral, frames = plan.segments(request(segments=path), [3, 4, 5, 6], notes)
    assert (names, neutral, frames) == (["EXP_a", "EXP_neutral_peak", "EXP_neutral_peak"], 5, [3, 5, 6])
    assert "1 frames are in no segment" in notes[0]
    names, neutral, _ = plan.segments(request(segments=path, neutral=3), [3, 5, 6], [])
    assert neutral == 3 and names == ["EXP_neutral_peak", "EXP_all", "EXP_all"]  # the reader takes the first of that segment
    with pytest.raises(ValueError, match="lists none of the 1 frames"):
        plan.segments(request(segments=path), [77], [])
    path.write_text("segment;frame\nEXP_a;3\n")
    with pytest.raises(ValueError, match="seg_id,frame_id"):
        plan.segments(request(segments=path), [3], [])


def test_segments_without_a_file():
    notes = []
    names, neutral, frames = plan.segments(request(), list(range(20)), notes)
    assert neutral == 0 and names == ["EXP_neutral_peak"] + ["EXP_all"] * 17 + ["EXP_free_face"] * 2
    assert len(notes) == 2 and "--neutral" in notes[1]
    assert plan.segments(request(neutral=7), list(range(20)), [])[0][7] == "EXP_neutral_peak"
    with pytest.raises(ValueError, match="--neutral=33: .*0 to 19"):
        plan.segments(request(neutral=33), list(range(20)), [])


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"subject": "a/b"}, "--subject"), ({"recorded": "2026"}, "--recorded"), ({"scale": 0.0}, "--scale"), ({"height": 8}, "--height"),
        ({"scale": 1.0, "distance": ("a", "b", 1.0)}, "give one of them"), ({"neck": 400.0}, "--neck"), ({"every": 0}, "--every"),
    ],
)  # fmt: skip
def test_requests_that_make_no_sense(changes, words):
    with pytest.raises(ValueError, match=words):
        request(**changes)


def test_meshes_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ValueError, match="must be a folder"):
        meshes.find(tmp_path / "none")
    with pytest.raises(ValueError, match="no file there ends in"):
        meshes.find(tmp_path)
    (tmp_path / "head.obj").write_text("v 0 0 0\n")
    with pytest.raises(ValueError, match="head.obj: the names of meshes must end in the frame's number"):
        meshes.find(tmp_path)
    (tmp_path / "head.obj").rename(tmp_path / "a_001.obj")
    (tmp_path / "b_1.obj").write_text("v nan 0 0\n")
    with pytest.raises(ValueError, match="of frame 1 already"):
        meshes.find(tmp_path)
    with pytest.raises(ValueError, match="b_1.obj"):
        meshes.read(tmp_path / "b_1.obj")
    np.savez(tmp_path / "objects.npz", vertices=np.array([{"a": 1}], object))
    with pytest.raises(ValueError, match="objects.npz: no npz that can be read"):
        meshes.read(tmp_path / "objects.npz")
    for index, (text, words) in enumerate((("1 2 3", "4 numbers"), ("1 2 3 400", "from 0 to 99"), ("1 2 x 4", "numbers of vertices"))):
        (tmp_path / f"{index}.txt").write_text(text)
        with pytest.raises(ValueError, match=words):
            meshes.indices(tmp_path / f"{index}.txt", 100)
    assert meshes.frame_of(pathlib.Path("cam3_000123.ply")) == 123 and dataclasses.is_dataclass(request())
