"""The network of mesh fitting: an auto-encoder whose decoder blends the layers of several experts, vertex by vertex.

Source: the published code's networks, as `docs/guide/mesh_fit.md` describes them. A row is what one vertex is conditioned on; all rows are
alike to the network, which sees no mesh.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ava_jax.core.types import Array, Assets
from ava_jax.tasks.mesh_fit import laplacian
from ava_jax.tasks.mesh_fit.layers import Arithmetic, affine, blend, blended
from ava_jax.tasks.mesh_fit.rows import CONDITIONS, TIME, rows_of_frames, rows_of_neighbours, with_motion

POSITION, OFFSET = "position", "offset"  # what the network's output is: the vertex, or how far it lies from the source's

_GATE_WIDTH = 64
_EXPERT_BIAS = 0.01
# Rows of a mesh are filled up with zeros to a multiple of this: compilers for GPUs do so before every product, copying its operands.
_ROW_TILE = 128


class Dense(nnx.Module):
    """A layer of one weight [in, out]; inputs in the order coordinates (and joints), then what the network made."""

    def __init__(self, d_in: int, d_out: int, *, rngs: nnx.Rngs):
        """Starts uniform, within the reciprocal root of the number of inputs, weight and bias alike."""
        bound = 1 / math.sqrt(d_in)
        self.weight = nnx.Param(_uniform(rngs, (d_in, d_out), bound))
        self.bias = nnx.Param(_uniform(rngs, (d_out,), bound))


class Experts(nnx.Module):
    """One layer of each of E experts; inputs in the order code, then coordinates or the layer before."""

    def __init__(self, experts: int, d_in: int, d_out: int, *, rngs: nnx.Rngs):
        """Starts as published: uniform within sqrt(6 / (in out)), much closer to 0 than one expert by itself would, biases 0.01."""
        self.weight = nnx.Param(_uniform(rngs, (experts, d_in, d_out), math.sqrt(6 / (d_in * d_out))))
        self.bias = nnx.Param(jnp.full((experts, d_out), _EXPERT_BIAS, jnp.float32))


def _uniform(rngs: nnx.Rngs, shape: tuple[int, ...], bound: float) -> jax.Array:
    return jax.random.uniform(rngs.params(), shape, jnp.float32, -bound, bound)


class Coordinates(NamedTuple):
    """What all layers are given.

    Attributes:
      fixed: [B R, C + 1], coordinates of each row, metres, and ones.
      joints: [B, J], metres, of each mesh; None where there are none.
    """

    fixed: jax.Array
    joints: jax.Array | None

    @property
    def ones(self) -> jax.Array:
        """What a layer of biases alone is given: [B R, 1]."""
        return self.fixed[:, -1:]


class Encoding(NamedTuple):
    """The two halves of a row's code [R, Z]; the code is their sum, as in training without noise."""

    mean: jax.Array
    logvar: jax.Array


class Encoder(nnx.Module):
    """Coordinates (and joints) to a code, in three layers that are each given them again."""

    def __init__(self, coordinates: int, joints: int, hidden: int, latent: int, *, rngs: nnx.Rngs):
        """Fresh layers; `joints` counts their values, 3 each."""
        given = coordinates + joints
        self.first = Dense(given, hidden, rngs=rngs)
        self.second = Dense(given + hidden, hidden, rngs=rngs)
        self.mean = Dense(given + hidden, latent, rngs=rngs)
        self.logvar = Dense(given + hidden, latent, rngs=rngs)

    def code(self, arithmetic: Arithmetic, given: Coordinates) -> jax.Array:
        """The code of each row: [R, Z]. One product with the sum of the two halves' weights."""
        weight, bias = (a[...] + b[...] for a, b in ((self.mean.weight, self.logvar.weight), (self.mean.bias, self.logvar.bias)))
        return _given(arithmetic, weight, bias, given, self._hidden(arithmetic, given))

    def encoding(self, arithmetic: Arithmetic, given: Coordinates) -> Encoding:
        """Both halves of each row's code: [R, Z]."""
        before = self._hidden(arithmetic, given)
        return Encoding(*(_given(arithmetic, layer.weight[...], layer.bias[...], given, before) for layer in (self.mean, self.logvar)))

    def _hidden(self, arithmetic, given):
        first = _given(arithmetic, self.first.weight[...], self.first.bias[...], given, None)
        return _given(arithmetic, self.second.weight[...], self.second.bias[...], given, first)


