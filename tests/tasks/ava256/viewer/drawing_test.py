"""Layers that are made of primitives: the depth of a box is where the box is, and boxes are opaque and have edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from ava_jax.core.types import Cameras, Primitives
from ava_jax.ops import camera_rays, raymarch
from ava_jax.tasks.ava256.viewer import drawing
from ava_jax.tasks.ava256.viewer.eyes import Eye

RADIUS = 256.0
EYE = Eye(np.diag([1.0, -1.0, -1.0]), np.array([0.0, 0.0, 1000.0]), 0.2, 1.0)
SIZE = 17


@functools.partial(jax.jit, static_argnums=0)
def _render(made_of, primitives: Primitives) -> jax.Array:
    """[H, W, 4], of what a function makes of primitives and cameras."""
    views = Cameras(*(field[:, None] for field in EYE.cameras(SIZE, SIZE)))
    rays = camera_rays(views, SIZE, SIZE, radius=RADIUS)
    return raymarch(rays, made_of(primitives, EYE.cameras(SIZE, SIZE)), step_size=1 / 512)[0, 0]


def _depth(primitives: Primitives, cameras: Cameras) -> Primitives:
    return drawing.with_depth(primitives, cameras, RADIUS)


def _box(density: float) -> Primitives:
    """A cube of 51.2 mm, whose middle is 25.6 mm before the head's centre, turned by 45 degrees about the viewing direction."""
    half = np.sqrt(0.5)
    return Primitives(
        position=np.array([[[0.0, 0.0, 0.1]]], np.float32),
        rotation=np.array([[[[half, -half, 0.0], [half, half, 0.0], [0.0, 0.0, 1.0]]]], np.float32),
        scale=np.full((1, 1, 3), 10.0, np.float32),
        rgba=np.concatenate([np.full((1, 1, 4, 4, 4, 3), 99.0), np.full((1, 1, 4, 4, 4, 1), density)], -1).astype(np.float32),
    )


def test_depth_of_a_thin_fog_is_its_middle_and_of_a_solid_box_its_front():
    cameras = EYE.cameras(SIZE, SIZE)
    for density, expected, tolerance in ((0.01, 1000 - 25.6, 1.0), (5e3, 1000 - 51.2, 3.0)):
        rgba = np.asarray(_render(_depth, _box(density)))
        middle = rgba[SIZE // 2, SIZE // 2]
        assert abs(middle[0] / middle[3] - expected) < tolerance
    colours = drawing.depth_colours(jnp.asarray(rgba)[None], cameras, jnp.zeros(3), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(colours[0, 0, 0], [1.0, 2.0, 3.0], atol=1e-4)
    assert float(colours[0, SIZE // 2, SIZE // 2].mean()) > 100, "near is pale"


def test_boxes_are_opaque_with_dark_edges():
    rgba = np.asarray(_render(drawing.as_boxes, _box(0.0)))
    seen = rgba[..., 3] > 0.99
    assert seen[SIZE // 2, SIZE // 2] and not seen[0, 0]
    brightness = rgba[..., :3].sum(-1)
    inside = brightness[seen]
    assert inside.min() < 0.7 * brightness[SIZE // 2, SIZE // 2] <= inside.max(), "edges are darker than the face's middle"
