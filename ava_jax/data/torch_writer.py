"""Writes arrays as a state dict that `torch.load` reads, in the zip container that PyTorch has since 1.6, without PyTorch."""

import io
import pathlib
import pickle
import struct
import zipfile
from collections.abc import Mapping

import numpy as np

from ava_jax.data import files

_STORAGES = {
    "float32": "FloatStorage",
    "float64": "DoubleStorage",
    "float16": "HalfStorage",
    "int64": "LongStorage",
    "int32": "IntStorage",
    "int16": "ShortStorage",
    "int8": "CharStorage",
    "uint8": "ByteStorage",
    "bool": "BoolStorage",
}
_FOLDER = "archive"
_VERSION = b"3\n"  # of the container


def write_state_dict(path: pathlib.Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays of any shape under their names, in order; values and types are kept exactly. An existing file is replaced whole.

    Raises:
      ValueError: an array's type is none that PyTorch has under NumPy's name.
      OSError: the file cannot be written.
    """
    held = {name: np.asarray(array) for name, array in arrays.items()}  # ascontiguousarray would make scalars vectors
    for name, array in held.items():
        if array.dtype.name not in _STORAGES:
            raise ValueError(f"write_state_dict: {name} has values of {array.dtype}; {', '.join(_STORAGES)} can be written.")
    with files.writing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        _add(archive, "data.pkl", _pickled(held))
        _add(archive, "byteorder", b"little")
        for i, array in enumerate(held.values()):
            _add(archive, f"data/{i}", array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
        _add(archive, "version", _VERSION)


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(f"{_FOLDER}/{name}"), content)  # without the time of day: the same arrays give the same bytes


def _pickled(arrays: Mapping[str, np.ndarray]) -> bytes:
    """An ordered dict of name -> call of torch's function that makes a tensor of a storage."""
    out = io.BytesIO()
    out.write(pickle.PROTO + b"\x02")
    _empty_ordered_dict(out)
    out.write(pickle.MARK)
    for i, (name, array) in enumerate(arrays.items()):
        _text(out, name)
        _name(out, "torch._utils", "_rebuild_tensor_v2")
        out.write(pickle.MARK)
        _storage(out, i, array)
        _int(out, 0)  # offset
        _ints(out, array.shape)
        _ints(out, [int(np.prod(array.shape[axis + 1 :])) for axis in range(array.ndim)])  # strides, in values
        out.write(pickle.NEWFALSE)  # no gradient is asked for
        _empty_ordered_dict(out)  # of hooks
        out.write(pickle.TUPLE + pickle.REDUCE)
    out.write(pickle.SETITEMS + pickle.STOP)
    return out.getvalue()


def _storage(out: io.BytesIO, index: int, array: np.ndarray) -> None:
    out.write(pickle.MARK)
    _text(out, "storage")
    _name(out, "torch", _STORAGES[array.dtype.name])
    _text(out, str(index))
    _text(out, "cpu")
    _int(out, array.size)
    out.write(pickle.TUPLE + pickle.BINPERSID)


def _empty_ordered_dict(out: io.BytesIO) -> None:
    _name(out, "collections", "OrderedDict")
    out.write(pickle.EMPTY_TUPLE + pickle.REDUCE)


def _name(out: io.BytesIO, module: str, name: str) -> None:
    out.write(pickle.GLOBAL + f"{module}\n{name}\n".encode())


def _text(out: io.BytesIO, text: str) -> None:
    content = text.encode()
    out.write(pickle.BINUNICODE + struct.pack("<I", len(content)) + content)


def _ints(out: io.BytesIO, values) -> None:
    out.write(pickle.MARK)
    for value in values:
        _int(out, value)
    out.write(pickle.TUPLE)


def _int(out: io.BytesIO, value: int) -> None:
    if value < 1 << 31:
        out.write(pickle.BININT + struct.pack("<i", value))
    else:
        out.write(pickle.LONG1 + b"\x08" + struct.pack("<q", value))
