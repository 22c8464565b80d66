"""Scenes of rasterised meshes by the bounds of `scripts/parity_rasterize.py`."""

import pathlib
import sys

import numpy as np
import pytest

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts"))
import parity_rasterize  # noqa: E402


def test_every_scene(test_data):
    rows = list(parity_rasterize.rows(test_data / "golden", test_data / "assets"))
    assert len(rows) == 15 * 5 + 5 + 2 * 4 + 2 + 2
    off = [row for row in rows if not row.ok]
    assert not off, off


@pytest.mark.parametrize("scene", ["fan", "near_plane", "intersect", "sliver", "offscreen"])
def test_the_reference(test_data, scene):
    """In float32, where the rule of edges and equal depths may go either way."""
    rows = list(parity_rasterize.small_rows(np.load(test_data / "golden" / "raster_small.npz"), scene, "jax", skip_rule=True))
    assert len(rows) >= 4
    for row in rows:  # a few units in the last place more: nothing is computed in double
        assert row.max_error <= 3 * row.bound * (row.scale if row.name.endswith("d_vertices") else 1.0), row


def test_outlines_of_the_reference(test_data):
    data = np.load(test_data / "golden" / "silhouette.npz")
    (row,) = parity_rasterize.outline_rows(data, "triangle", "jax")
    assert row.ok, row


def test_outlines_against_finite_differences_of_other_cotangents(test_data):
    """Not only the stored cotangent: smooth ones of other seeds, in the root of the mean square over both scenes."""
    data = np.load(test_data / "golden" / "silhouette.npz")
    for scene, bound in (("triangle", 0.04), ("sphere", 0.12)):
        errors = []
        for seed in range(8):
            coarse = np.random.default_rng(seed).standard_normal((3, 7, 6))
            rows = np.stack([np.interp(np.linspace(0, 6, 48), np.arange(7), c) for c in coarse.transpose(0, 2, 1).reshape(-1, 7)])
            fine = rows.reshape(3, 6, 48).transpose(0, 2, 1)
            cotangent = np.stack([np.interp(np.linspace(0, 5, 40), np.arange(6), c) for c in fine.reshape(-1, 6)]).reshape(3, 48, 40)
            expected = (data[f"{scene}.dimage"] * cotangent).sum((1, 2, 3))
            ours = parity_rasterize.outline_gradient(data, scene, cotangent.astype(np.float32), None)
            errors.append(np.linalg.norm(ours - expected) / np.linalg.norm(expected))
        assert np.sqrt(np.mean(np.square(errors))) < bound, errors
