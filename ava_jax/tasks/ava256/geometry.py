"""Geometry images: a mesh's surface laid out on its UV chart."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ava_jax.core.gpu import takes_kernels
from ava_jax.core.mesh import Topology, first_uv_of_vertex, uv_barycentric
from ava_jax.core.types import Assets

_TEXELS = 256  # a program's
UvMap = tuple[np.ndarray, np.ndarray]  # vertex index [S, S, 3], weights [S, S, 3]


def interpolate(vertices: jax.Array, index: jax.Array, weights: jax.Array) -> jax.Array:
    """Surface points: vertices [B, V, 3], index and weights [..., 3], to [B, ..., 3], in the vertices' unit."""
    corners = [vertices[:, index[..., i]] * weights[..., i, None] for i in range(3)]
    return corners[0] + corners[1] + corners[2]


def applies(index: jax.Array) -> bool:
    """Whether `image` is for charts [S, S, 3] of this size."""
    return (index.size // 3) % _TEXELS == 0 and takes_kernels()


@jax.custom_vjp
def image(vertices: jax.Array, index: jax.Array, weights: jax.Array) -> jax.Array:
    """`interpolate` on charts to which it `applies`, [B, S, S, 3]; differentiable in the vertices.

    On NVIDIA GPUs a kernel, as the compiler's gather looks up each texel's corners anew for every frame and coordinate.
    """
    return lax.platform_dependent(vertices, index, weights, cuda=kernel, default=interpolate)


def _forward(vertices, index, weights):
    return image(vertices, index, weights), (vertices, index, weights)


def _backward(residuals, cotangent):
    vertices, index, weights = residuals
    _, transpose = jax.vjp(lambda v: interpolate(v, index, weights), vertices)
    return *transpose(cotangent), None, None


image.defvjp(_forward, _backward)


def kernel(vertices: jax.Array, index: jax.Array, weights: jax.Array, *, interpret: bool = False) -> jax.Array:
    """`interpolate` on a GPU: vertices [B, V, 3] to [B, S, S, 3]; `interpret`: on any device, slowly."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    frames, count = vertices.shape[:2]
    texels = index.size // 3

    def body(vertices, index, weights, out):
        texel = (pl.program_id(0) * _TEXELS + jnp.arange(_TEXELS, dtype=jnp.int32)) * 3
        corners = [(3 * index[texel + i], weights[texel + i]) for i in range(3)]

        def frame(b, _):
            for axis in range(3):
                first, second, third = (vertices[3 * count * b + axis + corner] * weight for corner, weight in corners)
                out[3 * texels * b + axis + texel] = first + second + third
            return 0

        lax.fori_loop(0, frames, frame, 0)

    flat = pl.pallas_call(
        body,
        grid=(texels // _TEXELS,),
        in_specs=[pl.BlockSpec()] * 3,
        out_specs=pl.BlockSpec(),
        out_shape=jax.ShapeDtypeStruct((frames * texels * 3,), jnp.float32),
        compiler_params=triton.CompilerParams(num_warps=4, num_stages=1),
        interpret=interpret,
        name="geometry_image",
    )(vertices.reshape(-1), index.reshape(-1), weights.reshape(-1))
    return flat.reshape(frames, *index.shape)


class ChartLookup:
    """The UV maps of a mesh, by side; made once each."""

    def __init__(self, assets: Assets, uv_maps: Mapping[int, UvMap] | None = None):
        """`uv_maps`: side -> map, to take instead of those computed from the topology."""
        arrays = assets.arrays
        self._topology = Topology(arrays["faces"], arrays["face_uvs"], arrays["uvs"])
        self._maps = dict(uv_maps or {})
        self.vertex_uvs = first_uv_of_vertex(self._topology, len(arrays["vertices_mean"]))

    def uv_map(self, side: int) -> UvMap:
        """Vertices [S, S, 3] and their weights [S, S, 3] at each texel of a chart of side S."""
        if side not in self._maps:
            self._maps[side] = uv_barycentric(self._topology, side)
        return self._maps[side]
