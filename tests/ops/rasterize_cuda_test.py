"""The rasteriser on a GPU: against plain JAX there, from run to run, and its gradients.

All but `rasterize` itself is off unless AVA_RASTERIZE_CUDA=1: `scripts/check_gpu.sh --only rasterize` sets it.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rasterize_scenes import grid, icosphere, soup

from ava_jax.core.types import Cameras
from ava_jax.ops import mesh, native

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu" or not native.rasterizes(), reason="needs a GPU and the compiled module"),
]
needs_all = pytest.mark.skipif(
    jax.default_backend() != "gpu" or not native.serves_meshes(), reason="needs AVA_RASTERIZE_CUDA=1: these kernels are off by default"
)
SIZES = [(1, 1), (1, 9), (9, 1), (7, 5), (65, 31), (301, 503)]


def both(vertices, faces, height, width, **options):
    return [mesh.rasterize(vertices, faces, height, width, implementation=i, **options) for i in ("native", "jax")]


@pytest.mark.parametrize("height, width", SIZES)
def test_it_agrees_with_the_reference(height, width):
    vertices, faces = soup(np.random.default_rng(height * 100 + width), 3, 40, height, width)
    ours, theirs = both(vertices, faces, height, width)
    same = np.asarray(ours.index == theirs.index)
    assert same.mean() > 0.995  # float32 may decide otherwise next to an edge
    np.testing.assert_allclose(np.asarray(ours.depth)[same], np.asarray(theirs.depth)[same], rtol=2e-5)
    np.testing.assert_allclose(np.asarray(ours.barycentrics)[same], np.asarray(theirs.barycentrics)[same], atol=2e-4)
    assert height * width < 50 or (np.asarray(ours.index) >= 0).any()


def test_it_sees_what_the_cpu_sees_bit_by_bit():
    vertices, faces = soup(np.random.default_rng(3), 2, 200, 200, 301)
    ours = mesh.rasterize(vertices, faces, 200, 301)
    with jax.default_device(jax.devices("cpu")[0]):
        theirs = jax.jit(lambda v: mesh.rasterize(v, faces, 200, 301, implementation="jax"))(jnp.asarray(vertices))
    assert (np.asarray(ours.index) == np.asarray(theirs.index)).mean() > 0.998


@pytest.mark.parametrize("height, width", [(16, 16), (37, 29), (64, 200)])
def test_each_pixel_of_a_sheet_is_covered_once(height, width):
    pixel, faces = grid(height // 3, width // 4, height, width, np.random.default_rng(width))
    depth = np.random.default_rng(0).uniform(1, 2, (len(pixel), 1))
    vertices = np.concatenate([pixel * depth, depth], -1).astype(np.float32)[None]
    layers = mesh.peel(vertices, faces, height, width, 2)
    assert (np.asarray(layers[0].index) >= 0).all()
    assert (np.asarray(layers[1].index) == -1).all()


def test_large_triangles_of_all_depths_and_images_and_the_same_bits_again():
    rng = np.random.default_rng(1)
    corners = rng.uniform(-300, 900, (3, 5000 * 3, 2))
    depth = np.repeat(rng.uniform(1, 9, (3, 5000, 1)), 3, 1)
    vertices = np.concatenate([corners * depth, depth], -1).astype(np.float32)
    faces = np.arange(15000, dtype=np.int32).reshape(-1, 3)
    first, second = (mesh.rasterize(vertices, faces, 480, 600) for _ in range(2))
    for one, other in zip(first, second):
        np.testing.assert_array_equal(one, other)
    index, found = np.asarray(first.index), np.asarray(first.depth)
    seen = index >= 0
    assert seen.mean() > 0.9
    own = np.take_along_axis(depth[:, ::3, 0], np.maximum(index, 0).reshape(3, -1), 1).reshape(index.shape)
    np.testing.assert_allclose(found[seen], own[seen], rtol=1e-5)  # triangles are parallel to the image
    ours, theirs = both(vertices[:, :900], faces[:300], 120, 150)
    assert (np.asarray(ours.index) == np.asarray(theirs.index)).mean() > 0.998


def test_nothing_to_draw():
    for vertices, faces in (
        (np.zeros((2, 0, 3)), np.zeros((0, 3))),
        (np.full((2, 3, 3), np.nan), [[0, 1, 2]]),
        (np.ones((2, 3, 3)), [[0, 1, 9]]),
    ):
        drawn = mesh.rasterize(np.asarray(vertices, np.float32), np.asarray(faces, np.int32), 5, 7)
        assert (np.asarray(drawn.index) == -1).all()
        assert not np.asarray(drawn.depth).any() and not np.asarray(drawn.barycentrics).any()


def test_its_gradient_is_the_references():
    points, faces = icosphere(3)
    vertices = jnp.asarray(np.concatenate([40 * points[:, :2] + [32, 30] * (points[:, 2:] + 3), points[:, 2:] + 3], -1)[None], jnp.float32)
    weight = jnp.asarray(np.random.default_rng(0).standard_normal((1, 60, 64, 4)), jnp.float32)

    def value(vertices, implementation):
        drawn = mesh.rasterize(vertices, faces, 60, 64, implementation=implementation)
        return jnp.sum(weight * jnp.concatenate([drawn.barycentrics, drawn.depth[..., None]], -1))

    ours, theirs = (jax.grad(value)(vertices, i) for i in ("native", "jax"))
    assert np.linalg.norm(ours - theirs) < 1e-3 * np.linalg.norm(theirs)


def test_clip_space_and_batches_under_vmap():
    rng = np.random.default_rng(2)
    clip = np.concatenate([rng.uniform(-50, 100, (2, 60, 2)), np.ones((2, 60, 1)), rng.uniform(-1.2, 1.2, (2, 60, 1))], -1).astype(
        np.float32
    )
    faces = np.arange(60, dtype=np.int32).reshape(-1, 3)
    ours, theirs = both(clip, faces, 40, 50)
    assert (np.asarray(ours.index) == np.asarray(theirs.index)).mean() > 0.995
    assert (np.asarray(ours.index) >= 0).any()
    mapped = jax.vmap(lambda v: mesh.rasterize(v[None], faces, 40, 50).index[0])(clip)
    np.testing.assert_array_equal(mapped, ours.index)


def same_bits(f, *arguments, times=4):
    """f(*arguments), which must come out alike each time: its first runs, and those that replay a command buffer."""
    run = jax.jit(f)
    first, *others = (jax.tree.map(np.asarray, run(*arguments)) for _ in range(times))
    for other in others:
        jax.tree.map(np.testing.assert_array_equal, first, other)
    return first


def near_to(ours, theirs, bound):
    """By the norm of the difference, each part."""
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        assert np.linalg.norm(a - b) <= bound * np.linalg.norm(b), np.linalg.norm(a - b) / np.linalg.norm(b)


def of_fragments(vertices, faces, height, width, seed=0):
    """A function (vertices, implementation) of barycentrics and depth, and the scene's fragments."""
    drawn = mesh.rasterize(vertices, faces, height, width)
    weight = [jnp.asarray(np.random.default_rng(seed).standard_normal(x.shape), jnp.float32) for x in drawn[1:]]

    def value(v, implementation):
        found = mesh.rasterize(v, faces, height, width, implementation=implementation)
        return sum(jnp.vdot(w, x) for w, x in zip(weight, found[1:]))

    return value, drawn


