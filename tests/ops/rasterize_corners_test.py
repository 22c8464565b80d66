"""Values at corners by compiled calls, as GPUs take them, against plain JAX: normals, derivatives for mip levels, their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rasterize_scenes import icosphere

from ava_jax.ops import mesh, native
from ava_jax.ops.mesh import corners

pytestmark = pytest.mark.skipif(not native.serves_meshes(), reason="the compiled module does not serve this backend")


def value_and_gradients(f, *arguments):
    def run(*arguments):
        out, transpose = jax.vjp(f, *arguments)
        weight = np.random.default_rng(0).standard_normal(out.shape).astype(out.dtype)
        return out, *transpose(jnp.asarray(weight))

    return jax.jit(run)(*arguments)


def test_compiled_calls_are_plain_jax(monkeypatch):
    points, faces = icosphere(1)
    vertices = jnp.asarray(np.concatenate([9 * points[:, :2] + [6, 5] * (points[:, 2:] + 3), points[:, 2:] + 3], -1)[None], jnp.float32)
    seen = mesh.rasterize(vertices, faces, 11, 13)
    uvs = jnp.asarray(points[:, :2])

    def change(vertices, uvs):
        return mesh.uv_derivatives(uvs, faces, seen, mesh.barycentric_derivatives(vertices, faces, seen))

    several = jnp.asarray(np.random.default_rng(1).standard_normal((2, 3, *points.shape)), jnp.float32)
    results = []
    for compiled in (True, False):
        monkeypatch.setattr(corners, "_sums_in_order", lambda x, compiled=compiled: compiled)
        normals = value_and_gradients(lambda p: mesh.vertex_normals(p, faces), several)
        results.append((*normals, *value_and_gradients(change, vertices, uvs)))
    for ours, theirs in zip(*results, strict=True):
        assert ours.shape == theirs.shape and np.abs(theirs).max() > 0
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * np.abs(theirs).max())


def test_normals_of_nothing():
    assert mesh.vertex_normals(np.zeros((2, 0, 3), np.float32), np.zeros((0, 3), int)).shape == (2, 0, 3)
    assert not np.asarray(mesh.vertex_normals(np.ones((4, 3), np.float32), np.zeros((0, 3), int))).any()
