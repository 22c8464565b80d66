"""Memory for batches that several processes map, so that a sample is written where its batch is and copied no more."""

import collections
import math
import mmap
import os
import tempfile
import weakref
from typing import NamedTuple

import numpy as np

from ava_jax.core.types import Batch

_ALIGNED = 64  # bytes: what jax asks for, to take an array of the host as it is


class Field(NamedTuple):
    """Where the rows of one array lie in a block: a row's shape and dtype, and the offset of the first, bytes."""

    shape: tuple[int, ...]
    dtype: np.dtype
    offset: int


class Layout(NamedTuple):
    """How a block of memory holds `rows` samples: by array's name, and its length in bytes."""

    fields: dict[str, Field]
    rows: int
    size: int

    def arrays(self, block: np.ndarray) -> Batch:
        """The arrays [rows, ...] that lie in a block, uint8 [size]."""
        found = {}
        for name, field in self.fields.items():
            count = self.rows * math.prod(field.shape) * field.dtype.itemsize
            found[name] = block[field.offset : field.offset + count].view(field.dtype).reshape(self.rows, *field.shape)
        return found


def layout_of(sample: Batch, rows: int) -> Layout:
    """The layout of blocks for `rows` samples like one, name -> array of any shape."""
    fields, offset = {}, 0
    for name, value in sample.items():
        value = np.asarray(value)
        fields[name] = Field(value.shape, value.dtype, offset)
        offset += -(-rows * value.nbytes // _ALIGNED) * _ALIGNED
    return Layout(fields, rows, max(-(-offset // mmap.PAGESIZE), 1) * mmap.PAGESIZE)


def write(arrays: Batch, row: int, sample: Batch) -> None:
    """Writes a sample into a row of arrays [rows, ...].

    Raises:
      ValueError: its arrays are not those of the other samples, or of another shape or type.
    """
    if sample.keys() != arrays.keys():
        raise ValueError(f"has the arrays {', '.join(sorted(sample))}; those before it have {', '.join(sorted(arrays))}.")
    for name, value in sample.items():
        value, rows = np.asarray(value), arrays[name]
        if value.shape != rows.shape[1:] or value.dtype != rows.dtype:
            raise ValueError(
                f"{name} is {value.dtype} {list(value.shape)}; that of those before it is {rows.dtype} {list(rows.shape[1:])}."
            )
        rows[row] = value


class Blocks:
    """Blocks of one layout in memory that other processes can map by its descriptor. It is taken from the system as it is first used."""

    def __init__(self, layout: Layout, count: int) -> None:
        """So many blocks, all free.

        Raises:
          OSError: the system has no memory to share.
        """
        self.layout, self.count = layout, count
        self.descriptor = _anonymous_file(layout.size * count)
        self._memory = memoryview(mmap.mmap(self.descriptor, layout.size * count))
        self._free = collections.deque(range(count))

    def __del__(self, close=os.close) -> None:  # bound here: at the interpreter's end the module's names are gone
        close(self.descriptor)

    @property
    def free(self) -> int:
        """How many nobody has."""
        return len(self._free)

    def take(self) -> int | None:
        """A free block; None where there is none."""
        return self._free.popleft() if self._free else None

    def give_back(self, number: int) -> None:
        """Makes a block free."""
        self._free.append(number)

    def arrays(self, number: int) -> Batch:
        """Of a block that the caller has: name -> array [rows, ...]."""
        return self.layout.arrays(self._bytes(number))

    def lend(self, number: int) -> Batch:
        """As `arrays`; the block gives itself back when no array of it is referred to any more, by a copy to a device under way say."""
        whole = self._bytes(number)
        weakref.finalize(whole, self._free.append, number).atexit = False
        return self.layout.arrays(whole)

    def _bytes(self, number: int) -> np.ndarray:
        start = number * self.layout.size
        # Views of an array keep alive the last array before what is none, here this one: what `lend` waits for.
        return np.frombuffer(self._memory[start : start + self.layout.size], np.uint8)


def map_blocks(descriptor: int, layout: Layout, count: int) -> list[Batch]:
    """The arrays [rows, ...] of all blocks, in a process that was given their descriptor."""
    memory = memoryview(mmap.mmap(descriptor, layout.size * count))
    blocks = (np.frombuffer(memory[i * layout.size : (i + 1) * layout.size], np.uint8) for i in range(count))
    return [layout.arrays(block) for block in blocks]


def _anonymous_file(size: int) -> int:
    """A descriptor of so many bytes of memory; of a file without a name where the system has no such thing."""
    if hasattr(os, "memfd_create"):  # not /dev/shm, of which containers often have 64 MB
        descriptor = os.memfd_create("ava_jax batches", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor
