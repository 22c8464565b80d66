"""The uniform Laplacian by hand, against a dense matrix, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.tasks.mesh_fit.laplacian import Neighbours, roughness

# A square of two triangles: 0 and 2 have three neighbours, 1 and 3 two.
SQUARE = np.array([[0, 1, 2], [0, 2, 3]])
CORNERS = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 3]], np.float32)


def dense(faces, count):
    """The matrix, from its definition."""
    linked = np.zeros((count, count))
    for a, b, c in faces:
        for i, j in ((a, b), (b, c), (c, a)):
            if i != j:
                linked[i, j] = linked[j, i] = 1
    degree = linked.sum(1)
    return np.where(degree[:, None] > 0, linked / np.maximum(degree, 1)[:, None] - np.eye(count), 0)


def sphere(count, seed=0):
    """Faces of a convex hull of random points: degrees from 3 to some 10."""
    from scipy.spatial import ConvexHull

    points = np.random.default_rng(seed).standard_normal((count, 3))
    return ConvexHull(points / np.linalg.norm(points, axis=1, keepdims=True)).simplices


def fan(count):
    """A pole that all others are neighbours of."""
    rim = np.arange(1, count)
    return np.stack([np.zeros_like(rim), rim, np.roll(rim, -1)], axis=1)


def test_a_square_by_hand():
    found = Neighbours(SQUARE)(CORNERS[None])[0]
    expected = [[2 / 3, 2 / 3, 1], [-0.5, 0.5, 0], [-2 / 3, -2 / 3, 1], [0.5, -0.5, -3]]
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    lengths = np.linalg.norm(expected, axis=1)
    np.testing.assert_allclose(roughness(Neighbours(SQUARE), CORNERS[None]), [lengths.mean()], rtol=1e-6)


MESHES = {
    "square": SQUARE,
    "sphere": sphere(300),
    "pole": fan(70),
    "apart": np.concatenate([SQUARE, SQUARE + 10]),
    "flat": np.array([[0, 0, 1]]),
}


@pytest.mark.parametrize("name", MESHES)
def test_as_the_dense_matrix_with_its_gradient(name):
    faces = MESHES[name]
    count = faces.max() + 3  # two vertices that no face names
    vertices, cotangent = np.random.default_rng(1).standard_normal((2, 2, count, 3)).astype(np.float32)
    matrix, neighbours = dense(faces, count), Neighbours(faces)
    found, transposed = jax.vjp(neighbours, jnp.asarray(vertices))
    np.testing.assert_allclose(found, matrix @ vertices, atol=2e-6)
    np.testing.assert_allclose(transposed(jnp.asarray(cotangent))[0], matrix.T @ cotangent, atol=1e-5)


def test_tables_stay_small_beside_a_pole():
    neighbours = Neighbours(fan(10_000))
    assert sum(table.size for table in neighbours.tables) < 10_000 * 4 + 2**14 + 1


def test_the_gradient_of_a_length_is_finite_where_it_is_zero():
    neighbours = Neighbours(fan(8))
    flat = jnp.zeros((1, 8, 3))
    assert roughness(neighbours, flat)[0] == 0
    assert (jax.grad(lambda v: roughness(neighbours, v)[0])(flat) == 0).all()


def test_each_mesh_of_a_batch_by_itself():
    neighbours = Neighbours(SQUARE)
    both = roughness(neighbours, np.stack([CORNERS, 2 * CORNERS]))
    np.testing.assert_allclose(both, roughness(neighbours, CORNERS[None]) * np.array([1, 2]), rtol=1e-6)


def test_a_gradient_step_reads_and_never_scatters():
    """Sums by scattering change their order from run to run on a GPU."""
    neighbours = Neighbours(sphere(50))
    program = str(jax.make_jaxpr(jax.grad(lambda v: roughness(neighbours, v)[0]))(jnp.zeros((1, 50, 3))))
    assert "gather" in program and "scatter" not in program


def test_wrong_arguments():
    with pytest.raises(ValueError, match=r"faces must be \[M, 3\]"):
        Neighbours(np.array([[0, 1, 2, 3]]))
    with pytest.raises(ValueError, match="from 0 on"):
        Neighbours(np.array([[0, 1, -1]]))
    with pytest.raises(ValueError, match="V at least 4"):
        Neighbours(SQUARE)(CORNERS[None, :3])