@needs_all
@pytest.mark.parametrize("components", [3, 4])
@pytest.mark.parametrize("height, width", [(1, 9), (65, 31), (301, 503)])
def test_gradients_of_vertices(height, width, components):
    """Among the triangles some of 2,048 pixels and more, which several warps take."""
    rng = np.random.default_rng(height)
    vertices, faces = soup(rng, 3, 40, height, width)
    if components == 4:
        vertices = np.concatenate([vertices, vertices[..., 2:] * rng.uniform(-0.5, 0.5, (3, 120, 1))], -1).astype(np.float32)
    value, _ = of_fragments(vertices, faces, height, width)
    ours = same_bits(jax.grad(lambda v: value(v, None)), jnp.asarray(vertices))
    near_to(ours, jax.grad(lambda v: value(v, "jax"))(jnp.asarray(vertices)), 2e-3)


@needs_all
def test_gradients_of_more_triangles_than_a_pass_takes():
    points, faces = icosphere(5)
    vertices = np.concatenate([400 * points[:, :2] + [500, 500] * (points[:, 2:] + 3), points[:, 2:] + 3], -1).astype(np.float32)
    vertices = jnp.asarray(np.repeat(vertices[None], 64, 0))  # 1.3 million
    rng = np.random.default_rng(0)
    weight = jnp.asarray(rng.standard_normal((250, 250, 3)), jnp.float32)
    gradient = jax.grad(lambda v: jnp.sum(weight * mesh.rasterize(v / jnp.asarray([4.0, 4.0, 1.0]), faces, 250, 250).barycentrics))
    together = same_bits(gradient, vertices, times=2)
    near_to(together, np.repeat(np.asarray(gradient(vertices[:1])), 64, 0), 1e-6)  # sums are scaled by the number of triangles


