"""A packed set of examples: SPLIT-00000-of-00003.safetensors, 64 examples each, read by the row.

PACKED/packed.json       what it was packed from, samples of each example, how many examples each shard holds
PACKED/SPLIT.txt         examples in order, SPLIT/CLASS/NAME/
PACKED/SPLIT-*.safetensors

A shard's tensors, first axis examples: `depth`, `near`, `uniform`, `points`, `image` as `compact` has them; `grid` f32 [32, 32, 32];
`world_to_grid` f32 [4, 4]; `reach` f32; `inside_box` f32 [2, 3], around the uniform samples that lie inside, and the origin. Files are
mapped: of a tensor of 100,000 rows, those that are asked for are read. Samples are in random order, so any rows in a row are a fair draw.
"""

import json
import pathlib
import threading
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from ava_jax.data import files

RECORD = "packed.json"
VERSION = 1
SHARD = 64  # examples
_NAMES = "names"
_TYPES = {"F32": np.float32, "U32": np.uint32, "U16": np.uint16, "U8": np.uint8}
_LONGEST_HEADER = 1 << 24


class PackedSet(NamedTuple):
    """What packed.json says.

    Attributes:
      examples: the folder of the examples that were packed; "" where they came from the published tools' records.
      samples: of each example, near the surface and everywhere.
      shards: split -> examples of each of its shards.
    """

    examples: str
    samples: int
    shards: dict[str, list[int]]


def read(root: pathlib.Path) -> PackedSet | None:
    """What packed.json of a folder says; None where there is none.

    Raises:
      ValueError: the file is no such record, or of another version.
    """
    path = root / RECORD
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_text())
        version, shards = found["version"], {str(split): [int(count) for count in counts] for split, counts in found["shards"].items()}
        out = PackedSet(str(found["examples"]), int(found["samples"]), shards)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise ValueError(f"{path}: no record of a packed set ({str(e)[:80]}); ava ldif pack writes it.") from e
    if version != VERSION:
        raise ValueError(f"{path}: of version {version}; this program reads version {VERSION}: pack the examples again.")
    return out


def write_record(root: pathlib.Path, found: PackedSet) -> None:
    """Writes packed.json, which makes a folder of shards a packed set."""
    files.replace(root / RECORD, json.dumps({"version": VERSION, **found._asdict()}, indent=1) + "\n")


def shard_path(root: pathlib.Path, split: str, number: int, count: int) -> pathlib.Path:
    """The file of a split's shard, one of `count`."""
    return root / f"{split}-{number:05d}-of-{count:05d}.safetensors"


def write_shard(path: pathlib.Path, rows: list[dict[str, np.ndarray]], names: list[str], wanted: list[str]) -> None:
    """Writes a shard, whole or not at all.

    Args:
      path: the file.
      rows: of each example, its tensors, [...] without the first axis; all have the same.
      names: of the examples, CLASS/NAME.
      wanted: of those that were to be packed, some of which could not be read.

    Raises:
      ValueError: examples differ in their tensors' shapes.
    """
    from safetensors import numpy

    first = {key: np.shape(value) for key, value in rows[0].items()}
    for name, row in zip(names, rows):
        if (own := {key: np.shape(value) for key, value in row.items()}) != first:
            odd = sorted(key for key in {*own, *first} if own.get(key) != first.get(key))[0]
            raise ValueError(f"{name}: {odd} is {own.get(odd)}, of {names[0]} {first.get(odd)}; examples of a set have the same sizes.")
    stacked = {key: np.stack([row[key] for row in rows]) for key in first}
    data = numpy.save(stacked, {_NAMES: json.dumps(names), "wanted": json.dumps(wanted), "version": str(VERSION)})
    with files.writing(path) as file:
        file.write(data)


class Shard:
    """A shard's tensors, mapped."""

    def __init__(self, path: pathlib.Path) -> None:
        """Reads the header.

        Attributes:
          tensors: name -> array [n, ...] in the file; what is sliced of it is read.
          names, wanted: see `write_shard`.

        Raises:
          ValueError: it is no such file, or cut off.
          OSError: it cannot be read.
        """
        try:
            header, start = _header(path)
            self.names: list[str] = json.loads(header["__metadata__"][_NAMES])
            self.wanted: list[str] = json.loads(header["__metadata__"]["wanted"])
            every = np.memmap(path, np.uint8, "r")
            self.tensors = {name: _tensor(every[start:], one) for name, one in header.items() if name != "__metadata__"}
            if any(len(tensor) != len(self.names) for tensor in self.tensors.values()):
                raise ValueError("tensors of other lengths than the list of names")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
            raise ValueError(f"{path}: no packed examples, or damaged ({str(e)[:80]}); pack them again.") from e


class Shards:
    """The examples of a split, in order, by number."""

    def __init__(self, root: pathlib.Path, split: str, counts: list[int]) -> None:
        """`counts`: examples of each shard, of `PackedSet.shards`. Opens none yet."""
        self._root, self._split, self._shards = root, split, len(counts)
        self._ends = np.cumsum(counts)
        self._open: dict[int, Shard] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return int(self._ends[-1]) if self._shards else 0

    def tensors(self, index: int) -> Mapping[str, Any]:
        """An example's tensors, name -> array in the file.

        Raises:
          ValueError, OSError: as `Shard`.
        """
        number = int(np.searchsorted(self._ends, index, side="right"))
        with self._lock:
            if number not in self._open:
                self._open[number] = Shard(shard_path(self._root, self._split, number, self._shards))
            shard = self._open[number]
        row = index - int(self._ends[number]) + len(shard.names)
        if not 0 <= row < len(shard.names):
            raise ValueError(
                f"{shard_path(self._root, self._split, number, self._shards)}: {len(shard.names)} examples, not as packed.json says."
            )
        return {name: tensor[row] for name, tensor in shard.tensors.items()}


def _header(path: pathlib.Path) -> tuple[dict[str, Any], int]:
    """The header of a safetensors file, and where its tensors begin."""
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= _LONGEST_HEADER:
            raise ValueError(f"a header of {length} bytes")
        return json.loads(file.read(length)), 8 + length


def _tensor(data: np.ndarray, described: Mapping[str, Any]) -> np.ndarray:
    start, end = (int(number) for number in described["data_offsets"])
    if not 0 <= start <= end <= len(data):
        raise ValueError("cut off")
    return data[start:end].view(_TYPES[described["dtype"]]).reshape([int(size) for size in described["shape"]])
