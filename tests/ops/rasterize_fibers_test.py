"""The rasteriser's CUDA kernels where there is no GPU: compiled for the CPU, one fiber per thread (fibers/), against the CPU's kernels.

That finds wrong indices, values and meetings of threads, and sums that depend on who comes first; neither what is slow nor what the
hardware alone does.
"""

import ctypes
import pathlib
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rasterize_scenes import icosphere, soup

from ava_jax.ops import mesh, native
from ava_jax.ops.mesh.rasterize import limits

HERE = pathlib.Path(__file__).parent
ORDERS = ((1, 0), (2, 1), (2, 2))  # of threads: in reverse, shuffled
OPTIONS = "-std=c++17 -O1 -fPIC -shared -D__CUDA_ARCH__=900 -DAVA_SMALL_LIMITS -fno-math-errno -ffp-contract=off -U_FORTIFY_SOURCE -Ifibers"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux") or not shutil.which("g++"), reason="needs Linux and g++"),
    pytest.mark.skipif(not native.serves_meshes() or jax.default_backend() != "cpu", reason="compares with the compiled module of CPUs"),
]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory):
    library = tmp_path_factory.mktemp("fibers") / "kernels.so"
    command = ["g++", *OPTIONS.split(), "rasterize_fibers.cc", "fibers/fibers.cc", "-o", library]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(library))


def call(function, *arguments):
    """With arrays as pointers, floats and integers as they are; None is null."""
    held = [np.ascontiguousarray(a) if isinstance(a, (np.ndarray, jax.Array)) else a for a in arguments]
    kinds = {np.ndarray: lambda a: ctypes.c_void_p(a.ctypes.data), float: ctypes.c_float, np.float32: ctypes.c_float}
    assert function(*(kinds.get(type(a), lambda x: x)(a) for a in held)) == 0


def in_all_orders(kernels, run):
    """What run() returns, which must be the same bits whichever thread comes first."""
    results = []
    for order in ORDERS:
        kernels.set_order(*order)
        results.append(run())
    for other in results[1:]:
        for a, b in zip(results[0], other):
            np.testing.assert_array_equal(a, b)
    return results[0]


def scene(kind, height, width, rng):
    """Vertices [B, V, 3 or 4] and faces."""
    if kind == "sphere":
        points, faces = icosphere(1)
        depth = points[:, 2:] + 3
        place = np.array([1.2 * height, 1.2 * width])[::-1] * points[:, :2] + np.array([width, height]) / 2 * depth
        return np.repeat(np.concatenate([place, depth], -1)[None], 2, 0).astype(np.float32), faces
    vertices, faces = soup(rng, 2, 12, height, width)
    if kind == "clip":
        vertices = np.concatenate([vertices, vertices[..., 2:] * rng.uniform(-0.5, 0.5, (2, 36, 1))], -1).astype(np.float32)
    if kind == "near":
        vertices[:, ::5, 2] = -0.5
        vertices[0, 3, 1], vertices[1, 7, 0] = np.nan, np.inf
        faces[3, 1], faces[4, 2] = -1, 2**30
    return vertices, faces


def sizes_of(vertices, faces, height, width, last=0):
    return np.array([*vertices.shape[:2], len(faces), vertices.shape[2], height, width, last], np.int64)


def bounds(vertices):
    return tuple(float(x) for x in limits(jnp.asarray(vertices), mesh.rasterize.__kwdefaults__["near"]).values())


SCENES = [("sphere", 31, 27), ("soup", 23, 40), ("clip", 17, 33), ("near", 29, 21), ("soup", 1, 19), ("soup", 13, 1)]


def fragment_gradients(kernels, vertices, faces, fragments, given):
    """Of the CPU's kernel, and of the one for GPUs in all orders; cotangents `given` of barycentrics and depth."""
    height, width = fragments.index.shape[1:]
    transpose = jax.vjp(lambda v: mesh.rasterize(v, faces, height, width), jnp.asarray(vertices))[1]
    none = np.zeros(fragments.index.shape, jax.dtypes.float0)
    expected = np.asarray(transpose(mesh.Fragments(none, *map(jnp.asarray, given)))[0])

    def run():
        found = np.full_like(vertices, np.inf)
        sizes = sizes_of(vertices, faces, height, width)
        call(kernels.rasterize_gradient, sizes, vertices, faces, *bounds(vertices), fragments.index, *given, found)
        return [found]

    return expected, in_all_orders(kernels, run)[0]


