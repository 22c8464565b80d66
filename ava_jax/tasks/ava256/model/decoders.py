"""Decoders of geometry and colour. Source: Codec Avatar Studio, 2024, section 4 and its supplement."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

from ava_jax.core.variables import Constant
from ava_jax.nn.layers import WNConvUp, WNDense, leaky_relu
from ava_jax.nn.sampling import resize_bilinear, sample_bilinear
from ava_jax.tasks.ava256.kernels import voxels
from ava_jax.tasks.ava256.kernels.voxels import COLOUR_OFFSET, COLOUR_SCALE, LOG_OPACITY_SCALE, Slab
from ava_jax.tasks.ava256.model.components import COMPONENT_GAIN, ColourComponents, component_embedding
from ava_jax.tasks.ava256.model.encoders import IdentityCode
from ava_jax.tasks.ava256.model.sizes import CODE_CHANNELS, CODE_SIDE, VERTEX_SIDE, Sizes
from ava_jax.tasks.ava256.model.texels import COLOUR_UNIT

# Channels by the resolution that a layer writes; the slab's own layer writes its d or 3 d.
_LADDER = {8: 256, 16: 128, 32: 128, 64: 64, 128: 64, 256: 32, 512: 16, 1024: 8}
_HEAD = 64
_VIEW_HIDDEN, _VIEW_CHANNELS = 16, 8
_MOTION_SCALE = 0.01
_VIEW_SCALE = 3.0  # a step of the optimiser's changes a factor by so many times its learning rate
_COEFFICIENT_SCALE = 0.1  # codes grow to tens


class Geometry(NamedTuple):
    """Outputs of the geometry decoder.

    Attributes:
      log_opacity: [B, S, S, d], the slab of opacities' logarithms; or a `Slab`, of ten times these.
      vertices: [B, V, 3], normalised.
      position: [B, K, 3], residual, volume radii.
      rotation: [B, K, 3], residual, rotation vector, radians.
      scale: [B, K, 3], residual, a factor.
    """

    log_opacity: jax.Array | Slab
    vertices: jax.Array
    position: jax.Array
    rotation: jax.Array
    scale: jax.Array


class Ladder(nnx.Module):
    """Transposed convolutions from 4 x 4 to the slab, with a skip connection from the identity's map at each resolution.

    `branch_sides` names the resolutions whose features another head reads. Where the slab's own is among them, the last layer has channels
    of features for that head besides the slab's.
    """

    def __init__(self, d_in: int, d_out: int, sizes: Sizes, *, branch_sides: tuple[int, ...] = (), rngs: nnx.Rngs):
        hidden = {side: sizes.channels(c) for side, c in _LADDER.items()}
        widths = [d_in] + [hidden[side] for side in _LADDER if side < sizes.slab]
        self.doublings = nnx.List([WNConvUp(i, o, dtype=sizes.dtype, rngs=rngs) for i, o in zip(widths, widths[1:])])
        extra = hidden[sizes.slab] if sizes.slab in branch_sides else 0
        self.last = WNConvUp(widths[-1], d_out + extra, activate=False, dtype=sizes.dtype, rngs=rngs)
        self.d_out = d_out
        self.slab = sizes.slab, sizes.depth
        self.branch_sides = branch_sides
        self.branch_widths = {side: hidden[side] for side in branch_sides}

    def __call__(
        self, x: jax.Array, maps: tuple[jax.Array, ...], texels: jax.Array, *, kernels: bool = True
    ) -> tuple[jax.Array | Slab, dict[int, jax.Array]]:
        """[B, 4, 4, C], maps and a bias per texel, [S, S, d_out], to the slab and the features at `branch_sides`.

        The slab is float32 [B, S, S, d_out], or a `Slab` where a kernel makes the voxels from it.
        """
        maps = {m.shape[1]: m for m in maps}
        branches = {}
        for layer in self.doublings:
            x = _add_skip(layer(x), maps)
            if x.shape[1] in self.branch_sides:
                branches[x.shape[1]] = x
        if kernels and self.uses_kernels(x.shape[0]):
            return Slab(self.last.blocks(x), self.last.bias[...], texels), branches
        x = self.last(x)
        if x.shape[1] in self.branch_sides:
            branches[x.shape[1]] = _add_skip(leaky_relu(x[..., self.d_out :]), maps)
        return add_texels(x[..., : self.d_out], texels), branches

    def uses_kernels(self, frames: int) -> bool:
        """Whether kernels make the voxels of so many frames."""
        side, depth = self.slab
        # A slab as small as the vertices' map: geometry's last layer has other channels too, and kernels take both slabs or none.
        return side > VERTEX_SIDE and voxels.is_supported(self.last.dtype, frames, side, depth)


def _add_skip(x: jax.Array, maps: dict[int, jax.Array]) -> jax.Array:
    """Adds the identity's map of the same resolution and channels to x [B, R, R, C], if there is one."""
    identity = maps.get(x.shape[1])
    if identity is None or identity.shape[-1] != x.shape[-1]:
        return x
    return (x + identity) / math.sqrt(2.0)


