"""Placement of the primitives by hand on simple surfaces."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.tasks.ava256.kernels.voxels import slab_to_primitives
from ava_jax.tasks.ava256.model.assembler import PLACEMENTS, Assembler, rotation_matrix
from ava_jax.tasks.ava256.model.decoders import Geometry
from ava_jax.tasks.ava256.model.sizes import Sizes

SIZES = Sizes(per_side=32, depth=8, texture=256, width=1.0, precision="float32")
CORNERS = np.float32([[-128, 128, 0], [128, 128, 0], [-128, -128, 0]])  # mm: u to the right, v down, facing +z


def plane_map(side: int):
    """A UV map of the triangle (origin, end of u, end of v): texel (row, column) lies at (u, v) = (column, row) / side."""
    v, u = np.meshgrid(np.arange(side) / side, np.arange(side) / side, indexing="ij")
    weights = np.stack([1 - u - v, u, v], -1).astype(np.float32)
    return np.broadcast_to(np.arange(3, dtype=np.int32), (side, side, 3)), weights


def residuals(frames: int, **changes) -> Geometry:
    k, s, d = SIZES.primitives, SIZES.slab, SIZES.depth
    zero = dict(log_opacity=jnp.zeros((frames, s, s, d)), vertices=None)
    zero |= dict(position=jnp.zeros((frames, k, 3)), rotation=jnp.zeros((frames, k, 3)))
    return Geometry(**(zero | dict(scale=jnp.ones((frames, k, 3))) | changes))


def colour(frames: int):
    return jnp.zeros((frames, SIZES.slab, SIZES.slab, 3 * SIZES.depth))


@pytest.fixture
def assembler():
    return Assembler(SIZES, plane_map(SIZES.slab), volume_radius=256.0)


def test_position_and_frame_on_a_plane(assembler):
    placed = assembler(residuals(1), colour(1), CORNERS[None])
    column, row = np.meshgrid(4 + 8 * np.arange(32), 4 + 8 * np.arange(32))
    expected = np.stack([-0.5 + column / 256, 0.5 - row / 256, 0 * row], -1).reshape(1, -1, 3)
    np.testing.assert_allclose(placed.position, expected, atol=1e-6)
    # tangent +x, next row -y: normal = x cross -y = -z, bitangent = normal x tangent = -y
    axes = np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1]])
    np.testing.assert_allclose(placed.rotation, np.broadcast_to(axes * np.cos(np.sqrt(1e-5)), (1, 1024, 3, 3)), atol=1e-4)


def test_residuals_act_in_head_axes_after_the_frame(assembler):
    assembler.running_scale[...] = jnp.full(1024, 40.0)
    position = jnp.broadcast_to(jnp.array([0.01, 0.02, 0.03]), (1, 1024, 3))
    turn = jnp.broadcast_to(jnp.array([0.0, 0.0, np.pi / 2]), (1, 1024, 3))
    geometry = residuals(1, position=position, rotation=turn, scale=jnp.full((1, 1024, 3), 1.5))
    plain = assembler(residuals(1), colour(1), CORNERS[None])
    placed = assembler(geometry, colour(1), CORNERS[None])
    np.testing.assert_allclose(placed.position - plain.position, position, atol=1e-6)
    frame = np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1]])
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(placed.rotation[0, 7], frame @ quarter, atol=1e-4)
    np.testing.assert_allclose(placed.scale, 0.8 * 40.0 * 1.5, rtol=1e-6)


def test_the_running_scale_takes_the_first_value_then_averages(assembler):
    spacing = 8 / 256  # volume radii between neighbours on the plane
    for factor, expected in ((1.0, 2 / spacing), (2.0, 0.9 * 2 / spacing + 0.1 / spacing)):
        placed = assembler(residuals(1), colour(1), factor * CORNERS[None], guided=True)
        np.testing.assert_allclose(assembler.running_scale[...], expected, rtol=1e-4)
        np.testing.assert_allclose(placed.scale, 0.8 * expected, rtol=1e-4)
    assembler(residuals(1), colour(1), 5 * CORNERS[None])
    np.testing.assert_allclose(assembler.running_scale[...], expected, rtol=1e-4)


def test_the_running_scale_follows_the_largest_of_the_batch(assembler):
    assembler(residuals(3), colour(3), np.float32([1, 4, 2])[:, None, None] * CORNERS, guided=True)
    np.testing.assert_allclose(assembler.running_scale[...], 2 * 256 / 8 / 4, rtol=1e-4)


def test_spacing_takes_the_wider_direction_and_repeats_the_last():
    corners = np.float32([[0, 0, 0], [256, 0, 0], [0, 512, 0]])
    index, weights = plane_map(256)
    weights = weights.copy()
    weights[-4:, :, 2] += 0.5  # the centres of the last row of primitives lie further down
    weights[-4:, :, 0] -= 0.5
    assembler = Assembler(SIZES, (index, weights), volume_radius=256.0)
    assembler(residuals(1), colour(1), corners[None], guided=True)
    scale = np.asarray(assembler.running_scale[...]).reshape(32, 32)
    usual, last = 2 / (2 * 8 / 256), 2 / (2 * (8 / 256 + 0.5))
    np.testing.assert_allclose(scale[:30], usual, rtol=1e-4)
    np.testing.assert_allclose(scale[30:], last, rtol=1e-4)


def test_texels_that_share_a_point_stay_finite_and_orthonormal(assembler):
    flat = np.zeros((1, 3, 3), np.float32)
    placed = assembler(residuals(1), colour(1), flat, guided=True)
    product = jnp.einsum("bkij,bkil->bkjl", placed.rotation, placed.rotation)
    np.testing.assert_allclose(product, np.broadcast_to(np.eye(3), product.shape), atol=1e-4)
    assert bool(jnp.all(jnp.isfinite(placed.scale)))
    gradient = jax.grad(lambda v: jnp.sum(assembler(residuals(1), colour(1), v).rotation[..., 0]))(jnp.asarray(flat))
    assert bool(jnp.all(jnp.isfinite(gradient)))


def test_colour_and_density_are_not_negative(assembler):
    slab = jnp.full((1, 256, 256, 24), -5.0)
    placed = assembler(residuals(1, log_opacity=jnp.full((1, 256, 256, 8), np.log(0.25))), slab.at[..., :3].set(2.0), CORNERS[None])
    np.testing.assert_array_equal(placed.rgba[0, 3, 0, 0, 0], [150, 150, 150, 0.25])
    np.testing.assert_array_equal(placed.rgba[0, 3, 1, 0, 0], [0, 0, 0, 0.25])


def test_voxels_may_be_bfloat16():
    slab = jax.random.normal(jax.random.key(0), (1, 256, 256, 24))
    placed = [
        Assembler(dataclasses.replace(SIZES, template=kept), plane_map(SIZES.slab), 256.0)(residuals(1), slab, CORNERS[None])
        for kept in ("float32", "bfloat16")
    ]
    assert [p.rgba.dtype for p in placed] == [jnp.float32, jnp.bfloat16]
    np.testing.assert_array_equal(placed[1].rgba, placed[0].rgba.astype(jnp.bfloat16))
    jax.tree.map(np.testing.assert_array_equal, placed[0][:3], placed[1][:3])


def test_slab_to_primitives_texel_by_texel():
    n, d, c = 3, 4, 2
    slab = np.random.default_rng(0).standard_normal((2, n * d, n * d, d * c)).astype(np.float32)
    boxes = np.asarray(slab_to_primitives(slab, d))
    assert boxes.shape == (2, n * n, d, d, d, c)
    for row, column, z, y, x in np.random.default_rng(1).integers(0, (n, n, d, d, d), (40, 5)):
        expected = slab[:, row * d + y, column * d + x, z * c : (z + 1) * c]
        np.testing.assert_array_equal(boxes[:, row * n + column, z, y, x], expected)


def test_rotation_matrices_against_the_exponential():
    vectors = np.random.default_rng(0).uniform(-2, 2, (20, 3))
    for vector, matrix in zip(vectors, rotation_matrix(vectors)):
        x, y, z = vector
        exponential = jax.scipy.linalg.expm(jnp.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]))
        np.testing.assert_allclose(matrix, exponential, atol=1e-4)  # the angle is off by 5e-6 / |vector|
    np.testing.assert_allclose(rotation_matrix(np.zeros(3)), np.cos(np.sqrt(1e-5)) * np.eye(3), atol=1e-7)
    assert np.all(np.isfinite(jax.grad(lambda v: rotation_matrix(v).sum())(np.zeros(3))))


def by_patch() -> Assembler:
    return Assembler(SIZES, plane_map(SIZES.slab), volume_radius=256.0, placement="patch")


@pytest.mark.parametrize("guided", [True, False])
def test_boxes_are_as_large_as_their_patch_is_in_each_frame(guided):
    """The second frame's plane is twice as high: twice the half-extent along v, and the mean of both along the normal. Nothing is kept."""
    stretched = CORNERS * np.float32([1, 2, 1])
    assembler = by_patch()
    placed = assembler(residuals(2), colour(2), np.stack([CORNERS, stretched]), guided=guided)
    scale = placed.scale.reshape(2, 32, 32, 3)[:, :-1, :-1]  # the last row's and column's patches end at the map's last texel
    patch = 8 / 256  # volume radii
    np.testing.assert_allclose(scale[0], np.broadcast_to(0.8 * 2 / patch, scale[0].shape), rtol=1e-4)
    np.testing.assert_allclose(scale[1], np.broadcast_to(0.8 * 2 / (patch * np.array([1, 2, 1.5])), scale[1].shape), rtol=1e-4)
    np.testing.assert_array_equal(assembler.running_scale[...], 0.0)


