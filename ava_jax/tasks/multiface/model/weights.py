"""Weights of the published checkpoints, by key, to ours and back, to the bit.

The published model keeps channels first: convolutions OIHW, transposed ones IOHW, dense layers (out, in), pictures flattened channels
first. Its anchors (camera 0's gain and offset) and the warp's base grid are constants: they are written, and must fit where they are read.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ava_jax.core.names import near
from ava_jax.tasks.multiface.model.layers import ARCHS, Down, Up
from ava_jax.tasks.multiface.model.network import DeepAppearanceModel

PREFIX = "module."  # of keys of a model that was trained on several GPUs
_SHOWN = 3


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A key's array in the published layout (`read`), and how to set our variable from it (`write`; None: a constant)."""

    read: Callable[[], np.ndarray]
    write: Callable[[np.ndarray], None] | None


def _variable(variable: nnx.Param, *axes: int, split: tuple[int, ...] = (), shape: tuple[int, ...] | None = None) -> _Entry:
    """A parameter, first reshaped to `split`, whose `axes`-transpose, reshaped to `shape`, is the published array."""
    split = split or variable.shape
    axes = axes or tuple(range(len(split)))
    published = [split[axis] for axis in axes]

    def read() -> np.ndarray:
        return np.asarray(variable[...]).reshape(split).transpose(axes).reshape(published if shape is None else shape)

    def write(array: np.ndarray) -> None:
        variable[...] = jnp.asarray(array.reshape(published).transpose(np.argsort(axes)).reshape(variable.shape), variable.dtype)

    return _Entry(read, write)


def _fixed(value: np.ndarray) -> _Entry:
    return _Entry(lambda: value, None)


def _affine(key: str, layer: nnx.Module, weight: _Entry, bias: _Entry | None = None) -> Iterator[tuple[str, _Entry]]:
    yield f"{key}.weight", weight
    yield f"{key}.bias", bias or _variable(layer.bias)
    if hasattr(layer, "magnitude"):
        yield f"{key}.g", _variable(layer.magnitude)


def _dense(key: str, layer: nnx.Module) -> Iterator[tuple[str, _Entry]]:
    return _affine(key, layer, _variable(layer.weight, 1, 0))


def _from_picture(key: str, layer: nnx.Module, channels: int) -> Iterator[tuple[str, _Entry]]:
    """A dense layer that reads a flattened picture [side, side, channels]; published [channels, side, side]."""
    size, out = layer.weight.shape
    side = round((size / channels) ** 0.5)
    return _affine(key, layer, _variable(layer.weight, 3, 2, 0, 1, split=(side, side, channels, out), shape=(out, size)))


def _to_picture(key: str, layer: nnx.Module, channels: int) -> Iterator[tuple[str, _Entry]]:
    """A dense layer whose outputs are a flattened picture [side, side, channels]; published [channels, side, side]."""
    d_in, size = layer.weight.shape
    side = round((size / channels) ** 0.5)
    picture = (side, side, channels)
    weight = _variable(layer.weight, 3, 1, 2, 0, split=(d_in, *picture), shape=(size, d_in))
    yield from _affine(key, layer, weight, _variable(layer.bias, 2, 0, 1, split=picture, shape=(size,)))
    # `_affine` gave the magnitude as it is: outputs are pictures there too.
    yield f"{key}.g", _variable(layer.magnitude, 2, 0, 1, split=picture, shape=(size,))


def _convolution(key: str, layer: nnx.Module, *, transposed: bool = False) -> Iterator[tuple[str, _Entry]]:
    return _affine(key, layer, _variable(layer.weight, *((2, 3, 0, 1) if transposed else (3, 2, 0, 1))))


def _downs(key: str, downs: Iterable[Down]) -> Iterator[tuple[str, _Entry]]:
    for i, down in enumerate(downs):
        yield from _convolution(f"{key}.{i // 2}.conv{i % 2 + 1}", down.layer)
        if down.residual is not None:
            yield from _convolution(f"{key}.{i // 2}.res{i % 2 + 1}", down.residual)


def _ups(key: str, ups: Iterable[Up]) -> Iterator[tuple[str, _Entry]]:
    for i, up in enumerate(ups):
        name = f"{key}.{i // 2}.conv{i % 2 + 1}"
        height, width, channels = up.texel_bias.shape
        yield f"{name}.bias", _variable(up.texel_bias, 2, 0, 1, shape=(1, channels, height, width))
        yield from _convolution(f"{name}.deconv", up.layer, transposed=not up.repeats)
        if up.residual is not None:
            yield from _convolution(f"{key}.{i // 2}.res{i % 2 + 1}", up.residual)