class ExpressionBasis(nnx.Module):
    """Offsets linear in the expression code, each vertex or texel by itself, the same for everybody.

    Lips that part and lids that close are edges between neighbours, which convolutions from coarse to fine learn last.
    """

    def __init__(self, count: int, shape: tuple[int, ...], *, components: jax.Array | None = None, rngs: nnx.Rngs):
        """`count` of them, of this shape, zero at first; or the first `components` [K, *shape], of a `ComponentCode`'s coefficients."""
        self.coefficients = WNDense(CODE_SIDE * CODE_SIDE * CODE_CHANNELS, count, activate=False, rngs=rngs)
        basis = jnp.zeros((count, math.prod(shape)))
        if components is not None:
            weight = component_embedding(count).T / (COMPONENT_GAIN * _COEFFICIENT_SCALE)
            self.coefficients.weight[...] = weight
            self.coefficients.magnitude[...] = jnp.full(count, jnp.linalg.norm(weight))
            basis = basis.at[: len(components)].set(jnp.asarray(components, jnp.float32).reshape(len(components), -1))
        self.basis = nnx.Param(basis)
        self.shape = shape

    def __call__(self, z: jax.Array) -> jax.Array:
        """Expression code [B, 4, 4, 16] to offsets [B, *shape]."""
        return self.combined(z, self.basis[...])

    def combined(self, z: jax.Array, basis: jax.Array) -> jax.Array:
        """The code's first coefficients times as many vectors, [K, N], summed up: [B, *shape]."""
        coefficients = _COEFFICIENT_SCALE * self.coefficients(z.reshape(z.shape[0], -1))[:, : len(basis)]
        offsets = jnp.matmul(coefficients, basis, precision=lax.Precision.HIGHEST)  # fewer digits would shake vertices
        return offsets.reshape(-1, *self.shape)


class ViewFactors(nnx.Module):
    """Factors of each texel's colour by the direction it is seen from, the same for everybody: a polynomial of the unit direction.

    Light that moves with the cameras shades a head by its normals, of which every texel has its own: convolutions from coarse to fine learn
    that slowly.
    """

    def __init__(self, degree: int, side: int):
        """Of up to this degree, for `side` x `side` texels; 1 at first, from everywhere."""
        self.degree, self.side = degree, side
        self.coefficients = nnx.Param(jnp.zeros((len(_monomials(degree)), side * side * 3)))

    def __call__(self, camera_position: jax.Array) -> jax.Array:
        """Camera positions [B, 3], any unit, to factors [B, S, S, 3], at least 0."""
        direction = camera_position / jnp.linalg.norm(camera_position, axis=-1, keepdims=True)
        powers = jnp.stack(
            [math.prod(direction[:, i] ** n for i, n in enumerate(m)) * jnp.ones_like(direction[:, 0]) for m in _monomials(self.degree)],
            axis=1,
        )
        factors = 1.0 + _VIEW_SCALE * jnp.matmul(powers, self.coefficients[...], precision=lax.Precision.HIGHEST)
        return jax.nn.relu(factors).reshape(-1, self.side, self.side, 3)


