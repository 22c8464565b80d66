"""Outlines: which edges they are, what they mark, and their gradient; `render_mesh`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rasterize_scenes import icosphere, soup

from ava_jax.core.types import Cameras
from ava_jax.ops import mesh, native

needs_native = pytest.mark.skipif(not native.serves_meshes(), reason="the compiled module does not serve this backend")


def camera(focal=30.0, principal=(12.3, 11.6)):
    return jax.tree.map(
        lambda x: np.asarray(x, np.float32)[None], Cameras(np.eye(3), np.zeros(3), np.full(2, focal), np.asarray(principal))
    )


def test_edges_of_a_closed_and_of_an_open_mesh():
    _, faces = icosphere(1)
    edges = mesh.mesh_edges(faces)
    assert len(edges) == len(faces) * 3 // 2 and (edges >= 0).all()
    edges = mesh.mesh_edges(np.array([[0, 1, 2], [2, 1, 3]]))
    assert sorted(map(tuple, edges.tolist())) == [(0, 1, 2, -1), (0, 2, 1, -1), (1, 2, 0, 3), (1, 3, 2, -1), (2, 3, 1, -1)]
    assert len(mesh.mesh_edges(np.array([[0, 1, 2], [0, 1, 3], [1, 0, 4]]))) == 3 + 6
    assert mesh.mesh_edges(np.zeros((0, 3), int)).shape == (0, 4)
    with pytest.raises(ValueError, match="mesh_edges: faces"):
        mesh.mesh_edges(np.zeros((2, 4), int))


def test_marks_of_a_square():
    """Its border alone, not its diagonal; neighbours on both sides of the border are cut."""
    corners = np.array([[2.2, 3.2], [6.2, 3.2], [2.2, 7.2], [6.2, 7.2]], np.float32)
    vertices = np.concatenate([corners, np.ones((4, 1))], -1)[None].astype(np.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    fragments = mesh.rasterize(vertices, faces, 11, 10)
    marks = np.asarray(mesh.find_outlines(vertices, faces, mesh.mesh_edges(faces), fragments)[0])
    on = np.zeros((11, 10), bool)
    on[3:8, 2:7] = True
    on[4:7, 3:6] = False
    np.testing.assert_array_equal(marks & 1 > 0, on)
    seen = np.asarray(fragments.index[0]) >= 0
    np.testing.assert_array_equal(marks[:, :-1] & 2 > 0, seen[:, :-1] != seen[:, 1:])
    np.testing.assert_array_equal(marks[:-1] & 4 > 0, seen[:-1] != seen[1:])


def test_edges_that_something_hides_are_no_outlines():
    front = np.array([[1, 1], [20, 1], [1, 20], [20, 20]], np.float32)
    behind = np.array([[5, 5], [8, 5], [5, 8]], np.float32) * 2
    vertices = np.concatenate([np.concatenate([front, np.ones((4, 1))], -1), np.concatenate([behind, np.full((3, 1), 2)], -1)])[None]
    vertices = vertices.astype(np.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6]])
    fragments = mesh.rasterize(vertices, faces, 23, 24)
    marks = np.asarray(mesh.find_outlines(vertices, faces, mesh.mesh_edges(faces), fragments)[0])
    assert not marks[3:18, 3:18].any() and (marks & 1).any()


def pipeline(vertices, faces, edges, colours, weight, height, width, implementation):
    chosen = {"implementation": implementation}
    fragments = mesh.rasterize(vertices, faces, height, width, **chosen)
    marks = mesh.find_outlines(vertices, faces, edges, fragments, **chosen)
    image = mesh.interpolate(colours, faces, mesh.hold_outlines(fragments, marks), **chosen)
    return jnp.sum(weight * mesh.with_outlines(image, vertices, faces, edges, fragments, marks, **chosen)), marks


@needs_native
@pytest.mark.parametrize(
    "height, width, clip",
    [(23, 31, False), pytest.param(1, 17, False, marks=pytest.mark.slow), pytest.param(17, 1, True, marks=pytest.mark.slow)],
)
def test_the_compiled_call_agrees_with_the_reference(height, width, clip):
    rng = np.random.default_rng(height)
    vertices, faces = soup(rng, 2, 12, height, width)
    if clip:
        vertices = np.concatenate([vertices, vertices[..., 2:] * 0.2 - 0.7], -1).astype(np.float32)
    edges = mesh.mesh_edges(faces)
    colours, weight = (rng.standard_normal(s).astype(np.float32) for s in ((36, 3), (2, height, width, 3)))
    results = [
        jax.jit(jax.grad(lambda v, i=i: pipeline(v, faces, edges, colours, weight, height, width, i), has_aux=True))(vertices)
        for i in ("native", "jax")
    ]
    (ours, marks), (theirs, others) = results
    assert (np.asarray(marks) != np.asarray(others)).mean() < 0.01 and (np.asarray(marks) & 1).any()
    assert np.linalg.norm(ours - theirs) < 2e-2 * np.linalg.norm(theirs)


@needs_native
def test_gradients_repeat_to_the_bit_and_bad_vertices_leave_them_finite():
    points, faces = icosphere(2)
    edges = mesh.mesh_edges(faces)
    vertices = np.array(mesh.project(points[None] + np.array([0, 0, 3], np.float32), camera()))
    rng = np.random.default_rng(1)
    colours, weight = rng.random((len(points), 3)).astype(np.float32), rng.standard_normal((1, 24, 25, 3)).astype(np.float32)
    gradient = jax.jit(jax.grad(lambda v: pipeline(v, faces, edges, colours, weight, 24, 25, "native")[0]))
    first = np.asarray(gradient(vertices))
    np.testing.assert_array_equal(first, gradient(vertices))
    for bad in (np.nan, np.inf, -1.0, 0.0, 3e38):
        vertices[0, 7, 2] = bad
        assert np.isfinite(np.asarray(gradient(vertices))[0, 8:]).all(), bad


def test_the_mask_of_a_moving_square_changes_by_its_border():
    """Area of a square of side s focal / z: its derivatives by position are 0, by depth and scale those of the area."""
    corners = np.array([[-1, -1, 0], [1, -1, 0], [-1, 1, 0], [1, 1, 0]], np.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2]])
    edges = mesh.mesh_edges(faces)

    def area(p):
        points = (p[3] * corners + p[:3] + jnp.array([0.02, -0.03, 4.0]))[None]
        drawn = mesh.render_mesh(points, faces, camera(), 24, 25, edges=edges, outputs=("mask",))
        return jnp.sum(drawn.mask)

    d = np.asarray(jax.grad(area)(jnp.array([0.0, 0.0, 0.0, 1.0])))
    full = (2 * 30.0 / 4) ** 2
    np.testing.assert_allclose(d, [0, 0, -2 * full / 4, 2 * full], atol=1e-3 * full)


def test_a_nose_before_a_cheek_moves_its_outline():
    """Self-occlusion: a small square in front of a large one of another colour, one mesh."""
    big = np.array([[-2, -2, 4], [2, -2, 4], [-2, 2, 4], [2, 2, 4]], np.float32)
    small = np.array([[-0.5, -0.5, 2], [0.5, -0.5, 2], [-0.5, 0.5, 2], [0.5, 0.5, 2]], np.float32)
    faces = np.array([[0, 1, 2], [1, 3, 2], [4, 5, 6], [5, 7, 6]])
    colours = np.array([[0.2]] * 4 + [[0.9]] * 4, np.float32)
    ramp = np.broadcast_to(np.arange(25, dtype=np.float32)[None, None, :, None], (1, 24, 25, 1))

    def loss(x):
        points = jnp.concatenate([big, small + jnp.stack([x, 0 * x, 0 * x])])[None]
        drawn = mesh.render_mesh(points, faces, camera(), 24, 25, colours=colours, edges=mesh.mesh_edges(faces), outputs=("colour",))
        return jnp.sum(drawn.colour * ramp)

    # Columns are the weight: moving by dx moves 15 x 15 pixels of 0.7 by 15 dx columns.
    np.testing.assert_allclose(jax.grad(loss)(jnp.float32(0.0)), 0.7 * 15 * 15 * 15, rtol=2e-3)


@needs_native
@pytest.mark.parametrize("implementation", ["native", pytest.param("jax", marks=pytest.mark.slow)])
@pytest.mark.parametrize("axis", [0, 1])
def test_the_line_where_two_triangles_pass_through_each_other_moves(implementation, axis):
    """One stands at z = 4, the other at z = 4 + x / 2 + d: they meet at x = -2 d, 15 pixels further left per unit of d."""
    flat = np.array([[-7, -7, 4], [20, -7, 4], [-7, 20, 4]], np.float32)
    tilted = flat + np.array([0, 0, 0.5], np.float32) * flat[:, axis, None]
    faces = np.array([[0, 1, 2], [3, 4, 5]])
    colours = np.array([[0.2]] * 3 + [[0.9]] * 3, np.float32)

    def loss(d):
        points = jnp.concatenate([flat, tilted + jnp.stack([0 * d, 0 * d, d])])[None]
        drawn = mesh.render_mesh(
            points,
            faces,
            camera(),
            24,
            24,
            colours=colours,
            edges=mesh.mesh_edges(faces),
            outputs=("colour",),
            implementation=implementation,
        )
        return jnp.sum(drawn.colour)

    np.testing.assert_allclose(jax.grad(loss)(jnp.float32(0.0)), -15 * 24 * 0.7, rtol=1e-3)


def test_render_mesh_gives_what_it_is_asked_for():
    points, faces = icosphere(2)
    uvs = np.random.default_rng(0).random((len(points), 2)).astype(np.float32)
    texture = np.random.default_rng(1).random((16, 16, 3)).astype(np.float32)
    points = points[None] + np.array([0, 0, 3], np.float32)
    options = {"texture": texture, "uvs": uvs, "edges": mesh.mesh_edges(faces), "background": np.array([1.0, 2.0, 3.0], np.float32)}
    drawn = mesh.render_mesh(
        points, faces, camera(), 24, 25, outputs=("colour", "mask", "depth", "normals"), filtering="trilinear", **options
    )
    seen = np.asarray(drawn.fragments.index[0]) >= 0
    np.testing.assert_array_equal(drawn.mask[0] > 0, seen)
    np.testing.assert_allclose(drawn.colour[0][~seen], np.broadcast_to([1.0, 2.0, 3.0], (int((~seen).sum()), 3)))
    np.testing.assert_allclose(np.linalg.norm(drawn.normals[0], axis=-1), seen, atol=1e-5)
    assert (np.asarray(drawn.normals[0])[12, 12] @ [0, 0, -1]) > 0.95  # towards the camera
    np.testing.assert_allclose(drawn.depth[0][12, 12], 2.0, atol=0.02)
    only = mesh.render_mesh(points, faces, camera(), 24, 25, outputs=("depth",), **options)
    assert only.colour is None and only.mask is None and only.normals is None
    with pytest.raises(ValueError, match="outputs must be"):
        mesh.render_mesh(points, faces, camera(), 4, 4, outputs=("albedo",))
    with pytest.raises(ValueError, match="either colours or a texture"):
        mesh.render_mesh(points, faces, camera(), 4, 4)


def test_cameras_have_gradients():
    points, faces = icosphere(1)
    target = np.asarray(mesh.render_mesh(points[None] * 1.0 + np.float32([0, 0, 3]), faces, camera(), 24, 25, outputs=("mask",)).mask)
    edges = mesh.mesh_edges(faces)

    def loss(position):
        moved = camera()._replace(position=position[None])
        drawn = mesh.render_mesh(points[None] + np.float32([0, 0, 3]), faces, moved, 24, 25, edges=edges, outputs=("mask",))
        return jnp.mean((drawn.mask - target) ** 2)

    position = jnp.array([0.15, -0.1, 0.0])
    step = jax.jit(jax.value_and_grad(loss))
    start = float(step(position)[0])
    for _ in range(20):
        position = position - 0.1 * step(position)[1]
    assert float(step(position)[0]) < 0.35 * start and np.abs(position[:2]).max() < 0.06
