"""Textures where voxels lie, against positions worked out by hand."""

import numpy as np

from ava_jax.tasks.ava256.model import texels
from ava_jax.tasks.ava256.model.sizes import Sizes

SIZES = Sizes(per_side=32, depth=8, texture=512, width=1.0, precision="float32")


def columns_and_rows(side: int) -> np.ndarray:
    """[1, T, T, 2]: each texel's own column and row."""
    return np.stack(np.meshgrid(np.arange(side), np.arange(side)), -1)[None].astype(np.float32)


def test_voxels_reach_a_quarter_of_half_a_patch_over_its_edges():
    """The outermost voxels are 4 / 0.8 = 5 texels of the slab from the centre 8 k + 4, in steps of 10 / 7."""
    found = np.asarray(texels.at_voxels(columns_and_rows(256), SIZES)).reshape(32, 8, 32, 8, 2)
    expected = 8 * 3 + 4 + 5 * (2 * np.arange(8) / 7 - 1)
    np.testing.assert_allclose(found[5, 2, 3, :, 0], expected, atol=1e-4)
    np.testing.assert_allclose(found[3, :, 7, 1, 1], expected, atol=1e-4)


def test_a_finer_texture_is_read_at_the_same_points():
    coarse, fine = (np.asarray(texels.at_voxels(columns_and_rows(side), SIZES)) for side in (256, 512))
    inside = slice(8, -8)
    np.testing.assert_allclose((fine[:, inside, inside] + 0.5) / 2, coarse[:, inside, inside] + 0.5, atol=1e-3)


def test_beyond_the_texture_its_border_is_read():
    found = np.asarray(texels.at_voxels(columns_and_rows(256), SIZES))
    np.testing.assert_allclose([found.min(), found.max()], [0, 255], atol=1e-4)


def test_primitives_have_the_slabs_texels_row_by_row():
    slab = columns_and_rows(256)
    boxes = np.asarray(texels.as_primitives(slab, SIZES))
    assert boxes.shape == (1, 1024, 8, 8, 2)
    np.testing.assert_array_equal(boxes[0, 3 * 32 + 5], slab[0, 24:32, 40:48])