@needs_all
def test_a_cotangent_that_is_not_finite_spoils_its_triangle_alone():
    vertices, faces = soup(np.random.default_rng(5), 1, 30, 60, 70)
    drawn, transpose = jax.vjp(lambda v: mesh.rasterize(v, faces, 60, 70), jnp.asarray(vertices))
    row, column = np.argwhere(np.asarray(drawn.index[0]) >= 0)[40]
    cotangent = np.ones(drawn.barycentrics.shape, np.float32)
    cotangent[0, row, column, 1] = np.nan
    none = np.zeros(drawn.index.shape, jax.dtypes.float0)
    d = np.asarray(transpose(mesh.Fragments(none, jnp.asarray(cotangent), jnp.ones_like(drawn.depth)))[0])
    spoilt = np.zeros(90, bool)
    spoilt[faces[int(drawn.index[0, row, column])]] = True
    np.testing.assert_array_equal(~np.isfinite(d[0]).all(-1), spoilt)


@needs_all
@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("channels", [1, 3, 8])
def test_interpolation(channels, common):
    rng = np.random.default_rng(channels)
    vertices, faces = soup(rng, 2, 60, 131, 97)
    drawn = mesh.rasterize(vertices, faces, 131, 97)
    values = jnp.asarray(rng.standard_normal((180, channels) if common else (2, 180, channels)), jnp.float32)
    weight = jnp.asarray(rng.standard_normal((2, 131, 97, channels)), jnp.float32)

    def value(values, barycentrics, implementation=None):
        out = mesh.interpolate(values, faces, drawn._replace(barycentrics=barycentrics), implementation=implementation)
        return jnp.vdot(weight, out), out

    arguments = values, drawn.barycentrics
    ours = same_bits(jax.grad(value, (0, 1), has_aux=True), *arguments)
    near_to(ours, jax.grad(lambda *x: value(*x, "jax"), (0, 1), has_aux=True)(*arguments), 1e-5)


@needs_all
@pytest.mark.parametrize("side", [16, 700])  # larger and smaller than the picture
@pytest.mark.parametrize("wrap", ["wrap", "clamp", "zero"])
@pytest.mark.parametrize("filtering", ["nearest", "bilinear", "trilinear"])
def test_textures(filtering, wrap, side):
    rng = np.random.default_rng(side)
    texture = jnp.asarray(rng.standard_normal((side, side + 3, 3) if wrap == "clamp" else (2, side, side + 3, 4)), jnp.float32)
    y, x = np.meshgrid(np.linspace(-0.1, 1.2, 157), np.linspace(-0.2, 1.1, 203), indexing="ij")
    uv = jnp.asarray(np.stack([x, y], -1) + 0.003 * rng.standard_normal((2, 157, 203, 2)), jnp.float32)
    level = jnp.asarray(rng.uniform(-1, 5, uv.shape[:3]), jnp.float32)
    where = rng.random(uv.shape[:3]) < 0.8
    weight = jnp.asarray(rng.standard_normal((2, 157, 203, texture.shape[-1])), jnp.float32)

    def value(texture, uv, level, implementation=None):
        mips = mesh.mipmaps(texture, 4) if filtering == "trilinear" else texture
        options = {"filtering": filtering, "wrap": wrap, "where": where, "implementation": implementation}
        out = mesh.sample_texture(mips, uv, level=level if filtering == "trilinear" else None, **options)
        return jnp.vdot(weight, out), out

    arguments = texture, uv, level
    ours = same_bits(jax.grad(value, (0, 1, 2), has_aux=True), *arguments)
    near_to(ours, jax.grad(lambda *x: value(*x, "jax"), (0, 1, 2), has_aux=True)(*arguments), 2e-3)


