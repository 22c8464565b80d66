"""Weights of the published checkpoints, by key, to ours and back.

The published model keeps channels first: convolutions OIHW, transposed ones IOHW, dense layers (out, in). A fixed buffer may be left
out of a state dict; where it is present it must fit, and lookups (UV maps, vertex UVs) are taken from it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ava_jax.nn.layers import WNDense
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.model.decoders import Ladder
from ava_jax.tasks.ava256.model.encoders import IdentityEncoder, UNetEncoder

_PREFIX = "module."


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A key's array in the published layout (`read`), and how to set ours from it (`write`; None: a constant of the architecture)."""

    read: Callable[[], np.ndarray]
    write: Callable[[np.ndarray], None] | None
    required: bool = True


def _variable(variable: nnx.Variable, *axes: int, shape: tuple[int, ...] | None = None, required: bool = True) -> _Entry:
    """A variable whose `axes`-transpose, reshaped to `shape`, is the published array."""
    axes = axes or tuple(range(variable.ndim))

    def read():
        array = np.transpose(np.asarray(variable[...]), axes)
        return array if shape is None else array.reshape(shape)

    def write(array):
        ours = np.reshape(array, [variable.shape[a] for a in axes]).transpose(np.argsort(axes))
        variable[...] = jnp.asarray(ours, variable.dtype)

    return _Entry(read, write, required)


def _layer(key: str, layer: nnx.Module, *, image: bool = True, transposed: bool = False) -> Iterator[tuple[str, _Entry]]:
    """weight, bias and, where there is one, g; `image`: whether a dense layer is published as a 1 x 1 convolution."""
    weight = layer.weight
    if weight.ndim == 2:
        d_in, d_out = weight.shape
        yield f"{key}.weight", _variable(weight, 1, 0, shape=(d_out, d_in, 1, 1) if image else None)
    else:
        yield f"{key}.weight", _variable(weight, *((2, 3, 0, 1) if transposed else (3, 2, 0, 1)))
    yield f"{key}.bias", _variable(layer.bias)
    if hasattr(layer, "magnitude"):
        yield f"{key}.g", _variable(layer.magnitude)


def _sequence(key: str, layers, **options) -> Iterator[tuple[str, _Entry]]:
    """Layers at even indices, as activations count too."""
    for i, layer in enumerate(layers):
        yield from _layer(f"{key}.{2 * i}", layer, **options)


def _fixed(value: np.ndarray) -> _Entry:
    return _Entry(lambda: value, None, required=False)


def _unet(key: str, encoder: UNetEncoder) -> Iterator[tuple[str, _Entry]]:
    for i, (layer, tap) in enumerate(zip(encoder.halvings, encoder.taps)):
        yield from _layer(f"{key}.layers.e{i}.0", layer)
        yield from _layer(f"{key}.layers.b{i}.0", tap)
    yield from _layer(f"{key}.enc", encoder.code)


def _identity_encoder(encoder: IdentityEncoder) -> Iterator[tuple[str, _Entry]]:
    yield from _unet("id_encoder.tex", encoder.tex)
    yield from _unet("id_encoder.geo", encoder.geo)
    for i, combine in enumerate(reversed(encoder.combiners)):
        for name, layer in (("t2g", combine.to_geo), ("g2t", combine.to_tex), ("g", combine.geo), ("t", combine.tex)):
            yield from _layer(f"id_encoder.comb.layers.{name}{i}.0", layer)
    side = encoder.warp.shape[0]
    line = np.linspace(-1.0, 1.0, side, dtype=np.float32)
    yield "id_encoder.bias", _variable(encoder.warp, 2, 0, 1, shape=(1, 2, side, side))
    yield "id_encoder.warpidentity", _fixed(np.stack(np.meshgrid(line, line))[None])


def _decoder(key: str, code: WNDense, ladder: Ladder, bias: nnx.Param) -> Iterator[tuple[str, _Entry]]:
    yield f"{key}.bias", _variable(bias, 2, 0, 1)
    for i, layer in enumerate((*ladder.doublings, ladder.last)):
        yield from _layer(f"{key}.layers.t{i}.0", layer, transposed=True)
    yield from _layer(f"{key}.encmod.0", code)