@pytest.mark.parametrize("kind, height, width", SCENES)
def test_gradients_of_fragments(kernels, kind, height, width):
    rng = np.random.default_rng(height)
    vertices, faces = scene(kind, height, width, rng)
    fragments = mesh.rasterize(vertices, faces, height, width)
    given = [rng.standard_normal(x.shape).astype(np.float32) for x in fragments[1:]]
    expected, found = fragment_gradients(kernels, vertices, faces, fragments, given)
    assert (np.asarray(fragments.index) >= 0).any()
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=1e-9 * np.abs(expected).max())


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_spoils_its_own_sums(kernels, bad):
    vertices, faces = scene("sphere", 19, 17, None)
    fragments = mesh.rasterize(vertices, faces, 19, 17)
    given = [np.ones(x.shape, np.float32) for x in fragments[1:]]
    row, column = np.argwhere(np.asarray(fragments.index[1]) >= 0)[30]
    given[1][1, row, column] = bad
    expected, found = fragment_gradients(kernels, vertices, faces, fragments, given)
    assert np.isnan(found[1]).sum() == 9
    np.testing.assert_array_equal(np.isnan(found), ~np.isfinite(expected))
    uv = np.array([[0.1, 0.1], [0.6, 0.7], [0.6, 0.7], [0.1, 0.2]], np.float32)[None, None]
    cotangent = np.ones((1, 1, 4, 2), np.float32)
    cotangent[0, 0, 1, 1] = -bad
    uv[0, 0, 3, 0] = bad
    expected = np.asarray(jax.vjp(lambda t: mesh.sample_texture(t, uv), jnp.ones((6, 7, 2)))[1](jnp.asarray(cotangent))[0])
    found = np.zeros((1, 42, 2), np.float32)
    spare = np.zeros((4, 2), np.float32)
    texels, sizes = np.ones((42, 2), np.float32), np.array([1, 1, 4, 2, 6, 7])
    call(kernels.sample, sizes, 1, 1, 1, 1, texels, uv, None, None, cotangent, spare.copy(), spare, None, found)
    assert np.isnan(found).any() and not np.isnan(found).all()
    np.testing.assert_array_equal(np.isnan(found.reshape(expected.shape)), ~np.isfinite(expected))


def test_nothing(kernels):
    """No triangles, no edges: gradients are 0."""
    vertices, faces, edges = np.ones((2, 3, 3), np.float32), np.zeros((0, 3), np.int32), np.zeros((0, 4), np.int32)
    seen = np.full((2, 5, 7), -1, np.int32), np.zeros((2, 5, 7, 3), np.float32), np.zeros((2, 5, 7), np.float32)
    found, sizes = np.full_like(vertices, np.inf), sizes_of(vertices, faces, 5, 7)
    call(kernels.rasterize_gradient, sizes, vertices, faces, 0.1, 9.0, *seen, found)
    assert not found.any()
    marks, found, image = np.full((2, 5, 7), 255, np.uint8), np.full_like(vertices, np.inf), np.ones((2, 5, 7, 1), np.float32)
    call(kernels.mark, sizes, vertices, faces, 0.1, 9.0, edges, *seen, marks)
    call(kernels.outline_gradient, sizes, vertices, faces, 0.1, 9.0, edges, *seen, marks, ctypes.c_int64(1), image, image, found)
    assert not marks.any() and not found.any()


@pytest.mark.parametrize("common", [True, False])
@pytest.mark.parametrize("channels, height, width", [(1, 9, 17), (3, 23, 40), (5, 17, 1)])
def test_interpolation(kernels, common, channels, height, width):
    rng = np.random.default_rng(channels)
    vertices, faces = scene("near", height, width, rng)
    fragments = mesh.rasterize(vertices, faces, height, width)
    values = rng.standard_normal((1 if common else 2, vertices.shape[1], channels)).astype(np.float32)
    cotangent = rng.standard_normal((2, height, width, channels)).astype(np.float32) * np.float32(1e-9)
    out, transpose = jax.vjp(lambda v, b: mesh.interpolate(v, faces, fragments._replace(barycentrics=b)), values, fragments.barycentrics)
    expected = [np.asarray(x) for x in (out, *transpose(jnp.asarray(cotangent))[::-1])]

    def run():
        found = [np.full_like(x, np.inf) for x in expected]
        sizes = sizes_of(values, faces, height, width, channels)
        sizes[0] = 2
        call(kernels.interpolate, sizes, int(common), values, faces, fragments.index, fragments.barycentrics, cotangent, *found)
        return found

    for mine, theirs in zip(in_all_orders(kernels, run), expected):
        np.testing.assert_allclose(mine, theirs, rtol=2e-6, atol=1e-6 * max(np.abs(theirs).max(), 1e-12))


