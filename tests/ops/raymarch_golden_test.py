"""The scenes of the published raymarcher, by the bounds of `scripts/parity_raymarch.py`."""

import pathlib
import sys

import jax
import numpy as np
import pytest
from raymarch_scenes import reference

from ava_jax.core.types import Primitives, Rays

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts"))
import parity_raymarch  # noqa: E402


def test_every_scene(test_data):
    rows = list(parity_raymarch.rows(test_data / "golden", test_data / "assets"))
    assert len(rows) == 6 + 7 + 6 + 2 + 2 * 12
    off = [row for row in rows if not row.ok]
    assert not off, off


@pytest.mark.parametrize("scene", ["grid64", "warp27"])
def test_the_reference(test_data, scene):
    data = np.load(test_data / "golden" / f"raymarch_{scene}.npz")
    rays = Rays(*(data[name][:, None] for name in ("raypos", "raydir", "tminmax")))
    prims = Primitives(*(data[name] for name in ("primpos", "primrot", "primscale", "template")))
    warp = data["warp"] if "warp" in data else None
    rgba, d, d_warp = reference(rays, prims, warp, data["grad"][:, None], step_size=float(data["stepsize"]))
    rows = list(parity_raymarch._image_rows(scene, rgba[:, 0], data["out_rgba"]))
    gradients = dict(zip(("primpos", "primrot", "primscale", "template", "warp"), (*d, d_warp)))
    rows += [
        parity_raymarch._relative_row(name, x, data[f"out_d_{name}"], parity_raymarch.SMALL_BOUND)
        for name, x in gradients.items()
        if x is not None
    ]
    assert len(rows) == 6 + (warp is not None)
    assert all(row.ok for row in rows), rows


def test_the_reference_on_pixels_of_the_head(test_data):
    """All 16,384 primitives, every 16th pixel."""
    data = np.load(test_data / "golden" / "raymarch_head16384.npz")
    height, width = (int(x) for x in data["image_hw"])
    cameras = jax.tree.map(lambda x: x[:, 0][None], parity_raymarch.head_cameras(data))  # two views of one frame
    rays = parity_raymarch.camera_rays(cameras, height, width, radius=float(data["volradius"]))
    rays = jax.tree.map(lambda x: x[:, :, 8::16, 8::16], rays)
    prims = parity_raymarch.head_primitives(data, test_data / "assets" / "021924_avgtex.png", "trained")
    rgba = parity_raymarch.raymarch(rays, prims, step_size=float(data["stepsize"]), implementation="jax")
    expected = data["out_trained_rgba"][:, 8::16, 8::16]
    assert (expected[..., 3] == 1).any()
    assert all(row.ok for row in parity_raymarch._image_rows("head", rgba[0], expected))