def _monomials(degree: int) -> list[tuple[int, int, int]]:
    """Exponents of x, y, z up to a degree, of z at most 1, as z^2 = 1 - x^2 - y^2: (degree + 1)^2 of them."""
    return [(i, j, k) for k in (0, 1) for i in range(degree + 1) for j in range(degree + 1) if i + j + k <= degree]


class GeometryDecoder(nnx.Module):
    """Codes to vertices, motion of the primitives, and their opacity."""

    def __init__(
        self,
        sizes: Sizes,
        vertex_uvs: jax.Array,
        *,
        initial_density: float | jax.Array = 1.0,
        basis: int = 0,
        components: jax.Array | None = None,
        rngs: nnx.Rngs,
    ):
        """Fresh layers.

        Args:
          vertex_uvs: [V, 2] in 0..1, where each vertex is read.
          initial_density: about what every voxel starts with, per volume radius; or [d], by the voxel's depth.
          basis: vectors of an `ExpressionBasis` of the vertices; 0: none.
          components: [M, V, 3], normalised, that it starts with.
        """
        motion_side, vertex_side = sizes.per_side, sizes.vertex_map
        self.code = WNDense(CODE_CHANNELS, CODE_CHANNELS, rngs=rngs)
        self.ladder = Ladder(2 * CODE_CHANNELS, sizes.depth, sizes, branch_sides=(motion_side, vertex_side), rngs=rngs)
        head = sizes.channels(_HEAD)
        widths = self.ladder.branch_widths
        self.motion = nnx.List([WNDense(widths[motion_side], head, rngs=rngs), WNDense(head, 9, activate=False, rngs=rngs)])
        self.vertices = nnx.List([WNDense(widths[vertex_side], head, rngs=rngs), WNDense(head, 3, activate=False, rngs=rngs)])
        log_opacity = jnp.log(jnp.asarray(initial_density, jnp.float32)) / LOG_OPACITY_SCALE
        self.bias = nnx.Param(jnp.broadcast_to(log_opacity, (sizes.slab, sizes.slab, sizes.depth)) + 0.0)
        # v is not flipped: this map lies upside down against the geometry image, as in the published weights.
        self.points = Constant(jnp.asarray(2.0 * np.asarray(vertex_uvs, np.float64) - 1.0, jnp.float32))
        self.sides = (motion_side, vertex_side)
        self.basis = ExpressionBasis(basis, (len(vertex_uvs), 3), components=components, rngs=rngs) if basis else None

    def __call__(self, z: jax.Array, identity: IdentityCode) -> Geometry:
        """Expression code [B, 4, 4, 16] and identity to a head's geometry."""
        x = jnp.concatenate([self.code(z), identity.z_geo], axis=-1)
        # Kernels take both slabs or none, and they add nothing of the sample's own.
        slab, branches = self.ladder(x, identity.maps_geo, self.bias[...], kernels=identity.colours is None)
        motion_side, vertex_side = self.sides
        first, second = self.motion
        motion = second(first(branches[motion_side])).reshape(x.shape[0], -1, 9) * _MOTION_SCALE
        first, second = self.vertices
        vertices = sample_bilinear(second(first(branches[vertex_side])), self.points[...])
        return Geometry(
            log_opacity=slab if isinstance(slab, Slab) else LOG_OPACITY_SCALE * slab,
            vertices=vertices if self.basis is None else vertices + self.basis(z),
            position=motion[..., 0:3],
            rotation=motion[..., 3:6],
            scale=jnp.exp(motion[..., 6:9]),
        )