@pytest.mark.parametrize("kind, height, width", SCENES)
def test_outlines(kernels, kind, height, width):
    rng = np.random.default_rng(width)
    vertices, faces = scene(kind, height, width, rng)
    if kind == "near":
        faces = np.concatenate([faces[:3], faces[5:]])  # edges name vertices
    edges = mesh.mesh_edges(faces)
    fragments = mesh.rasterize(vertices, faces, height, width)
    expected_marks = np.asarray(mesh.find_outlines(vertices, faces, edges, fragments))
    image, cotangent = (rng.standard_normal((2, height, width, 3)).astype(np.float32) for _ in range(2))
    moved = jax.vjp(lambda v: mesh.with_outlines(image, v, faces, edges, fragments, expected_marks), jnp.asarray(vertices))[1]
    expected = np.asarray(moved(jnp.asarray(cotangent))[0])
    seen = fragments.index, fragments.barycentrics, fragments.depth

    def run():
        sizes = sizes_of(vertices, faces, height, width, len(edges))
        marks, found = np.full_like(expected_marks, 255), np.full_like(vertices, np.inf)
        call(kernels.mark, sizes, vertices, faces, *bounds(vertices), edges, *seen, marks)
        arguments = sizes, vertices, faces, *bounds(vertices), edges, *seen, expected_marks, ctypes.c_int64(3), image, cotangent, found
        call(kernels.outline_gradient, *arguments)
        return marks, found

    marks, found = in_all_orders(kernels, run)
    np.testing.assert_array_equal(marks, expected_marks)
    assert (marks & 1).any() and np.abs(expected).max() > 0
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9 * np.abs(expected).max())


FILTERS = ["nearest", "bilinear", "trilinear"]


@pytest.mark.parametrize("filtering, wrap, common, channels", [
    ("nearest", "wrap", False, 1), ("bilinear", "clamp", True, 3), ("bilinear", "zero", False, 4), ("trilinear", "wrap", True, 3),
    ("trilinear", "clamp", False, 2),
])  # fmt: skip
def test_textures(kernels, filtering, wrap, common, channels):
    rng = np.random.default_rng(channels)
    height, width = 11, 19
    texture = rng.standard_normal((1 if common else 2, 12, 20, channels)).astype(np.float32)
    levels = [np.asarray(x) for x in mesh.mipmaps(texture, 3 if filtering == "trilinear" else 1)]
    uv = rng.uniform(-0.6, 1.6, (2, height, width, 2)).astype(np.float32)
    level = rng.uniform(-1, 3, (2, height, width)).astype(np.float32) if filtering == "trilinear" else None
    where = rng.random((2, height, width)) < 0.7
    where[:, :8, :16] = False  # a tile that reads nothing
    cotangent = rng.standard_normal((2, height, width, channels)).astype(np.float32) * np.float32(1e6)
    options = {"filtering": filtering, "wrap": wrap, "where": where}

    def read(levels, uv, level):
        return mesh.sample_texture(levels if filtering == "trilinear" else levels[0], uv, level=level, **options)

    out, transpose = jax.vjp(read, levels, uv, level)
    d_levels, d_uv, d_level = transpose(jnp.asarray(cotangent))
    packed, d_packed = (np.concatenate([np.asarray(x).reshape(len(x), -1, channels) for x in levels], 1) for levels in (levels, d_levels))
    expected = [np.asarray(x) for x in (out, d_uv)] + [np.zeros(0, np.float32) if level is None else np.asarray(d_level), d_packed]
    sizes = np.array([2, height, width, channels, *(n for x in levels for n in x.shape[1:3])], np.int64)
    chosen = len(levels), int(common), int(filtering != "nearest"), ("wrap", "clamp", "zero").index(wrap)

    def run():
        found = [np.full_like(x, np.inf) for x in expected]
        pointers = [None if x.size == 0 else x for x in found]
        call(kernels.sample, sizes, *chosen, packed, uv, level, where, cotangent, *pointers)
        return found

    for mine, theirs in zip(in_all_orders(kernels, run), expected):
        np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=1e-6 * np.abs(theirs).max(initial=0))
