"""Scenes of rasterised meshes by the bounds of `scripts/parity_rasterize.py`."""

import pathlib
import sys

import numpy as np
import pytest
from scipy import ndimage

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts"))
import parity_rasterize  # noqa: E402


def test_every_scene(test_data):
    rows = list(parity_rasterize.rows(test_data / "golden", test_data / "assets"))
    assert len(rows) == 15 * 5 + 5 + 2 * 4 + 2 + 2
    off = [row for row in rows if not row.ok]
    assert not off, off


@pytest.mark.parametrize(
    "scene", ["fan", *(pytest.param(s, marks=pytest.mark.slow) for s in ("near_plane", "intersect", "sliver", "offscreen"))]
)
def test_the_reference(test_data, scene):
    """In float32, where the rule of edges and equal depths may go either way."""
    rows = list(parity_rasterize.small_rows(np.load(test_data / "golden" / "raster_small.npz"), scene, "jax", skip_rule=True))
    assert len(rows) >= 4
    for row in rows:  # a few units in the last place more: nothing is computed in double
        assert row.max_error <= 3 * row.bound * (row.scale if row.name.endswith("d_vertices") else 1.0), row


@pytest.mark.slow
def test_outlines_of_the_reference(test_data):
    data = np.load(test_data / "golden" / "silhouette.npz")
    (row,) = parity_rasterize.outline_rows(data, "triangle", "jax")
    assert row.ok, row


def test_outlines_under_other_smooth_cotangents(test_data):
    """Not only the stored one: the root of the mean square of the errors over 16 others."""
    data = np.load(test_data / "golden" / "silhouette.npz")
    cotangents = [ndimage.zoom(np.random.default_rng(seed).standard_normal((3, 7, 6)), (1, 48 / 7, 40 / 6), order=1) for seed in range(16)]
    for scene, bound in (("triangle", 0.03), ("sphere", 0.08)):
        expected = np.asarray([(data[f"{scene}.dimage"] * cotangent).sum((1, 2, 3)) for cotangent in cotangents])
        ours = np.asarray(parity_rasterize.outline_gradients(data, scene, cotangents, None))
        errors = np.linalg.norm(ours - expected, axis=1) / np.linalg.norm(expected, axis=1)
        assert np.sqrt(np.mean(np.square(errors))) < bound, errors
