"""Arrays of files that PyTorch wrote with `torch.save`, whole modules or state dicts, without PyTorch and without running anything.

Two containers exist: a zip of a pickle and one file of bytes per storage, since PyTorch 1.6; before, five pickles in a row and the storages
after them. A pickled module refers to its class by name; the names of its arrays follow from its `_modules`, `_parameters` and `_buffers`.
"""

import io
import math
import os
import pathlib
import zipfile
from typing import Any, NamedTuple

import numpy as np

from ava_jax.data import pickles
from ava_jax.data.pickles import Global, Node

MOST_BYTES = 1 << 28  # of a file unless told otherwise: it is read whole
_MOST_NAMES, _LONGEST_NAME = 10_000, 1_000
_MOST_VISITED = 20 * _MOST_NAMES
_PARTS = ("_parameters", "_buffers", "_modules")
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_DTYPES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "bf16",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
_SIZES = {"bf16": 2, "?": 1}


class Storage(NamedTuple):
    """Values in a row; `type` is one of NumPy's names without byte order, or "bf16"."""

    type: str
    key: str
    count: int

    @property
    def bytes(self) -> int:
        """How many bytes it takes."""
        return self.count * _SIZES.get(self.type, int(self.type[-1]) if self.type[-1].isdigit() else 1)


class Tensor(NamedTuple):
    """A view of a storage; `offset` and `strides` count values."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class TorchFile:
    """A file of arrays by name.

    Attributes:
      tensors: name, as in a state dict -> where its values are.
    """

    def __init__(self, path: str | pathlib.Path, *, most_bytes: int = MOST_BYTES):
        """Reads the file's pickles; no array yet.

        Args:
          path: the file.
          most_bytes: a larger file is refused, before memory for it is taken.

        Raises:
          FileNotFoundError: there is none.
          ValueError: it is no such file, or damaged, or holds no named arrays, or is too large; one line that names it.
        """
        self.path = pathlib.Path(path)
        try:
            data = self._read(most_bytes)
            zipped = data.startswith(b"PK\x03\x04")
            root, self._storages, self._order = (_read_zip if zipped else _read_old)(data)
            self.tensors = _named_tensors(root)
        except ValueError as e:
            raise ValueError(f"{self.path}: {' '.join(str(e).split())[:300]}.") from e

    def _read(self, most_bytes: int) -> bytes:
        with open(self.path, "rb") as file:
            if os.fstat(file.fileno()).st_size > most_bytes:
                raise ValueError(f"is larger than {most_bytes >> 20} MiB, which no model of this task is")
            return file.read(most_bytes)

    def array(self, name: str) -> np.ndarray:
        """The values of one of `tensors`, of its own shape and type; bfloat16 as float32.

        Raises:
          ValueError: the values lie outside what the file holds.
        """
        storage, offset, shape, strides = self.tensors[name]
        shown = name if name.isprintable() else repr(name)
        count = math.prod(shape)
        last = offset + sum((n - 1) * s for n, s in zip(shape, strides))
        # As many values as the storage has at most: a view that repeats values could be of any size.
        if count > storage.count or (count and last >= storage.count):
            raise ValueError(f"{self.path}: {shown} has {count} values, up to {last}, of a storage of {storage.count}.")
        data = self._storages.get(storage.key, b"")
        if len(data) < storage.bytes:
            raise ValueError(
                f"{self.path}: {shown} should have {storage.bytes} bytes of values; the file has {len(data)}: it is cut short."
            )
        values = np.frombuffer(data, self._order + ("u2" if storage.type == "bf16" else storage.type), storage.count)
        if storage.type == "bf16":
            values = (values.astype(np.uint32) << 16).view(np.float32)
        if not count:
            return np.zeros(shape, values.dtype)
        steps = [stride * values.itemsize for stride in strides]
        return np.array(np.lib.stride_tricks.as_strided(values[offset:], shape, steps, writeable=False))


def _read_zip(data: bytes) -> tuple[Any, dict[str, bytes], str]:
    """What the pickle holds, the storages' bytes by key, and their byte order."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            # Stored as they are, as PyTorch writes them: then nothing read is larger than the file.
            if any(m.compress_type != zipfile.ZIP_STORED or m.flag_bits & 1 for m in members):
                raise ValueError("a zip with compressed or encrypted members, which PyTorch does not write")
            if sum(m.file_size for m in members) > len(data):
                raise ValueError("a zip whose members overlap or are larger than itself")
            pickled = [m.filename for m in members if m.filename.count("/") == 1 and m.filename.endswith("/data.pkl")]
            if len(pickled) != 1:
                raise ValueError(f"a zip without a file of PyTorch (one member FOLDER/data.pkl; there are {len(pickled)})")
            folder = pickled[0].removesuffix("data.pkl")
            found = {m.filename.removeprefix(folder): archive.read(m) for m in members if m.filename.startswith(folder)}
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as e:
        raise ValueError(f"no zip, or a damaged one ({e})") from e
    root = pickles.load(io.BytesIO(found["data.pkl"]), _persistent, _call)
    order = {b"little": "<", b"big": ">"}.get(found.get("byteorder", b"little").strip())
    if order is None:
        raise ValueError("its byte order is neither little nor big")
    return root, {name.removeprefix("data/"): content for name, content in found.items() if name.startswith("data/")}, order


