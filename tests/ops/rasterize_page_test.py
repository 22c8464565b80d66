"""The blocks of docs/guide/rasterizer.md, executed: what they assert holds."""

import pathlib
import re
import sys

import jax
import numpy as np
import pytest

from ava_jax.ops import native

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "scripts"))
import draw_rasterizer  # noqa: E402


@pytest.mark.skipif(not native.serves_meshes(), reason="plain JAX takes minutes for it")
def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with jax.default_matmul_precision("highest"):
        names = draw_rasterizer.run_page()
    assert names["drawn"].colour.shape == (1, 256, 200, 3)
    assert 0.1 < float(np.mean(np.asarray(names["drawn"].depth) > 0)) < 0.9
    assert np.abs(np.asarray(names["hull"]) - 100 * names["ball"]).max() > 20, "vertices moved"
    shown = set(re.findall(r"images/(\w+)\.jpg", draw_rasterizer.PAGE.read_text()))
    assert shown == {"rasterizer", "rasterizer_sphere", "rasterizer_texture", "rasterizer_camera"}
    assert {"points", "uvs", "grey", "painted", "true_camera", "solved"} <= names.keys(), "what the script draws from"
