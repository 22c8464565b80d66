"""A process that reads samples for another one: `python -m ava_jax.data.reader_process REQUESTS REPLIES MEMORY`, descriptors all.

Requests begin with a pickled (source, layout, blocks); then each is an index, a block and a row to write the sample into. It answers
each in turn: how it went, and what was wrong. It ends when the requests do, also where the process that made them was killed.
"""

import enum
import os
import pickle
import signal
import struct
import sys
from typing import BinaryIO

from ava_jax.core.sampling import Separable
from ava_jax.core.types import Batch
from ava_jax.data import shared_rows

REQUEST = struct.Struct("<qii")  # index, block, row
REPLY = struct.Struct("<Bi")  # outcome, bytes that follow


class Outcome(enum.IntEnum):
    """How reading a sample went."""

    WRITTEN = 0
    ABSENT = 1  # nothing follows
    FAULT = 2  # cannot be decoded; why follows
    RAISED = 3  # an exception; it follows, pickled


def main() -> None:
    """Serves until the requests end."""
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all of a group; the training process finishes its step and closes the requests
        signal.signal(number, signal.SIG_IGN)
    requests, replies, memory = (int(descriptor) for descriptor in sys.argv[1:4])
    with os.fdopen(requests, "rb") as incoming, os.fdopen(replies, "wb") as outgoing:
        source, layout, count = pickle.load(incoming)
        try:
            serve(source, shared_rows.map_blocks(memory, layout, count), incoming, outgoing)
        except BrokenPipeError:  # nobody is there to answer
            os._exit(0)


def serve(source: Separable, blocks: list[Batch], incoming: BinaryIO, outgoing: BinaryIO) -> None:
    """Answers requests until they end; samples go into `blocks`, name -> array [rows, ...] each."""
    while len(request := incoming.read(REQUEST.size)) == REQUEST.size:
        index, block, row = REQUEST.unpack(request)
        outcome, content = _read(source, index, blocks[block], row)
        outgoing.write(REPLY.pack(outcome, len(content)) + content)
        outgoing.flush()


def _read(source: Separable, index: int, arrays: Batch, row: int) -> tuple[Outcome, bytes]:
    try:
        sample = source.read(index)
        if sample is None:
            return Outcome.ABSENT, b""
        if isinstance(sample, str):
            return Outcome.FAULT, sample.encode()
        shared_rows.write(arrays, row, sample)
        return Outcome.WRITTEN, b""
    except Exception as e:  # raised again by the process that asked
        return Outcome.RAISED, _pickled(e)


def _pickled(error: Exception) -> bytes:
    try:
        content = pickle.dumps(error)
        pickle.loads(content)  # some can be written, but not read
        return content
    except Exception:
        return pickle.dumps(RuntimeError(f"{type(error).__name__}: {error}"))


if __name__ == "__main__":
    main()