def _entries(model: DeepAppearanceModel) -> dict[str, _Entry]:
    encoder, decoder, colour = model.encoder, model.decoder, model.colour
    found = dict(_downs("enc.texture_encoder.downsample", encoder.downs))
    found |= _from_picture("enc.texture_fc", encoder.texture, encoder.downs[-1].layer.weight.shape[-1])
    found |= _dense("enc.mesh_fc", encoder.mesh)
    found |= _dense("enc.fc", encoder.code)
    found |= _ups("dec.texture_decoder.upsample", decoder.ups)
    found |= _dense("dec.view_fc", decoder.view)
    found |= _dense("dec.z_fc", decoder.code)
    found |= _dense("dec.mesh_fc", decoder.mesh)
    found |= _to_picture("dec.texture_fc", decoder.seed, decoder.ups[0].layer.weight.shape[-2])
    rows = colour.gain.shape[0]
    found["cc.weight"] = _variable(colour.gain, shape=(rows, 3, 1, 1))
    found["cc.bias"] = _variable(colour.offset, shape=(rows, 3, 1, 1))
    found["cc.weight_anchor"] = _fixed(np.ones((1, 3, 1, 1), np.float32))
    found["cc.bias_anchor"] = _fixed(np.zeros((1, 3, 1, 1), np.float32))
    if model.warp is not None:
        warp = model.warp
        found |= _dense("warp.mlp.0", warp.mlp[0])
        found |= _to_picture("warp.mlp.2", warp.mlp[1], warp.ups[0].layer.weight.shape[-2])
        found |= _ups("warp.upsample", warp.ups)
        found |= _convolution(f"warp.upsample.{len(warp.ups) // 2 + 1}", warp.offset)
        line = np.linspace(-1.0, 1.0, warp.size, dtype=np.float32)
        found["warp.normal_grid"] = _fixed(np.stack(np.meshgrid(line, line))[None])
    return found


def state_dict(model: DeepAppearanceModel) -> dict[str, np.ndarray]:
    """The model's weights and constants under the published keys and layouts: key -> f32 [...]."""
    return {key: entry.read() for key, entry in _entries(model).items()}


def sizes(weights: Mapping[str, np.ndarray]) -> dict[str, int | str]:
    """What a published state dict says of its model: "arch", "cameras", "vertices", "code", "texture_size".

    Args:
      weights: key -> array [...]; keys with or without the prefix "module.".

    Raises:
      ValueError: it is no state dict of this model.
    """
    shapes = {key.removeprefix(PREFIX): np.shape(array) for key, array in weights.items()}
    last = max((key for key in shapes if key.startswith("dec.texture_decoder.upsample.") and key.endswith(".deconv.weight")), default="")
    needed = ("cc.weight", "dec.mesh_fc.bias", "dec.z_fc.weight", "dec.texture_fc.bias", last)
    if lacking := [key or "dec.texture_decoder.upsample" for key in needed if not shapes.get(key)]:
        raise ValueError(f"no state dict of this model: it lacks {lacking[0]}")
    code = shapes["dec.z_fc.weight"][1]
    halvings = sum(key.startswith("dec.texture_decoder.upsample.") and key.endswith(".deconv.weight") for key in shapes)
    side = round((shapes["dec.texture_fc.bias"][0] / code) ** 0.5)
    bias = shapes[last.replace("deconv.weight", "bias")]
    arch = "base"
    if any(key.startswith("warp.") for key in shapes):
        arch = "warp"
    elif "enc.texture_encoder.downsample.0.res1.weight" in shapes:
        arch = "res"
    elif shapes[last][-1] == 3:
        arch = "bilinear"
    elif bias[-1] == 1:
        arch = "non"
    vertices = shapes["dec.mesh_fc.bias"][0] // 3
    return {"arch": arch, "cameras": shapes["cc.weight"][0] + 1, "vertices": vertices, "code": code, "texture_size": side << halvings}


def load_state_dict(model: DeepAppearanceModel, weights: Mapping[str, np.ndarray]) -> int:
    """Sets the model's weights, in place, from a published state dict.

    Args:
      model: of the sizes that the weights were trained with.
      weights: key -> array [...], as published; keys with or without the prefix "module.".

    Returns:
      How many keys there were.

    Raises:
      ValueError: keys are missing, unknown or of another shape, or values are not finite; all of one kind are counted, the first named. The
        model is untouched.
    """
    weights = {key.removeprefix(PREFIX): np.asarray(array) for key, array in weights.items()}
    entries = _entries(model)
    ours = {key: entry.read() for key, entry in entries.items()}
    unknown = [f"{key} (near {near(key, ours, 1)[0]})" for key in weights if key not in ours]
    _refuse("has unknown", unknown)
    _refuse("lacks", [key for key, entry in entries.items() if entry.write is not None and key not in weights])
    wrong = [f"{key} ({array.shape}, not {ours[key].shape})" for key, array in weights.items() if array.shape != ours[key].shape]
    _refuse("has other shapes at", wrong)
    _refuse("has values that are not finite numbers at", [key for key, array in weights.items() if not _is_finite(array)])
    constants = [key for key, entry in entries.items() if entry.write is None and key in weights]
    _refuse("has other constants at", [key for key in constants if not np.allclose(weights[key], ours[key], atol=1e-5)])
    for key, array in weights.items():
        if entries[key].write is not None:
            entries[key].write(array)
    return len(weights)


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind == "f" and bool(np.isfinite(array).all())


def _refuse(what: str, keys: list[str]) -> None:
    if keys:
        named = ", ".join(key[:120] for key in keys[:_SHOWN]) + (", ..." if len(keys) > _SHOWN else "")
        raise ValueError(
            f"the state dict {what} {len(keys)} keys: {named}. The model must have the sizes that it was trained with ({', '.join(ARCHS)})."
        )