def _read_old(data: bytes) -> tuple[Any, dict[str, bytes], str]:
    """As `_read_zip`, of the container before PyTorch 1.6."""
    file = io.BytesIO(data)
    if data[:1] != b"\x80" or _load(file) != _MAGIC or _load(file) != _PROTOCOL:
        raise ValueError("not a file that torch.save wrote")
    system = _load(file)
    little = isinstance(system, Node) and system.named().get("little_endian", True)
    storages: dict[str, Storage] = {}

    def persistent(saved: Any) -> Any:
        found = _persistent(saved)
        if isinstance(found, Storage):
            storages[found.key] = found
        return found

    root = pickles.load(file, persistent, _call)
    keys = _load(file)
    found, start = {}, file.tell()
    for key in keys.elements if isinstance(keys, Node) else ():
        if not isinstance(key, str) or key not in storages:
            raise ValueError("its list of storages names one that no tensor has")
        size, begin = storages[key].bytes, start + 8
        # Eight bytes of their number go before the values.
        if int.from_bytes(data[start:begin], "little" if little else "big") != storages[key].count:
            raise ValueError(f"storage {key} has not the {storages[key].count} values that its tensors are views of; the file is damaged")
        found[key] = data[begin : begin + size]
        start = begin + size
    return root, found, "<" if little else ">"


def _load(file: io.BytesIO) -> Any:
    return pickles.load(file, _persistent, Node)


def _persistent(saved: Any) -> Any:
    """A storage, or the class of a module, beside which the old container keeps its source."""
    if isinstance(saved, tuple) and len(saved) > 1 and saved[0] == "module":
        return saved[1]
    fits = isinstance(saved, tuple) and len(saved) in (5, 6) and saved[0] == "storage" and isinstance(saved[1], Global)
    if not fits or not isinstance(saved[2], str) or not _is_count(saved[4]):
        raise ValueError("a reference to something that is no storage")
    if len(saved) == 6 and saved[5] is not None:
        raise ValueError("a storage that is a view of another, which PyTorch wrote before 0.4")
    kind = saved[1]
    if kind.module not in ("torch", "torch.cuda") or kind.name not in _DTYPES:
        raise ValueError(f"a storage of an unknown type, {kind.module}.{kind.name}")
    return Storage(_DTYPES[kind.name], saved[2], saved[4])


def _call(function: Any, args: tuple) -> Any:
    """Tensors and parameters; anything else is noted, not called."""
    if isinstance(function, Global) and function.module == "torch._utils":
        if function.name in ("_rebuild_tensor", "_rebuild_tensor_v2"):
            return _tensor(*args[:4])
        if function.name in ("_rebuild_parameter", "_rebuild_parameter_with_state") and args and isinstance(args[0], Tensor):
            return args[0]
    made = Node(function, args)
    if function == Global("collections", "OrderedDict") and len(args) == 1 and isinstance(args[0], Node):
        made.pairs += _listed_pairs(args[0])
    return made


def _listed_pairs(listed: Node) -> list[tuple[Any, Any]]:
    """Keys and values of a dict that Python 2 pickled: it was made of a list of lists of two, which is how older published weights are."""
    found = [entry.elements if isinstance(entry, Node) else entry for entry in listed.elements]
    return [(entry[0], entry[1]) for entry in found if isinstance(entry, list | tuple) and len(entry) == 2]


def _tensor(storage: Any = None, offset: Any = None, shape: Any = None, strides: Any = None) -> Tensor:
    sizes = isinstance(shape, tuple) and isinstance(strides, tuple) and len(shape) == len(strides) <= 8
    if not isinstance(storage, Storage) or not sizes or not all(map(_is_count, (offset, *shape, *strides))):
        raise ValueError("a tensor that is not described as PyTorch describes one")
    return Tensor(storage, offset, shape, strides)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 1 << 48


def _named_tensors(root: Any) -> dict[str, Tensor]:
    """State-dict name -> tensor, of a pickled module or state dict."""
    found: dict[str, Tensor] = {}
    waiting = [("", root)]
    visited = 0  # modules and names; counted before they are gone through, as a module may stand in many places
    while waiting:
        prefix, node = waiting.pop()
        state = node.state if isinstance(node, Node) else None
        visited += 1 + (len(state.pairs) if isinstance(state, Node) else 0)
        values = state.named() if isinstance(state, Node) and visited <= _MOST_VISITED else {}
        visited += sum(len(held.pairs) for part in _PARTS if isinstance(held := values.get(part), Node))
        if visited > _MOST_VISITED or len(found) > _MOST_NAMES or len(prefix) > _LONGEST_NAME:
            raise ValueError("its modules are too many or lie too deep, or hold each other")
        for part in ("_parameters", "_buffers"):
            held = values.get(part)
            tensors = held.named() if isinstance(held, Node) else {}
            found |= {prefix + name: tensor for name, tensor in tensors.items() if isinstance(tensor, Tensor)}
        modules = values.get("_modules")
        waiting += [(f"{prefix}{name}.", module) for name, module in (modules.named() if isinstance(modules, Node) else {}).items()]
    if not found and isinstance(root, Node):
        found = {name: tensor for name, tensor in root.named().items() if isinstance(tensor, Tensor)}
    if not found:
        raise ValueError("it holds neither a module nor a state dict: no named arrays are in it")
    return found