def _given(arithmetic, weight, bias, given: Coordinates, before: jax.Array | None) -> jax.Array:
    """One layer of the encoder: [R, M]. Joints are the same in all rows of a mesh: their product is taken once."""
    columns = given.fixed.shape[1] - 1
    joints = 0 if given.joints is None else given.joints.shape[1]
    fixed = jnp.concatenate([weight[:columns], bias[None]])
    out = affine(arithmetic, jnp.float32, None, before, given.fixed, weight[columns + joints :], fixed)
    if given.joints is None:
        return out
    of_joints = jnp.matmul(given.joints, weight[columns : columns + joints], precision="highest")
    return (out.reshape(len(of_joints), -1, out.shape[1]) + of_joints[:, None]).reshape(out.shape)


class Decoder(nnx.Module):
    """Code and coordinates to three values per row, by three layers that a gate blends from those of the experts."""

    def __init__(self, coordinates: int, hidden: int, latent: int, experts: int, *, rngs: nnx.Rngs):
        """Fresh layers."""
        width = _GATE_WIDTH
        self.gates = nnx.List(
            [
                Dense(latent + coordinates, width, rngs=rngs),
                Dense(width, width, rngs=rngs),
                Dense(width, experts, rngs=rngs),
            ]
        )
        sizes = ((latent + coordinates, hidden), (latent + hidden, hidden), (latent + hidden, 3))
        self.experts = nnx.List([Experts(experts, d_in, d_out, rngs=rngs) for d_in, d_out in sizes])

    def gate(self, arithmetic: Arithmetic, given: Coordinates, code: jax.Array) -> jax.Array:
        """How much each expert counts in each row, in sum 1: [R, E]."""
        first, second, third = self.gates
        latent = code.shape[1]
        fixed = jnp.concatenate([first.weight[latent:], first.bias[None]])
        out = affine(arithmetic, jnp.float32, code, None, given.fixed, first.weight[:latent], fixed)
        for layer in (second, third):
            out = affine(arithmetic, jnp.float32, None, out, given.ones, layer.weight[...], layer.bias[None])
        return jax.nn.softmax(out, axis=-1)

    def __call__(self, arithmetic: Arithmetic, given: Coordinates, code: jax.Array) -> jax.Array:
        """Values of each row: [R, 3]."""
        gate = self.gate(arithmetic, given, code)
        first, second, third = self.experts
        latent = code.shape[1]
        fixed = jnp.concatenate([first.weight[:, latent:], first.bias[:, None]], axis=1)
        out = blended(arithmetic, gate, code, None, given.fixed, first.weight[:, :latent], fixed)
        for layer, kind in ((second, arithmetic.dtype), (third, jnp.float32)):
            experts, d_in, d_out = layer.weight.shape
            weight = jnp.swapaxes(layer.weight[...], 0, 1).reshape(d_in, experts * d_out)
            out = blend(gate, affine(arithmetic, kind, code, out, given.ones, weight, layer.bias.reshape(1, -1)))
        return out


