"""Weights of the published code's checkpoints (whole pickled modules), by name, to ours."""

import json
import pathlib
from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np
from flax import nnx

from ava_jax.data import text_files
from ava_jax.data.torch_files import TorchFile
from ava_jax.tasks.mesh_fit.model import MeshFitter

_PREFIX = "module."  # of a model that was trained on several GPUs
_SHOWN = 3


def published_names() -> dict[str, str]:
    """State-dict key of the published modules -> our parameter's path."""
    layers = {"fc1_prior": "first", "fc2_prior": "second", "mu_prior": "mean", "logvar_prior": "logvar"}
    dense = {f"encoder.{key}": f"encoder/{name}" for key, name in layers.items()}
    dense |= {f"decoder.gate.{2 * i}": f"decoder/gates/{i}" for i in range(3)}  # activations count too
    names = {f"{key}.{kind}": f"{path}/{kind}" for key, path in dense.items() for kind in ("weight", "bias")}
    return names | {f"decoder.{kind[0]}{i}": f"decoder/experts/{i}/{kind}" for i in range(3) for kind in ("weight", "bias")}


def read_names(path: str | pathlib.Path) -> dict[str, str]:
    """A JSON object of state-dict key -> our parameter's path.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is something else, or two keys name one parameter.
    """
    path = pathlib.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file.")
    names = text_files.read_json(path)
    if not isinstance(names, dict) or not all(isinstance(value, str) for value in names.values()):
        example = json.dumps(dict(list(published_names().items())[:1]))
        raise ValueError(f"{path}: must be an object of state-dict keys and our names, as in {example}.")
    twice = sorted({value for value in names.values() if list(names.values()).count(value) > 1})
    if twice:
        raise ValueError(f"{path}: several keys name {_some(twice)}.")
    return names


def parameters(model: nnx.Module) -> dict[str, nnx.Param]:
    """A model's parameters by path, as in "encoder/first/weight"; their arrays have the layouts [in, out] and [E, in, out]."""
    return {"/".join(map(str, path)): variable for path, variable in nnx.to_flat_state(nnx.state(model, nnx.Param))}


def read(path: str | pathlib.Path, model: MeshFitter, names: Mapping[str, str] | None = None) -> dict[str, np.ndarray]:
    """A checkpoint's weights in our layouts.

    Args:
      path: what `torch.save` wrote of a module, or of its state dict.
      model: of the sizes that the weights were trained with.
      names: state-dict key -> our parameter's path; by default `published_names`.

    Returns:
      Path -> float32, for every parameter of the model: [in, out], [E, in, out], [out] or [E, out].

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no such file; or names, keys or shapes do not fit. All that do not are counted, the first named, in one line.
    """
    names = published_names() if names is None else names
    ours = {name: variable.shape for name, variable in parameters(model).items()}
    unknown = sorted(set(names.values()) - set(ours))
    if unknown:
        raise ValueError(f"{path}: the names' file names {_some(unknown)}, which the model lacks; it has {', '.join(sorted(ours))}.")
    file = TorchFile(path)
    keys = {key.removeprefix(_PREFIX): key for key in file.tensors}
    given = {key: name for key, name in names.items() if key in keys}
    faults = {
        "lacks": sorted(set(ours) - set(given.values())),
        "has unused": sorted(set(keys) - set(names)),
        "has misshaped": [
            f"{key} {shape}, not {expected}"
            for key, name in given.items()
            if (shape := file.tensors[keys[key]].shape) != (expected := _published(name, ours[name]))
        ],
    }
    if any(faults.values()):
        told = "; ".join(f"{what} {_some(found)}" for what, found in faults.items() if found)
        raise ValueError(f"{path}: {told}. config.model must have the sizes that it was trained with.")
    weights = {name: _checked(path, key, file.array(keys[key])) for key, name in given.items()}
    return {name: array.T if _is_dense(name, array.ndim) else array for name, array in weights.items()}


def load(path: str | pathlib.Path, model: MeshFitter, names: Mapping[str, str] | None = None) -> None:
    """Sets a model's parameters, in place, from a checkpoint, with the arguments and errors of `read`; on an error none is changed."""
    weights = read(path, model, names)
    for name, variable in parameters(model).items():
        variable[...] = jnp.asarray(weights[name])


def _is_dense(name: str, axes: int) -> bool:
    return axes == 2 and name.endswith("/weight")


def _published(name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """Their shape of one of ours: dense layers are (out, in)."""
    return shape[::-1] if _is_dense(name, len(shape)) else shape


def _checked(path: str | pathlib.Path, key: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind != "f":
        raise ValueError(f"{path}: {key} holds {array.dtype} values, not floats.")
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: {key} holds values that are not finite.")
    return array.astype(np.float32)


def _some(names: list[str]) -> str:
    """The first few of many, and how many there are."""
    return f"{len(names)} ({', '.join(name[:80] for name in names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''})"
