"""`rasterize` on a GPU: against plain JAX there, from run to run, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rasterize_scenes import grid, icosphere, soup

from ava_jax.ops import mesh, native

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(jax.default_backend() != "gpu" or not native.rasterizes(), reason="needs a GPU and the compiled module"),
]
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