@needs_all
@pytest.mark.parametrize("height, width", [(23, 31), (1, 17), (400, 333)])
def test_outlines(height, width):
    rng = np.random.default_rng(height)
    vertices, faces = soup(rng, 2, 12, height, width)
    edges, colours = mesh.mesh_edges(faces), jnp.asarray(rng.standard_normal((36, 3)), jnp.float32)
    weight = jnp.asarray(rng.standard_normal((2, height, width, 3)), jnp.float32)

    def value(vertices, implementation=None):
        chosen = {"implementation": implementation}
        drawn = mesh.rasterize(vertices, faces, height, width)
        marks = mesh.find_outlines(vertices, faces, edges, drawn, **chosen)
        image = mesh.interpolate(colours, faces, mesh.hold_outlines(drawn, marks), **chosen)
        return jnp.vdot(weight, mesh.with_outlines(image, vertices, faces, edges, drawn, marks, **chosen)), marks

    ours, marks = same_bits(jax.grad(value, has_aux=True), jnp.asarray(vertices))
    theirs, others = jax.jit(jax.grad(lambda v: value(v, "jax"), has_aux=True))(jnp.asarray(vertices))
    assert (marks != np.asarray(others)).mean() < 0.01 and (marks & 1).any()
    near_to(ours, theirs, 2e-2)


@needs_all
def test_the_whole_chain_under_jit_vmap_and_grad():
    points, faces = icosphere(3)
    rng = np.random.default_rng(0)
    moved = jnp.asarray(points + 0.1 * rng.standard_normal((3, 1, 3)), jnp.float32)
    uvs = (points[:, :2] * 0.45 + 0.5).astype(np.float32)
    texture, edges = jnp.asarray(rng.random((3, 64, 64, 3)), jnp.float32), mesh.mesh_edges(faces)
    camera = Cameras(np.eye(3)[None], np.array([[0, 0, -4.0]]), np.full((1, 2), 300.0), np.array([[100.0, 90.0]]))
    camera = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), camera)
    weight = jnp.asarray(rng.standard_normal((181, 203, 3)), jnp.float32)

    def value(points, texture, implementation=None):
        drawn = mesh.render_mesh(
            points[None], faces, camera, 181, 203, texture=texture, uvs=uvs, edges=edges, outputs=("colour",), implementation=implementation
        )
        return jnp.vdot(weight, drawn.colour[0])

    each = same_bits(lambda p, t: jax.lax.map(lambda x: jax.grad(value, (0, 1))(*x), (p, t)), moved, texture)
    mapped = same_bits(jax.vmap(jax.grad(value, (0, 1))), moved, texture)
    near_to(each, mapped, 1e-3)  # what XLA makes around the calls rounds otherwise
    theirs = jax.grad(lambda p, t: value(p, t, "jax"), (0, 1))(moved[0], texture[0])
    near_to([x[0] for x in mapped], theirs, 2e-2)


@needs_all
def test_nothing_has_a_gradient_of_zero():
    for vertices, faces in (
        (np.zeros((2, 0, 3)), np.zeros((0, 3))),
        (np.ones((2, 3, 3)), np.zeros((0, 3))),
        (np.full((2, 3, 3), np.nan), [[0, 1, 2]]),
    ):
        vertices, faces = jnp.asarray(vertices, jnp.float32), np.asarray(faces, np.int32)
        edges = mesh.mesh_edges(faces)

        def value(vertices):
            drawn = mesh.rasterize(vertices, faces, 5, 7)
            marks = mesh.find_outlines(vertices, faces, edges, drawn)
            image = mesh.interpolate(jnp.ones((vertices.shape[1], 2)), faces, drawn)
            return jnp.sum(mesh.with_outlines(image, vertices, faces, edges, drawn, marks)) + jnp.sum(drawn.depth)

        assert not np.asarray(jax.grad(value)(vertices)).any()
