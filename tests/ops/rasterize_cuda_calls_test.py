"""The compiled calls of `ops.mesh` as they are lowered for a GPU, where there is none: which calls, with what scratch, what comes back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rasterize_scenes import icosphere

from ava_jax.core.types import Cameras
from ava_jax.ops import mesh, native

SCRATCH = {"gradient": 1001, "outline": 2002, "mark": 5005, "attributes": 3003, "texture": 4004}  # floats


@pytest.fixture
def gpu(monkeypatch):
    """Sizes that scratch was asked for, as if JAX computed on a GPU whose module is built and switched on."""
    asked = {}

    def scratch(gradient, *sizes):
        asked[gradient] = sizes
        return SCRATCH[gradient]

    monkeypatch.setattr(native, "mesh_scratch", scratch)
    for name in ("serves_meshes", "rasterizes", "spreads_by_tiles"):
        monkeypatch.setattr(native, name, lambda: True)
    return asked


def scene():
    points, faces = icosphere(0)
    cameras = Cameras(np.eye(3)[None], np.array([[0, 0, -3.0]]), np.full((1, 2), 9.0), np.array([[4.0, 5.0]]))
    return points[None], faces, jax.tree.map(lambda x: x.astype(np.float32), cameras)


def lowered(f, *arguments) -> str:
    return jax.jit(f).trace(*arguments).lower(lowering_platforms=("cuda",)).as_text()


def test_a_textured_picture_with_outlines(gpu):
    points, faces, cameras = scene()
    edges, texture, uvs = mesh.mesh_edges(faces), np.ones((8, 16, 3), np.float32), np.ones((12, 2), np.float32)

    def picture(points, texture):
        drawn = mesh.render_mesh(points, faces, cameras, 11, 9, texture=texture, uvs=uvs, edges=edges, outputs=("colour",))
        return jnp.sum(drawn.colour)

    text = lowered(jax.grad(picture, (0, 1)), points, texture)
    calls = {line.split("@")[1].split("(")[0]: line for line in text.splitlines() if "custom_call @ava" in line}
    assert set(calls) == {
        *("ava_rasterize", "ava_rasterize_gradient", "ava_interpolate", "ava_interpolate_barycentrics"),
        *("ava_outline_mark", "ava_outline_gradient", "ava_texture_read", "ava_texture_locate", "ava_texture_spread"),
    }  # nothing learns from charts
    assert gpu["gradient"] == (1, 12, 3, 20) and "tensor<1001xf32>" in calls["ava_rasterize_gradient"]
    assert gpu["outline"] == (1, 12, 3, 20, 30) and "tensor<2002xf32>" in calls["ava_outline_gradient"]
    assert gpu["texture"] == (1, 11, 9, 128, 3, True) and "tensor<4004xf32>" in calls["ava_texture_spread"]
    assert "width = 9 : i64" in calls["ava_texture_spread"] and "width" not in calls["ava_texture_locate"]
    assert gpu["mark"] == (1, 11, 9) and "tensor<5005xf32>" in calls["ava_outline_mark"]


def test_values_at_corners(gpu):
    points, faces, cameras = scene()

    def total(values):
        fragments = mesh.rasterize(mesh.project(jnp.asarray(points), cameras), faces, 7, 5)
        return jnp.sum(mesh.interpolate(values, faces, fragments) ** 2)

    text = lowered(jax.grad(total), np.ones((12, 4), np.float32))
    assert gpu["attributes"] == (1, 7, 5, 12, 4, True) and "tensor<3003xf32>" in text
    assert "ava_interpolate_barycentrics" not in text and "ava_rasterize_gradient" not in text


def test_off_unless_it_is_asked_for(monkeypatch):
    monkeypatch.setattr(native.tracing, "backend", lambda: "gpu")
    monkeypatch.setattr(native, "CUDA_BUILT", False)
    monkeypatch.setenv("AVA_RASTERIZE_CUDA", "1")
    assert not native.serves_meshes()  # nothing is built
    monkeypatch.delenv("AVA_RASTERIZE_CUDA")
    monkeypatch.setattr(native, "CUDA_BUILT", True)
    assert not native.serves_meshes()
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ValueError, match="AVA_RASTERIZE_CUDA=1"):
        mesh.interpolate(
            np.ones((3, 1), np.float32), np.array([[0, 1, 2]]), mesh.Fragments(*np.zeros((3, 1, 2, 2))), implementation="native"
        )