class MeshFitter(nnx.Module):
    """Meshes of an interpolated skin to the meshes that a scanner would have seen: [B, n, V, 3] to [B, V, 3], metres."""

    def __init__(self, config: Any, assets: Assets, *, rngs: nnx.Rngs):
        """A fresh model.

        Args:
          config: `config.model`.
          assets: `faces` int32 [M, 3].
          rngs: stream `params`.

        Raises:
          ValueError: a value of the config is none that there is.
        """
        _check(config)
        self.condition_on, self.frames = config.condition_on, config.condition_frames
        self.joints, self.output, self.motion_gain = config.joints, config.output, config.motion_gain
        self.arithmetic = Arithmetic.of(config.precision)
        coordinates = 3 * config.condition_frames
        self.encoder = Encoder(coordinates, 3 * config.joints, config.hidden, config.latent, rngs=rngs)
        self.decoder = Decoder(coordinates, config.hidden, config.latent, config.experts, rngs=rngs)
        self.neighbours = laplacian.Neighbours(np.asarray(assets.arrays["faces"]))

    def fit(self, source: Array, joints: Array | None = None, *, arithmetic: Arithmetic | None = None) -> jax.Array:
        """The vertices that have a prediction, all V or, conditioned on vertices, the last V - n + 1: [B, R, 3], metres.

        Args:
          source: [B, n, V, 3], oldest first, the last one the mesh to be fitted; conditioned on vertices [B, 1, V, 3].
          joints: [B, J, 3], of a model with joints.
          arithmetic: of the products; by default the config's.

        Raises:
          ValueError: the arrays do not fit the model.
        """
        self._check_inputs(source, joints)
        rows = rows_of_frames(source) if self.condition_on == TIME else rows_of_neighbours(source, self.frames)
        arithmetic = self.arithmetic if arithmetic is None else arithmetic
        given = coordinates_of(with_motion(rows, self.motion_gain) if self.motion_gain else rows, joints)
        code = self.encoder.code(arithmetic, given)
        found = self.decoder(arithmetic, given, code).reshape(len(rows), -1, 3)[:, : rows.shape[1]]
        return found if self.output == POSITION else found + rows[:, :, -3:]

    def __call__(self, source: Array, joints: Array | None = None, *, arithmetic: Arithmetic | None = None) -> jax.Array:
        """As `fit`, with every vertex: those without a prediction are the source's. [B, V, 3], metres."""
        found = self.fit(source, joints, arithmetic=arithmetic)
        return self.completed(source, found)

    def completed(self, source: Array, found: jax.Array) -> jax.Array:
        """Predictions [B, R, 3] with the first V - R vertices of the source [B, n, V, 3] before them: [B, V, 3]."""
        missing = source.shape[2] - found.shape[1]
        return jnp.concatenate([source[:, -1, :missing], found], axis=1) if missing else found

    def _check_inputs(self, source: Array, joints: Array | None) -> None:
        frames = self.frames if self.condition_on == TIME else 1
        if source.ndim != 4 or source.shape[1] != frames or source.shape[3] != 3:
            raise ValueError(f"MeshFitter: source must be [B, {frames}, V, 3] when conditioned on {self.condition_on}; got {source.shape}.")
        expected = (len(source), self.joints, 3)
        if self.joints and (joints is None or joints.shape != expected):
            got = None if joints is None else joints.shape
            raise ValueError(f"MeshFitter: joints must be {expected} (config.model.joints); got {got}.")


def coordinates_of(rows: jax.Array, joints: Array | None) -> Coordinates:
    """What the layers are given of rows [B, R, C] and joints [B, J, 3]; the rows are filled up with zeros to a multiple of 128."""
    filled = jnp.pad(rows, ((0, 0), (0, -rows.shape[1] % _ROW_TILE), (0, 0)))
    fixed = jnp.concatenate([filled, jnp.ones_like(filled[..., :1])], axis=-1).reshape(-1, rows.shape[2] + 1)
    return Coordinates(fixed.astype(jnp.float32), None if joints is None else jnp.asarray(joints, jnp.float32).reshape(len(rows), -1))


def _check(config: Any) -> None:
    if config.condition_on not in CONDITIONS:
        raise ValueError(f"config.model.condition_on must be one of {', '.join(CONDITIONS)}; got {config.condition_on!r}.")
    if config.output not in (POSITION, OFFSET):
        raise ValueError(f"config.model.output must be {POSITION!r} or {OFFSET!r}; got {config.output!r}.")
    for name, least in (("condition_frames", 1), ("joints", 0), ("hidden", 1), ("latent", 1), ("experts", 1), ("motion_gain", 0)):
        if config[name] < least:
            raise ValueError(f"config.model.{name} must be at least {least}; got {config[name]}.")
