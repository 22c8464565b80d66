"""Primitives where islands of the UV chart lie beside each other."""

import jax.numpy as jnp
import numpy as np
import pytest

from ava_jax.core.mesh import uv_barycentric
from ava_jax.synth.heads import geometry, layouts
from ava_jax.tasks.ava256.model import seams
from ava_jax.tasks.ava256.model.assembler import Assembler, _spacing, placed_on_patches
from ava_jax.tasks.ava256.model.sizes import Sizes

SIZES = Sizes(per_side=32, depth=8, texture=256, width=1.0, precision="float32")


def sides(assembler: Assembler, head: np.ndarray) -> np.ndarray:
    """The longest side of each primitive, mm [K], of a head [V, 3]."""
    points = assembler._surface(jnp.asarray(head[None] / 256.0, jnp.float32))
    if assembler.by_patch:
        return np.asarray(2 / placed_on_patches(*points)[2][0]).max(1) * 256
    counts = () if assembler.u_counts is None else (assembler.u_counts[...], assembler.v_counts[...])
    return np.asarray(_spacing(points[0], *counts))[0].ravel() * 256


def test_leaps_are_found_between_islands_alone():
    x, y = np.meshgrid(np.arange(16.0), np.arange(16.0))
    points = np.stack([x, y, np.where(x > 9, 80.0, 0.0)], axis=-1)
    apart = np.repeat(np.arange(256).reshape(16, 16, 1), 3, axis=-1)  # a triangle per texel, no two with a vertex in common
    right, below = seams.leaps(points, apart)
    assert right[:, 9].all() and right.sum() == 16 and not below.any()
    assert not any(leap.any() for leap in seams.leaps(points[:, :10], apart[:, :10]))
    assert not any(leap.any() for leap in seams.leaps(points, np.minimum(apart, [500, 500, 0])))  # stretched, but joined
    assert not any(leap.any() for leap in seams.leaps(np.zeros((4, 4, 3)), apart[:4, :4]))


def test_one_walks_to_the_goal_or_to_the_last_texel_before_a_leap():
    leap = np.zeros((2, 15), bool)
    leap[1, 9] = True  # between texels 9 and 10 of the second row
    start = np.array([4, 12])
    np.testing.assert_array_equal(seams.reach(leap, start, np.array([8, 15])), [[8, 15], [8, 15]])
    np.testing.assert_array_equal(seams.reach(leap, start, np.array([12, 8])), [[12, 8], [9, 10]])
    np.testing.assert_array_equal(seams.reach(leap, start, start), [start, start])


@pytest.mark.parametrize("placement", ["texel", "patch"])
def test_no_primitive_spans_two_islands(placement):
    layout = layouts.load(layouts.STAND_IN, "")
    head = layout.vertices(layouts.generic_head())
    uv_map = uv_barycentric(layout.topology, SIZES.slab)
    before = sides(Assembler(SIZES, uv_map, 256.0, placement=placement), head)
    after = sides(Assembler(SIZES, uv_map, 256.0, placement=placement, mesh=head), head)
    assert before.max() > 150 and (before > 5 * np.median(before)).sum() > 20
    assert after.max() < 60 and not (after > 5 * np.median(after)).any()
    assert np.mean(before == after) > 0.95  # the others are as they were


@pytest.mark.parametrize("placement", ["texel", "patch"])
def test_charts_of_one_island_are_read_as_ever(placement):
    head = layouts.generic_head()
    uv_map = uv_barycentric(geometry.topology(), SIZES.slab)
    plain, looked = (Assembler(SIZES, uv_map, 256.0, placement=placement, mesh=mesh) for mesh in (None, head))
    np.testing.assert_array_equal(plain.index[...], looked.index[...])
    np.testing.assert_array_equal(plain.weights[...], looked.weights[...])
    assert looked.u_counts is None and looked.v_counts is None
