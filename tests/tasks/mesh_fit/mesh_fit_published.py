"""The published modules' weights as the golden vectors fill them, and checkpoints as PyTorch writes them, opcode by opcode."""

import io
import json
import pathlib
import pickle
import struct
import zipfile
import zlib
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict

VARIANTS = ("sbs", "joints", "laplacian")


def model_config(**changes) -> ConfigDict:
    config = {"condition_on": "time", "condition_frames": 3, "joints": 0, "hidden": 256, "latent": 32, "experts": 6}
    return ConfigDict(config | {"output": "position", "precision": "float32", "motion_gain": 0.0} | changes)


class Golden:
    """`mesh_fit_modules.npz`, and its rule for inputs and weights."""

    def __init__(self, folder: pathlib.Path):
        with np.load(folder / "mesh_fit_modules.npz") as file:
            self.arrays = dict(file)
        self.described = json.loads((folder / "mesh_fit_state_dict.json").read_text())

    def random(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        seed = [int(self.arrays["seed"]), zlib.crc32(name.encode())]
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)

    def state_dict(self, variant: str) -> dict[str, np.ndarray]:
        shapes = self.described[variant]["shapes"]
        return {key: self.random(key, tuple(shape)) * _scale(key, shape) for key, shape in shapes.items()}


def _scale(key: str, shape: list[int]) -> np.float32:
    return np.float32(np.sqrt(2 / shape[1]) if key.endswith(".weight") or key.startswith("decoder.w") else 0.1)


class Name(NamedTuple):
    """A function or class."""

    module: str
    name: str


class Call(NamedTuple):
    """What calling it gives."""

    function: Any
    args: tuple


class Made(NamedTuple):
    """An object of a class, with its state."""

    cls: Any
    state: Any


class Saved(NamedTuple):
    """What is stored elsewhere, by a persistent id."""

    id: tuple


def pickled(value: Any) -> bytes:
    """A pickle of protocol 2."""
    return b"\x80\x02" + _opcodes(value) + pickle.STOP


def _opcodes(value: Any) -> bytes:
    match value:
        case None | bool():
            return {None: pickle.NONE, True: pickle.NEWTRUE, False: pickle.NEWFALSE}[value]
        case int():
            digits = pickle.encode_long(value)
            return pickle.LONG1 + bytes([len(digits)]) + digits
        case str():
            return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()
        case Name():
            return pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode()
        case Call():
            return _opcodes(value.function) + _opcodes(value.args) + pickle.REDUCE
        case Made():
            return _opcodes(value.cls) + pickle.EMPTY_TUPLE + pickle.NEWOBJ + _opcodes(value.state) + pickle.BUILD
        case Saved():
            return _opcodes(value.id) + pickle.BINPERSID
        case tuple():
            return pickle.MARK + b"".join(map(_opcodes, value)) + pickle.TUPLE
        case list():
            return pickle.EMPTY_LIST + pickle.MARK + b"".join(map(_opcodes, value)) + pickle.APPENDS
        case dict():
            pairs = b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items())
            return pickle.EMPTY_DICT + pickle.MARK + pairs + pickle.SETITEMS
    raise TypeError(type(value))


_ORDERED = Name("collections", "OrderedDict")


def module(arrays: dict[str, np.ndarray], cls: Any = Name("model", "Network"), *, old: bool = False, path: str = "") -> Made:
    """A module as PyTorch pickles it, its parts by the dots in the arrays' names."""
    own = {name: array for name, array in arrays.items() if "." not in name}
    parts = dict.fromkeys(name.partition(".")[0] for name in arrays if "." in name)
    inner = {
        part: module(
            {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{part}.")},
            Name("torch.nn.modules.linear", "Linear"),
            old=old,
            path=f"{path}{part}.",
        )
        for part in parts
    }
    parameters = {name: Call(Name("torch._utils", "_rebuild_parameter"), (tensor(path + name, array, old=old), True, {}))
                  for name, array in own.items()}  # fmt: skip
    state = {"training": True, "_parameters": parameters, "_buffers": {}, "_backward_hooks": Call(_ORDERED, ()), "_modules": inner}
    return Made(cls, state | {"activation": Name("torch.nn.functional", "elu")})


def tensor(key: str, array: np.ndarray, *, old: bool = False) -> Call:
    """A tensor that holds all of its storage, which is stored under `key`."""
    saved = ("storage", Name("torch", "FloatStorage"), key, "cuda:0", array.size)
    strides = tuple(s // array.itemsize for s in np.ascontiguousarray(array).strides)
    args = (Saved((*saved, None) if old else saved), 0, array.shape, strides, False, Call(_ORDERED, ()))
    return Call(Name("torch._utils", "_rebuild_tensor_v2"), args)


def zipped(root: Any, arrays: dict[str, np.ndarray], compression: int = zipfile.ZIP_STORED) -> bytes:
    """The container since PyTorch 1.6; `root` is a value to be pickled, or a pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("archive/data.pkl", root if isinstance(root, bytes) else pickled(root))
        for key, array in arrays.items():
            archive.writestr(f"archive/data/{key}", array.astype("<f4").tobytes())
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def in_a_row(root: Any, arrays: dict[str, np.ndarray]) -> bytes:
    """The container before PyTorch 1.6."""
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
    head = [0x1950A86A20F9469CFC6C, 1001, system, root, list(arrays)]
    stored = [struct.pack("<q", array.size) + array.astype("<f4").tobytes() for array in arrays.values()]
    return b"".join([*(value if isinstance(value, bytes) else pickled(value) for value in head), *stored])
