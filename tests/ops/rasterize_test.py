"""`rasterize`, `interpolate` and `peel`: compiled against plain JAX, edges of the problem, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rasterize_scenes import grid, icosphere, soup

from ava_jax.core import zbuffer
from ava_jax.core.types import Cameras
from ava_jax.ops import mesh, native
from ava_jax.ops.mesh.rasterize_jax import locate
from ava_jax.ops.varying import vary_together

needs_native = pytest.mark.skipif(not native.serves_meshes(), reason="the compiled module does not serve this backend")
SIZES = [(1, 1), (1, 9), (9, 1), (7, 5), (8, 8), (65, 31)]


def both(vertices, faces, height, width, **options):
    return [mesh.rasterize(vertices, faces, height, width, implementation=i, **options) for i in ("native", "jax")]


@needs_native
@pytest.mark.parametrize("height, width", SIZES)
def test_the_compiled_call_agrees_with_the_reference(height, width):
    vertices, faces = soup(np.random.default_rng(height * 100 + width), 3, 40, height, width)
    ours, theirs = both(vertices, faces, height, width)
    same = np.asarray(ours.index == theirs.index)
    assert same.mean() > 0.995  # float32 may decide otherwise next to an edge
    np.testing.assert_allclose(ours.depth[same], theirs.depth[same], rtol=2e-5)
    np.testing.assert_allclose(ours.barycentrics[same], theirs.barycentrics[same], atol=2e-4)
    assert height * width < 50 or (np.asarray(ours.index) >= 0).any()


@needs_native
def test_in_double_the_reference_sees_the_same_triangles():
    vertices, faces = soup(np.random.default_rng(0), 2, 60, 31, 45)
    with jax.enable_x64(True):
        theirs = mesh.rasterize(vertices.astype(np.float64), faces, 31, 45, implementation="jax")
        expected = jax.tree.map(np.asarray, theirs)
    ours = mesh.rasterize(vertices, faces, 31, 45, implementation="native")
    np.testing.assert_array_equal(ours.index, expected.index)
    np.testing.assert_allclose(ours.depth, expected.depth, rtol=1e-6)
    np.testing.assert_allclose(ours.barycentrics, expected.barycentrics, atol=1e-6)


def test_it_agrees_with_the_z_buffer():
    vertices, faces = soup(np.random.default_rng(5), 1, 50, 40, 30)
    index = np.asarray(mesh.rasterize(vertices, faces, 40, 30).index[0])
    pixel = np.concatenate([vertices[0, :, :2] / vertices[0, :, 2:], vertices[0, :, 2:]], -1)
    expected, _ = zbuffer.rasterize(pixel, faces, 40, 30)
    assert (index != expected).mean() < 0.005


@needs_native
@pytest.mark.parametrize("height, width", [(16, 16), (37, 29), (64, 200)])
def test_each_pixel_of_a_sheet_is_covered_once(height, width):
    rng = np.random.default_rng(width)
    pixel, faces = grid(height // 3, width // 4, height, width, rng)
    depth = rng.uniform(1, 2, (len(pixel), 1))
    vertices = np.concatenate([pixel * depth, depth], -1).astype(np.float32)[None]
    layers = mesh.peel(vertices, faces, height, width, 2)
    assert (np.asarray(layers[0].index) >= 0).all()
    assert (np.asarray(layers[1].index) == -1).all()


@needs_native
@pytest.mark.parametrize("turn", [0.0, 0.3, 1.0])  # not turned, vertices lie on centres of pixels
def test_each_pixel_of_a_closed_surface_is_covered_once_per_side(turn):
    points, faces = icosphere(3)
    points = points @ np.array([[np.cos(turn), np.sin(turn), 0], [-np.sin(turn), np.cos(turn), 0], [0, 0, 1]], np.float32)
    vertices = np.concatenate([40 * points[:, :2] + [32, 30] * (points[:, 2:] + 3), points[:, 2:] + 3], -1).astype(np.float32)[None]
    first, second, third = mesh.peel(vertices, faces, 60, 64, 3)
    np.testing.assert_array_equal(first.index >= 0, second.index >= 0)
    assert (np.asarray(third.index) == -1).all()
    seen = np.asarray(first.index >= 0)
    assert seen.sum() > 500
    assert (np.asarray(first.depth)[seen] < np.asarray(second.depth)[seen]).all()


def test_top_and_left_edges_belong_to_a_square():
    corners = np.array([[2, 3], [6, 3], [2, 7], [6, 7]], np.float32)
    vertices = np.concatenate([corners, np.ones((4, 1))], -1)[None].astype(np.float32)
    expected = np.zeros((10, 10), bool)
    expected[3:7, 2:6] = True
    for faces in ([[0, 1, 2], [1, 3, 2]], [[0, 2, 1], [1, 3, 2]]):
        np.testing.assert_array_equal(mesh.rasterize(vertices, np.asarray(faces), 10, 10).index[0] >= 0, expected)


@pytest.mark.parametrize("implementation", ["native", "jax"])
def test_peeling_goes_through_all_layers_in_order(implementation):
    if implementation == "native" and not native.serves_meshes():
        pytest.skip("the compiled module does not serve this backend")
    big = np.array([[-50, -50], [100, -50], [-50, 100]], np.float32)
    depths = [3.0, 1.0, 2.0, 2.0]  # two at one depth: the lower index first
    vertices = np.concatenate([np.concatenate([big * z, np.full((3, 1), z)], -1) for z in depths])[None].astype(np.float32)
    faces = np.arange(12).reshape(4, 3)
    layers = mesh.peel(vertices, faces, 9, 11, 5, implementation=implementation)
    assert [int(layer.index[0, 4, 5]) for layer in layers] == [1, 2, 3, 0, -1]
    np.testing.assert_allclose([float(layer.depth[0, 4, 5]) for layer in layers], [1, 2, 2, 3, 0], rtol=1e-6)


@pytest.mark.parametrize("height, width", [(1, 1), (5, 3), (40, 40)])
def test_an_empty_mesh(height, width):
    for vertices, faces in ((np.zeros((2, 0, 3)), np.zeros((0, 3), int)), (np.ones((2, 4, 3)), np.zeros((0, 3), int))):
        fragments = mesh.rasterize(vertices.astype(np.float32), faces, height, width)
        assert fragments.index.shape == (2, height, width) and (np.asarray(fragments.index) == -1).all()
        assert not np.asarray(fragments.depth).any() and not np.asarray(fragments.barycentrics).any()
        assert mesh.interpolate(np.zeros((0, 2), np.float32), faces, fragments).shape == (2, height, width, 2)
        gradient = jax.grad(lambda v: jnp.sum(mesh.rasterize(v, faces, height, width).depth))(jnp.asarray(vertices, jnp.float32))
        assert not np.asarray(gradient).any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-42, 0.0])
@pytest.mark.parametrize("component", [0, 1, 2])
def test_a_bad_vertex_spoils_its_own_triangle_alone(bad, component):
    vertices, faces = soup(np.random.default_rng(1), 1, 30, 24, 20)
    clean = np.asarray(mesh.rasterize(np.delete(vertices, [0, 1, 2], 1), faces[:-1], 24, 20).index)
    vertices[0, 1, component] = bad
    fragments = mesh.rasterize(vertices, faces, 24, 20)
    index = np.asarray(fragments.index)
    assert ((index == 0) | (index == np.where(clean >= 0, clean + 1, -1))).all()
    if not np.isfinite(bad):
        assert not (index == 0).any()
    d = jax.grad(lambda v: jnp.sum(mesh.rasterize(v, faces, 24, 20).barycentrics[..., 0]))(jnp.asarray(vertices))
    assert np.isfinite(np.asarray(d)[:, 3:]).all()


def test_faces_that_name_no_vertex_are_left_out():
    vertices, faces = soup(np.random.default_rng(2), 1, 20, 24, 20)
    expected = mesh.rasterize(vertices, faces[5:], 24, 20).index
    faces[:5, 1] = [-1, 60, 2**31 - 1, -(2**31), 1000]
    index = mesh.rasterize(vertices, faces, 24, 20).index
    np.testing.assert_array_equal(index, np.where(np.asarray(expected) >= 0, np.asarray(expected) + 5, -1))


@needs_native
def test_thousands_of_triangles_on_a_pixel_and_tiny_ones():
    rng = np.random.default_rng(3)
    pixel = np.array([4.0, 6.0]) + rng.uniform(-1, 1, (5000, 3, 2))
    depth = rng.uniform(1, 2, (5000, 1, 1)) * np.ones((1, 3, 1))
    vertices = np.concatenate([pixel * depth, depth], -1).reshape(1, -1, 3).astype(np.float32)
    fragments = mesh.rasterize(vertices, np.arange(15000).reshape(-1, 3), 12, 10)
    corners = (pixel - [4.0, 6.0]).astype(np.float64)
    side = np.stack([np.cross(corners[:, i], corners[:, (i + 1) % 3]) for i in range(3)], -1)
    covers = (side > 0).all(-1) | (side < 0).all(-1)
    nearest = np.flatnonzero(covers)[np.argmin(depth[covers, 0, 0])]
    assert covers.sum() > 500 and int(fragments.index[0, 6, 4]) == nearest


@needs_native
def test_a_long_picture_and_a_large_triangle():
    corners = np.array([[-1e7, -1e7], [3e7, -1e7], [-1e7, 3e7]], np.float32)
    vertices = np.concatenate([corners, np.ones((3, 1))], -1)[None].astype(np.float32)
    for height, width in ((2, 8192), (8192, 3)):
        fragments = mesh.rasterize(vertices, np.array([[0, 1, 2]]), height, width)
        assert (np.asarray(fragments.index) == 0).all()


@pytest.mark.parametrize("implementation", ["native", "jax"])
def test_a_floor_that_reaches_behind_the_camera_is_clipped(implementation):
    if implementation == "native" and not native.serves_meshes():
        pytest.skip("the compiled module does not serve this backend")
    points = np.array([[[-9, 1, -9], [9, 1, -9], [-9, 1, 9], [9, 1, 9]]], np.float32)
    cameras = Cameras(np.eye(3)[None], np.zeros((1, 3)), np.full((1, 2), 20.0), np.array([[15.0, 10.0]]))
    cameras = jax.tree.map(lambda x: x.astype(np.float32), cameras)
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    fragments = mesh.rasterize(mesh.project(points, cameras), faces, 31, 31, near=1.2, implementation=implementation)
    row, depth = np.arange(31)[:, None] - 10.0, np.asarray(fragments.depth[0])
    with np.errstate(divide="ignore"):
        expected = np.where(row > 0, 20.0 / row, 0.0)  # where the floor lies, y = 1
    side = np.abs(np.arange(31) - 15.0) * expected / 20 < 9
    expected = np.where((expected >= 1.2) & (expected < 9) & side, expected, 0.0)
    clear = np.abs(expected - 9) > 1e-3
    np.testing.assert_allclose(depth[clear], expected[clear], rtol=1e-5)


def finite_differences(f, x, step=1e-3):
    out = np.zeros(x.shape)
    for at in np.ndindex(x.shape):
        up, down = x.copy(), x.copy()
        up[at] += step
        down[at] -= step
        out[at] = (f(up) - f(down)) / (2 * step)
    return out


@pytest.mark.parametrize("implementation", ["native", "jax"])
@pytest.mark.parametrize("clip", [False, True])
def test_gradients_against_finite_differences(implementation, clip):
    """With the triangle of each pixel held: of barycentrics and depth, in pixel and in clip space."""
    if implementation == "native" and not native.serves_meshes():
        pytest.skip("the compiled module does not serve this backend")
    rng = np.random.default_rng(4)
    vertices, faces = soup(rng, 1, 4, 12, 14)
    if clip:
        vertices = np.concatenate([vertices, vertices[..., 2:] * rng.uniform(-0.5, 0.5, (1, 12, 1)).astype(np.float32)], -1)
    fragments = mesh.rasterize(vertices, faces, 12, 14, implementation=implementation)
    weights = [rng.standard_normal(x.shape).astype(np.float32) for x in fragments[1:]]

    def loss(v):
        drawn = mesh.rasterize(v, faces, 12, 14, implementation=implementation)
        return sum(jnp.sum(x * w) for x, w in zip(drawn[1:], weights))

    with jax.enable_x64(True):
        index = jnp.asarray(np.asarray(fragments.index[0]))
        located = jax.jit(lambda v: locate(v[0], jnp.asarray(faces), index))
        expected = finite_differences(
            lambda v: sum(float(jnp.sum(x * w[0])) for x, w in zip(located(v), weights)), vertices.astype(np.float64), 1e-6
        )
    gradient = np.asarray(jax.grad(loss)(jnp.asarray(vertices)))
    np.testing.assert_allclose(gradient, expected, atol=2e-4 * np.abs(expected).max())


@needs_native
def test_gradients_of_a_batch_agree_with_the_reference_and_repeat_to_the_bit():
    vertices, faces = soup(np.random.default_rng(6), 3, 60, 70, 50)
    values = np.random.default_rng(7).standard_normal((3, vertices.shape[1], 5)).astype(np.float32)
    weight = np.random.default_rng(8).standard_normal((3, 70, 50, 5)).astype(np.float32)

    def loss(vertices, values, implementation):
        fragments = mesh.rasterize(vertices, faces, 70, 50, implementation=implementation)
        return jnp.sum(weight * mesh.interpolate(values, faces, fragments, implementation=implementation) * fragments.depth[..., None])

    ours, theirs = (jax.jit(jax.grad(lambda v, x, i=i: loss(v, x, i), (0, 1))) for i in ("native", "jax"))
    first, again, expected = ours(vertices, values), ours(vertices, values), theirs(vertices, values)
    for a, b, c in zip(first, again, expected):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_allclose(a, c, atol=2e-3 * np.abs(c).max())


@needs_native
def test_values_of_all_images_sum_their_gradient():
    vertices, faces = soup(np.random.default_rng(9), 2, 20, 20, 24)
    values = np.random.default_rng(10).standard_normal((60, 3)).astype(np.float32)
    fragments = mesh.rasterize(vertices, faces, 20, 24)

    def loss(values):
        return jnp.sum(jnp.sin(mesh.interpolate(values, faces, fragments)))

    each = jax.grad(loss)(jnp.broadcast_to(values, (2, 60, 3)))
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(values)), each.sum(0), rtol=1e-4, atol=1e-5)


def test_vmap_is_a_loop_over_its_axis():
    vertices, faces = soup(np.random.default_rng(11), 4, 10, 9, 12)
    grouped = jnp.asarray(vertices).reshape(2, 2, -1, 3)

    def loss(v):
        fragments = mesh.rasterize(v, faces, 9, 12)
        return jnp.sum(mesh.interpolate(v, faces, fragments) ** 2)

    expected = jax.grad(loss)(jnp.asarray(vertices))
    np.testing.assert_allclose(jax.vmap(jax.grad(loss))(grouped).reshape(vertices.shape), expected, rtol=1e-5, atol=1e-5)


def test_clip_space_agrees_with_pixels():
    vertices, faces = soup(np.random.default_rng(12), 2, 30, 20, 32)
    pixels = mesh.rasterize(vertices, faces, 20, 32, near=0.5)
    w = vertices[..., 2]
    x, y = (2 * (vertices[..., i] + 0.5 * w) / size - w for i, size in ((0, 32), (1, 20)))
    near, far = 0.5, 10.0
    z = (far + near) / (far - near) * w - 2 * far * near / (far - near)
    clip = mesh.rasterize(mesh.from_clip(np.stack([x, y, z, w], -1), 20, 32), faces, 20, 32)
    same = np.asarray(pixels.index == clip.index)
    assert same.mean() > 0.995
    np.testing.assert_allclose(pixels.barycentrics[same], clip.barycentrics[same], atol=2e-4)
    assert (np.asarray(clip.depth) >= -1).all() and (np.asarray(clip.depth) <= 1).all()


def test_indices_stay_whole_numbers_however_large():
    """Of vertices and triangles from 2^24 on, which float32 does not tell apart."""
    large = np.array([2**24 + 1, 2**31 - 1, -(2**24) - 1], np.int32)
    np.testing.assert_array_equal(vary_together(jnp.asarray(large), jnp.ones(3))[0], large)


def test_an_orthographic_camera_of_clip_space():
    """w = 1: depth is z alone, and barycentrics are affine."""
    vertices = np.array(
        [[[-1, -1, 0.5, 1], [1, -1, 0.5, 1], [-1, 1, 0.5, 1], [-1, -1, -0.5, 1], [1, -1, 0.7, 1], [-1, 1, -0.5, 1]]], np.float32
    )
    fragments = mesh.rasterize(mesh.from_clip(vertices, 16, 16), np.array([[0, 1, 2], [3, 4, 5]]), 16, 16)
    x = (np.arange(16) + 0.5) / 8 - 1
    second = -0.5 + 0.6 * (x + 1)
    inside = x[None] + x[:, None] < -1e-6
    np.testing.assert_allclose(
        np.asarray(fragments.depth[0])[inside], np.broadcast_to(np.minimum(second, 0.5), (16, 16))[inside], atol=1e-6
    )


@pytest.mark.parametrize(
    "change, said",
    [
        ({"vertices": np.zeros((4, 3), np.float32)}, "vertices must be"),
        ({"vertices": np.zeros((1, 4, 2), np.float32)}, "vertices must be"),
        ({"vertices": np.zeros((1, 4, 3), np.int32)}, "floating-point"),
        ({"faces": np.zeros((2, 4), np.int32)}, "faces must be"),
        ({"faces": np.zeros((2, 3), np.float32)}, "faces must hold integers"),
        ({"height": 0}, "height"),
        ({"near": 0.0}, "near"),
        ({"implementation": "cuda"}, "implementation"),
    ],
)
def test_errors_name_the_argument(change, said):
    arguments = {"vertices": np.zeros((1, 4, 3), np.float32), "faces": np.zeros((2, 3), np.int32), "height": 4, "width": 4}
    with pytest.raises(ValueError, match=said):
        mesh.rasterize(**{**arguments, **change})