class ColourDecoder(nnx.Module):
    """Codes and view direction to the slab of colours."""

    def __init__(
        self,
        sizes: Sizes,
        *,
        initial_texture: jax.Array | None = None,
        basis: int = 0,
        components: ColourComponents | None = None,
        view_degree: int = 0,
        rngs: nnx.Rngs,
    ):
        """`initial_texture`: [T, T, 3], 0-255, the slab's colours before training, at all its depths; None: grey.

        `basis`: vectors of an `ExpressionBasis` of the texels, at all depths, for identities that have their neutral colours; 0: none.
        `components`: that it starts with. `view_degree`: of `ViewFactors`; 0: none.
        """
        view_channels = sizes.channels(_VIEW_CHANNELS)
        hidden = sizes.channels(_VIEW_HIDDEN)
        self.view = nnx.List([WNDense(3, hidden, rngs=rngs), WNDense(hidden, view_channels * CODE_SIDE**2, rngs=rngs)])
        self.code = WNDense(CODE_CHANNELS, CODE_CHANNELS, rngs=rngs)
        self.ladder = Ladder(view_channels + 2 * CODE_CHANNELS, 3 * sizes.depth, sizes, rngs=rngs)
        bias = jnp.zeros((sizes.slab, sizes.slab, 3))
        if initial_texture is not None:
            bias = (resize_bilinear(initial_texture, sizes.slab, sizes.slab) - COLOUR_OFFSET) / COLOUR_SCALE
        self.bias = nnx.Param(jnp.tile(bias, sizes.depth))
        start, gains, shares = (None, None, None) if components is None else (x.reshape(len(x), -1) / COLOUR_SCALE for x in components)
        self.gains = None if gains is None else Constant(gains)
        self.shares = None if shares is None else Constant(shares)
        self.depth = sizes.depth
        self.basis = ExpressionBasis(basis, (sizes.slab, sizes.slab, 3), components=start, rngs=rngs) if basis else None
        self.view_factors = ViewFactors(view_degree, sizes.slab) if view_degree else None

    def __call__(self, z: jax.Array, identity: IdentityCode, camera_position: jax.Array) -> jax.Array | Slab:
        """Expression code [B, 4, 4, 16], identity and camera position [B, 3], any unit, to colours.

        Returns:
          [B, S, S, 3 d], channels (depth, colour), or a `Slab` of these.
        """
        view = camera_position / jnp.linalg.norm(camera_position, axis=-1, keepdims=True)
        for layer in self.view:
            view = layer(view)
        view = view.reshape(z.shape[0], -1, CODE_SIDE, CODE_SIDE).transpose(0, 2, 3, 1)  # the published weights' order
        x = jnp.concatenate([view, self.code(z), identity.z_tex], axis=-1)
        slab, _ = self.ladder(x, identity.maps_tex, self.bias[...], kernels=identity.colours is None)
        if identity.colours is None:
            return slab
        texels = (identity.colours - COLOUR_OFFSET) / COLOUR_SCALE
        if self.basis is not None:
            texels = texels + self.basis(z)
            if self.gains is not None and self.shares is not None and identity.around is not None:
                texels = texels + self.basis.combined(z, self.gains[...]) * (identity.colours / COLOUR_UNIT)
                texels = texels + self.basis.combined(z, self.shares[...]) * (identity.around / COLOUR_UNIT)
        slab = slab + jnp.tile(texels, self.depth)
        if self.view_factors is None:
            return slab
        factors = self.view_factors(camera_position)
        return slab * jnp.tile(factors, self.depth) + (COLOUR_OFFSET / COLOUR_SCALE) * jnp.tile(factors - 1.0, self.depth)

    def factors(self, camera_position: jax.Array) -> jax.Array | float:
        """What multiplies each texel's colour from cameras [B, 3]: [B, S, S, 3], or 1."""
        return 1.0 if self.view_factors is None else self.view_factors(camera_position)


@jax.custom_vjp
def add_texels(slab: jax.Array, bias: jax.Array) -> jax.Array:
    """A slab [B, S, S, C] plus a float32 value for each of its texels [S, S, C], in float32."""
    return slab.astype(jnp.float32) + bias


def _texels_forward(slab, bias):
    return add_texels(slab, bias), jnp.zeros(0, slab.dtype)


def _texels_backward(like, cotangent):
    # Written to memory once: otherwise each of its readers gathers it again from the primitives' voxels.
    d_slab = lax.optimization_barrier(cotangent.astype(like.dtype))
    return d_slab, _sum_of_frames(d_slab.astype(jnp.float32))


def _sum_of_frames(x: jax.Array) -> jax.Array:
    """Sum over the first axis: [B, ...] to [...]."""
    if jax.default_backend() != "cpu":
        return jnp.sum(x, axis=0)
    return functools.reduce(jnp.add, [x[i] for i in range(len(x))])  # on a CPU ten times as fast as XLA's sum over an outer axis


add_texels.defvjp(_texels_forward, _texels_backward)
