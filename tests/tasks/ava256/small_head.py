"""A curved sheet with a UV chart, and models and batches on it: the smallest head that the codec takes."""

import jax
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.types import Assets

ACROSS = 24  # vertices along a side


def config(**changes) -> ml_collections.ConfigDict:
    """`config.model` of the smallest network, with changes."""
    sizes = dict(primitives_per_side=32, primitive_side=8, texture_size=256, width=0.125, background=True, background_fraction=1.0)
    start = dict(initial_code_gain=1.0, initial_code_std=1.0, initial_density=1.0, initial_texture=False, view_noise=0.0)
    start |= dict(initial_density_outside=1.0, from_neutral=False, primitive_placement="texel", moved_weight=0.0, expression_basis=0)
    start |= dict(expression_components=False, view_degree=0)
    start |= dict(precision="float32", template_dtype="float32", guided_steps=3)
    return ml_collections.ConfigDict(sizes | dict(volume_radius=256.0, step_size=1 / 32) | start | changes)


def vertices() -> np.ndarray:
    """[V, 3], mm: half a cylinder, seen from +z."""
    angle, height = np.meshgrid(np.linspace(-1.2, 1.2, ACROSS), np.linspace(-120, 120, ACROSS))
    return np.stack([100 * np.sin(angle), height, 100 * np.cos(angle)], -1).reshape(-1, 3).astype(np.float32)


def assets(texture_size: int = 256, cameras: int = 3, identities: int = 2) -> Assets:
    line = np.linspace(0, 1, ACROSS, dtype=np.float32)
    uvs = np.stack(np.meshgrid(line, line), -1).reshape(-1, 2)
    index = np.arange(ACROSS**2).reshape(ACROSS, ACROSS)
    a, b, c, d = (x.ravel() for x in (index[:-1, :-1], index[:-1, 1:], index[1:, :-1], index[1:, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)
    arrays = dict(faces=faces, face_uvs=faces, uvs=uvs, vertices_mean=vertices(), vertices_std=np.float32(4))
    arrays |= dict(texture_mean=np.full((texture_size, texture_size, 3), 120, np.float32), texture_std=np.float32(20))
    return Assets(arrays, dict(cameras=[f"c{i}" for i in range(cameras)], identities=[f"i{i}" for i in range(identities)]))


def batch(samples: int = 2, texture_size: int = 256, height: int = 12, width: int = 10, seed: int = 0) -> dict[str, np.ndarray]:
    """Noise for textures, jittered meshes, a camera that sees the sheet from a metre away."""
    rng = np.random.default_rng(seed)

    def bytes_of(*shape):
        return rng.integers(0, 256, (samples, *shape, 3), np.uint8)

    def mesh():
        return (vertices() + rng.standard_normal((samples, ACROSS**2, 3))).astype(np.float32)

    return dict(
        image=bytes_of(height, width),
        texture=bytes_of(texture_size, texture_size),
        neutral_texture=bytes_of(texture_size, texture_size),
        vertices=mesh(),
        neutral_vertices=mesh(),
        camera_rotation=np.tile(np.diag([1.0, -1.0, -1.0]).astype(np.float32), (samples, 1, 1)),
        camera_position=np.tile(np.float32([0, 0, 1000]), (samples, 1)),
        focal=np.full((samples, 2), 4.0 * width, np.float32),
        principal=np.tile(np.float32([(width - 1) / 2, (height - 1) / 2]), (samples, 1)),
        camera=np.arange(samples, dtype=np.int32) % 3,
        identity=np.arange(samples, dtype=np.int32) % 2,
    )


def compiled(model, method):
    """jit of a method of a copy: what it moves is lost."""
    graph, state = nnx.split(model)
    run = jax.jit(lambda state, *args: method(nnx.merge(graph, state, copy=True), *args))
    return lambda *args: run(state, *args)
