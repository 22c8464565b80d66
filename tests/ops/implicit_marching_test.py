"""Marching cubes: closed meshes, the compiled call bit for bit the reference, scikit-image's vertices."""

import collections

import numpy as np
import pytest

from ava_jax.core import tracing
from ava_jax.ops import marching, native
from ava_jax.ops.marching import table
from ava_jax.ops.marching.extract import _padded

needs_native = pytest.mark.skipif(not native.serves_implicit(), reason="the compiled module is not built")


def smooth(*shape, seed=0, border=1.0):
    """Random bumps, outside at the border."""
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    for axis in range(3):
        values = values + np.roll(values, 1, axis)
    for axis in range(3):
        np.moveaxis(values, axis, 0)[[0, -1]] = border
    return values


def edges_of(faces):
    return collections.Counter((int(face[i]), int(face[(i + 1) % 3])) for face in faces for i in range(3))


def test_meshes_are_closed():
    """Each edge belongs to two faces, once each way; noise meets all 256 cases."""
    values = np.random.default_rng(1).standard_normal((17, 12, 21)).astype(np.float32)
    values[[0, -1]], values[:, [0, -1]], values[:, :, [0, -1]] = 1, 1, 1
    found = marching.extract(values, 0.05)
    edges = edges_of(found.faces)
    assert len(found.faces) > 100 and set(edges.values()) == {1}
    assert all((b, a) in edges for a, b in edges)
    assert np.unique(found.faces).tolist() == list(range(len(found.vertices)))


def test_the_table_covers_every_case():
    triangles = table.triangles()
    assert triangles[[0, 255], 0].tolist() == [0, 0] and (triangles[1:255, 0] > 0).all()
    for case, row in enumerate(triangles):  # the corners of the triangles are the edges that are crossed
        crossed = {
            table.edge(corner, axis)
            for corner in range(8)
            for axis in range(3)
            if (case >> corner & 1) != (case >> (corner ^ 1 << axis) & 1)
        }
        assert set(row[1 : 1 + 3 * row[0]].tolist()) == crossed


@needs_native
@pytest.mark.parametrize("shape", [(9, 14, 11), (2, 2, 2), (3, 1, 2)])
def test_the_compiled_call_is_the_reference(shape):
    values = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    values.flat[3] = 0.25  # on the level: inside
    for capacity in (2000, 7):  # room enough, and too little: the first ones, and how many there are
        found, wanted = (_padded("cpu", values, 0.25, capacity, capacity, implementation=i) for i in ("native", "jax"))
        for a, b in zip(found, wanted):
            np.testing.assert_array_equal(a, b)
    assert found[2][0] > 7 or shape != (9, 14, 11)


def test_vertices_are_those_of_scikit_image():
    measure = pytest.importorskip("skimage.measure")
    values = smooth(14, 15, 16, seed=4)
    found = marching.extract(values, 0.1)
    vertices, faces, _, _ = measure.marching_cubes(values, 0.1)
    distance = np.abs(found.vertices[:, None] - vertices[None, :, ::-1]).max(-1)
    # It adds 1e-7 to both ends' values, and has some more vertices within cells whose signs leave the surface's topology open.
    assert distance.min(1).max() < 1e-3
    assert len(found.vertices) > 0.99 * len(vertices)

    def volume(vertices, faces):
        corners = vertices.astype(np.float64)[faces]
        return np.einsum("fi,fi->", corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6

    # Inside is less here as there; axes z, y, x are a reflection, which turns faces around.
    assert volume(*found) == pytest.approx(volume(vertices[:, ::-1], faces[:, ::-1]), rel=0.05)
    assert volume(*found) > 0


def test_more_room_is_made():
    """Noise has far more surface than a shape that fills the grid."""
    values = np.random.default_rng(5).standard_normal((4, 4, 900)).astype(np.float32)
    found = marching.extract(values, 0.0)
    assert len(found.vertices) > 3 * 4 * 900 > 1024 and found.faces.max() == len(found.vertices) - 1


def test_nothing_crosses():
    for values in (np.ones((3, 4, 5)), -np.ones((3, 4, 5)), np.zeros((0, 2, 2)), np.zeros((1, 1, 1))):
        found = marching.extract(values, 0.5)
        assert found.vertices.shape == (0, 3) and found.faces.shape == (0, 3)


def test_what_does_not_fit_is_told():
    with pytest.raises(ValueError, match="2 of the grid's 60 values are not finite"):
        marching.extract(np.where(np.arange(60).reshape(3, 4, 5) < 2, np.nan, 1), 0.0)
    with pytest.raises(ValueError, match=r"must be \[Z, Y, X\]"):
        marching.extract(np.zeros((3, 3)), 0.0)
    with pytest.raises(ValueError, match="must not be negative"):
        marching.extract_padded(np.zeros((3, 3, 3)), 0.0, -1, 2)
    with pytest.raises(ValueError, match="implementation must be"):
        marching.extract(np.zeros((3, 3, 3)), 0.0, implementation="cuda")


def test_elsewhere_than_on_a_cpu_the_host_extracts():
    """Where the compiled call does not serve what is traced for."""
    values = smooth(8, 9, 10)
    wanted = marching.extract(values, 0.1)
    with tracing.traced_for("portable"):
        found = marching.extract(values, 0.1)
    for a, b in zip(found, wanted):
        np.testing.assert_array_equal(a, b)
