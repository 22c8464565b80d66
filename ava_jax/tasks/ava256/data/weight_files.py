"""State dicts on disk, of PyTorch and of safetensors."""

import pathlib
from collections.abc import Mapping

import numpy as np
import safetensors
from safetensors.numpy import load_file, save

from ava_jax.data import files, torch_writer
from ava_jax.data.torch_files import TorchFile

_MOST_BYTES = 1 << 32  # the published file takes 264 MB
_SUFFIX = ".safetensors"


def format_of(path: pathlib.Path) -> str:
    """The format that a file's name tells."""
    return "safetensors" if path.suffix == _SUFFIX else "torch"


def write(path: pathlib.Path, weights: Mapping[str, np.ndarray], format: str) -> None:  # noqa: A002
    """Writes arrays by name, index arrays as 64 bits, as published; an existing file is replaced whole.

    Args:
      path: the file.
      weights: key -> array [...].
      format: "torch" or "safetensors".
    """
    arrays = {key: np.ascontiguousarray(array, np.int64 if array.dtype.kind in "iu" else array.dtype) for key, array in weights.items()}
    if format == "torch":
        torch_writer.write_state_dict(path, arrays)
        return
    with files.writing(path) as file:
        file.write(save(arrays))


def read(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Arrays by name, key -> [...], of either format, without running anything that the file asks for.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no such file, or a damaged one; one line that names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; --file names a state dict, .pt or .safetensors.")
    if format_of(path) == "torch":
        file = TorchFile(path, most_bytes=_MOST_BYTES)
        return {name: file.array(name) for name in file.tensors}
    try:
        return load_file(path)
    except safetensors.SafetensorError as e:
        raise ValueError(f"{path}: no safetensors file, or a damaged one ({' '.join(str(e).split())[:100]}).") from e