def test_boxes_lie_on_their_patch_with_its_frame():
    placed = by_patch()(residuals(1), colour(1), CORNERS[None])
    column, row = np.meshgrid(4 + 8 * np.arange(31), 4 + 8 * np.arange(31))
    expected = np.stack([-0.5 + column / 256, 0.5 - row / 256, 0 * row], -1)
    np.testing.assert_allclose(placed.position.reshape(32, 32, 3)[:-1, :-1], expected, atol=1e-6)
    axes = np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1]])
    np.testing.assert_allclose(placed.rotation, np.broadcast_to(axes * np.cos(np.sqrt(1e-5)), (1, 1024, 3, 3)), atol=1e-4)


def test_no_gradient_passes_through_the_sizes_of_patches_but_through_their_positions():
    def sums(corners):
        placed = by_patch()(residuals(1), colour(1), corners[None])
        return jnp.sum(placed.scale), jnp.sum(placed.position)

    of_scale, of_position = jax.jacobian(sums)(jnp.asarray(CORNERS))
    np.testing.assert_array_equal(of_scale, 0.0)
    assert float(jnp.abs(of_position).sum()) > 0


def test_a_patch_without_extent_stays_finite():
    placed = by_patch()(residuals(1), colour(1), jnp.zeros((1, 3, 3)))
    assert all(bool(jnp.all(jnp.isfinite(x))) for x in (placed.position, placed.rotation, placed.scale))


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_outward_is_the_sign_of_the_third_axis(placement):
    """Half a cylinder, seen from +z, chart read from above or, mirrored, from below."""
    index, weights = plane_map(SIZES.slab)
    u, v = weights[..., 1], weights[..., 2]
    corners = np.stack([100 * np.sin(3 * (u - 0.5)), 200 * (0.5 - v), 100 * np.cos(3 * (u - 0.5))], -1).reshape(-1, 3)
    texels = np.arange(SIZES.slab**2, dtype=np.int32).reshape(SIZES.slab, SIZES.slab)[..., None] + np.zeros(3, np.int32)
    alone = np.broadcast_to(np.float32([1, 0, 0]), weights.shape)
    assembler = Assembler(SIZES, (texels, alone), volume_radius=256.0, placement=placement)
    normal = assembler(residuals(1), colour(1), jnp.float32(corners)[None]).rotation.reshape(32, 32, 3, 3)[16, 16, :, 2]
    assert float(normal[2]) * float(assembler.outward(corners)) > 0.9  # at the middle the head's outside is +z
    assert float(assembler.outward(corners * np.array([-1, 1, 1]))) == -float(assembler.outward(corners))