def _entries(model: AvatarCodec) -> dict[str, _Entry]:
    entries = dict(_identity_encoder(model.identity_encoder))
    for owner in ("id_encoder", "expr_encoder"):
        entries[f"{owner}.uv_tidx"] = _variable(model.uv_index, 2, 0, 1, required=False)
        entries[f"{owner}.uv_bary"] = _variable(model.uv_weights, 2, 0, 1, required=False)
    expression = model.expression_encoder
    entries |= _sequence("expr_encoder.tex", expression.tex)
    entries |= _sequence("expr_encoder.geo", expression.geo)
    entries |= _sequence("expr_encoder.comb", (*expression.shared, *expression.head, expression.last))
    entries |= _layer("bottleneck.mu", model.bottleneck.mean)
    entries |= _layer("bottleneck.logstd", model.bottleneck.logstd)
    geometry, colour = model.geometry_decoder, model.colour_decoder
    entries["decoder_assembler.adaptwarps"] = _variable(model.assembler.running_scale)
    entries |= _decoder("decoder_assembler.geodec", geometry.code, geometry.ladder, geometry.bias)
    entries |= _sequence("decoder_assembler.geodec.motion", geometry.motion)
    entries |= _sequence("decoder_assembler.geodec.geo", geometry.vertices)
    vertices = geometry.points.shape[0]
    entries["decoder_assembler.geodec.coords"] = _variable(geometry.points, shape=(1, vertices, 1, 2), required=False)
    entries |= _decoder("decoder_assembler.rgbdec", colour.code, colour.ladder, colour.bias)
    entries |= _sequence("decoder_assembler.rgbdec.viewmod", colour.view, image=False)
    calibration = model.calibration
    entries["colorcal.wcam"] = _variable(calibration.camera_gain)
    entries["colorcal.bcam"] = _variable(calibration.camera_offset)
    entries["colorcal.wident"] = _variable(calibration.identity_gain)
    entries["colorcal.bident"] = _variable(calibration.identity_offset)
    if model.background is not None:
        entries |= _background(model)
    return entries


def _background(model: AvatarCodec) -> Iterator[tuple[str, _Entry]]:
    background = model.background
    for name, code in (("cam", background.camera), ("id", background.identity)):
        yield f"bgmodel.{name}_ident", _fixed(np.eye(code.first.weight.shape[0], dtype=np.float32))
        yield from _sequence(f"bgmodel.{name}mod", (code.first, code.second), image=False)
    yield from _sequence("bgmodel.mlp", (*background.layers, background.last))


def state_dict(model: AvatarCodec) -> dict[str, np.ndarray]:
    """The model's weights and buffers under the published keys and layouts: key -> [...], as published."""
    return {key: entry.read() for key, entry in _entries(model).items()}


def load_state_dict(model: AvatarCodec, weights: Mapping[str, np.ndarray]) -> None:
    """Sets the model's weights, in place, from a published state dict.

    Args:
      model: of the sizes that the weights were trained with.
      weights: key -> array [...], as published; keys with or without the prefix "module.".

    Raises:
      ValueError: keys are missing, unknown or of another shape; all of one kind are counted, the first named. The model is untouched.
    """
    weights = {key.removeprefix(_PREFIX): np.asarray(array) for key, array in weights.items()}
    entries = _entries(model)
    _refuse("lacks", [key for key, entry in entries.items() if entry.required and key not in weights])
    _refuse("has unknown", [key for key in weights if key not in entries])
    shapes = {key: entries[key].read().shape for key in weights}
    _refuse("has wrong shapes at", [f"{k} ({weights[k].shape}, not {shapes[k]})" for k in weights if weights[k].shape != shapes[k]])
    for key, array in weights.items():
        if entries[key].write is not None:
            entries[key].write(array)


def _refuse(what: str, keys: list[str]) -> None:
    if keys:
        named = ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")
        raise ValueError(f"load_state_dict: the state dict {what} {len(keys)} keys: {named}. Build the model with its sizes.")
