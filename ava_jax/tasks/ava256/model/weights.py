"""Weights of the published checkpoints, by key, to ours and back.

The published model keeps channels first: convolutions OIHW, transposed ones IOHW, dense layers (out, in). A fixed buffer may be left
out of a state dict; where it is present it must fit, and lookups (UV maps, vertex UVs) are taken from it.
"""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ava_jax.nn.layers import WNDense
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.model.decoders import Ladder
from ava_jax.tasks.ava256.model.encoders import IdentityEncoder, UNetEncoder

_PREFIX = "module."
_ROWS = {  # keys with a row per camera or identity -> the axes that count them
    **{f"colorcal.{kind}{of}": (0,) for kind in "wb" for of in ("cam", "ident")},
    **{f"bgmodel.{of}mod.0.weight": (1,) for of in ("cam", "id")},
    **{f"bgmodel.{of}_ident": (0, 1) for of in ("cam", "id")},
}
_COUNTED = {"cameras": ("colorcal.wcam", "bgmodel.cam_ident"), "identities": ("colorcal.wident", "bgmodel.id_ident")}


@dataclasses.dataclass(frozen=True)
class _Entry:
    """A key's array in the published layout (`read`), and how to set `variable` from it (`write`; None: a constant of the architecture)."""

    read: Callable[[], np.ndarray]
    write: Callable[[np.ndarray], None] | None
    required: bool = True
    variable: nnx.Variable | None = None


def _variable(variable: nnx.Variable, *axes: int, shape: tuple[int, ...] | None = None, required: bool = True) -> _Entry:
    """A variable whose `axes`-transpose, reshaped to `shape`, is the published array."""
    axes = axes or tuple(range(variable.ndim))

    def read():
        array = np.transpose(np.asarray(variable[...]), axes)
        return array if shape is None else array.reshape(shape)

    def write(array):
        ours = np.reshape(array, [variable.shape[a] for a in axes]).transpose(np.argsort(axes))
        variable[...] = jnp.asarray(ours, variable.dtype)

    return _Entry(read, write, required, variable)


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
    """The model's weights and buffers under the published keys and layouts: key -> [...], as published.

    Raises:
      ValueError: the model has parts that the published one lacks.
    """
    entries = _entries(model)
    covered = {id(entry.variable) for entry in entries.values()}
    learned = {"/".join(map(str, path)): node for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Param)}
    beside = sorted(name for name, variable in learned.items() if id(variable) not in covered)
    if beside or model.from_neutral:
        named = f" ({', '.join(beside[:3])})" if beside else ""
        what = "config.model.from_neutral, expression_basis, expression_components and view_degree add some"
        raise ValueError(f"state_dict: this model has parts that the published one lacks{named}: {what}.")
    return {key: entry.read() for key, entry in entries.items()}


def count_rows(weights: Mapping[str, np.ndarray]) -> dict[str, int]:
    """How many "cameras" and "identities" a published state dict has rows for.

    Args:
      weights: key -> array [...]; keys with or without the prefix "module.".

    Raises:
      ValueError: it has none of the arrays that say so.
    """
    shapes = {key.removeprefix(_PREFIX): np.shape(array) for key, array in weights.items()}
    found = {kind: next((shapes[key][0] for key in keys if shapes.get(key)), 0) for kind, keys in _COUNTED.items()}
    if lacking := [kind for kind, count in found.items() if not count]:
        key = _COUNTED[lacking[0]][0]
        raise ValueError(f"no state dict of this model: it lacks {key}, which has a row for each of its {lacking[0]}")
    return found


def lookups(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """UV maps and the vertices' points of a published state dict, as a run's assets hold them (`uv.LOOKUPS`): {} where it has none.

    A model is built with them: it learned with these, which differ in places from those that another program makes of the topology.

    Args:
      weights: key -> array [...]; keys with or without the prefix "module.".
    """
    held = {key.removeprefix(_PREFIX): np.asarray(array) for key, array in weights.items()}
    index, bary, points = (held.get(key) for key in ("id_encoder.uv_tidx", "id_encoder.uv_bary", "decoder_assembler.geodec.coords"))
    found = {}
    if index is not None and bary is not None and index.ndim == 3 and index.shape == bary.shape:
        found |= {"uv_index": np.moveaxis(index, 0, -1).astype(np.int32), "uv_weights": np.moveaxis(bary, 0, -1).astype(np.float32)}
    if points is not None and points.ndim == 4 and points.shape[-1] == 2:
        found |= {"vertex_points": points.reshape(-1, 2).astype(np.float32)}
    return found


def load_state_dict(model: AvatarCodec, weights: Mapping[str, np.ndarray], *, only: Sequence[str] = (), more_rows: bool = False) -> int:
    """Sets the model's weights, in place, from a published state dict.

    Args:
      model: of the sizes that the weights were trained with.
      weights: key -> array [...], as published; keys with or without the prefix "module.".
      only: starts of the keys that are taken, as in ("decoder",); the rest of the model stays as it is. () is all.
      more_rows: the model may have more cameras or identities than the state dict: the first ones are taken, the others stay as they are.

    Returns:
      How many keys were taken.

    Raises:
      ValueError: keys are missing, unknown or of another shape; all of one kind are counted, the first named. The model is untouched.
    """
    weights = {key.removeprefix(_PREFIX): np.asarray(array) for key, array in weights.items()}
    entries = _entries(model)
    _refuse("has unknown", [key for key in weights if key not in entries])
    if only:
        _refuse("has none of the asked for", [start for start in only if not any(key.startswith(start) for key in entries)])
        weights = {key: array for key, array in weights.items() if key.startswith(tuple(only))}
        entries = {key: entry for key, entry in entries.items() if key.startswith(tuple(only))}
    _refuse("lacks", [key for key, entry in entries.items() if entry.required and key not in weights])
    fresh = {key: entries[key].read() for key in weights}
    fits = {key: _fits(key, weights[key].shape, fresh[key].shape, more_rows) for key in weights}
    _refuse("has wrong shapes at", [f"{k} ({weights[k].shape}, not {fresh[k].shape})" for k in weights if not fits[k]])
    _refuse("has values that are not numbers, or not finite, at", [key for key, array in weights.items() if not _is_finite(array)])
    for key, array in weights.items():
        if entries[key].write is not None:
            whole = fresh[key].copy()
            whole[tuple(slice(size) for size in array.shape)] = array
            entries[key].write(whole)
    return len(weights)


def _fits(key: str, given: tuple[int, ...], ours: tuple[int, ...], more_rows: bool) -> bool:
    rows = _ROWS.get(key, ()) if more_rows else ()
    return len(given) == len(ours) and all(n == m or (axis in rows and n < m) for axis, (n, m) in enumerate(zip(given, ours)))


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind in "iu" or (array.dtype.kind == "f" and bool(np.isfinite(array).all()))


def _refuse(what: str, keys: list[str]) -> None:
    if keys:
        named = ", ".join(key[:100] for key in keys[:3]) + (", ..." if len(keys) > 3 else "")
        raise ValueError(f"load_state_dict: the state dict {what} {len(keys)} keys: {named}. Build the model with its sizes.")
