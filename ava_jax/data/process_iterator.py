"""Batches that processes of their own read, in the order that threads give them in, and as exactly resumable.

Each sample of the order is given to one process, all of a visit to the same one, which decodes once what they share. It is written where
its batch lies in shared memory. A batch whose samples all came is handed over as it is; where one could not be decoded, those after it
move up, and the batch is put together by copying until blocks and batches fall together again.
"""

import collections
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ava_jax.core.sampling import Separable, UnreadableData
from ava_jax.core.types import Batch
from ava_jax.data import shared_rows
from ava_jax.data.order import IndexOrder, VisitOrder
from ava_jax.data.reader_pool import ReaderPool
from ava_jax.data.reader_process import Outcome
from ava_jax.data.resumable import NEXT, Resumable

_LOOK_UP = 256  # positions at once
_LANES_KNOWN = 4096  # the last ones begun; more than are under way at a time in any order that fits a reader's memory


class _Drawn(NamedTuple):
    """A sample of the order: its index, its lane, the position after it, and how many before it, after the last such, are absent."""

    index: int
    lane: int
    after: int
    absent: int


class _Row(NamedTuple):
    """Where a sample is written, the process that does it, and what it is."""

    block: int
    row: int
    process: int
    drawn: _Drawn


class ProcessIterator(Resumable, Iterator[Batch]):
    """Iterates over batches, name -> array [B, ...]; see `pipeline.iterator`."""

    def __init__(
        self,
        source: Separable,
        positions: IndexOrder | VisitOrder,
        batch_size: int,
        drop_remainder: bool,
        identity: dict[str, int | str],
        *,
        readers: int,
        held: int,
        most_failures: int,
    ) -> None:
        """Starts nothing yet.

        Args:
          source: of samples of one size.
          positions: their order.
          batch_size: B.
          drop_remainder: whether the last, smaller batch is dropped.
          identity: what the position depends on.
          readers: processes.
          held: batches that may be referred to at a time without being copied.
          most_failures: in a row, after which no sample can be read.
        """
        super().__init__(identity)
        self._source, self._order, self._batch_size, self._drop_remainder = source, positions, batch_size, drop_remainder
        self._readers, self._held, self._most_failures = readers, held, most_failures
        self._ahead = 2 * batch_size + 4 * readers  # samples asked for and not handed over
        self._pool: ReaderPool | None = None
        self._waiting: collections.deque[_Row] = collections.deque()  # for the processes
        self._ready: collections.deque[_Row] = collections.deque()
        self._open: dict[int, int] = {}  # blocks that are being filled or emptied: rows that are not done with
        self._forget(0)

    def __next__(self) -> Batch:
        if self._pool is None and not self._start():
            raise StopIteration
        while len(self._ready) < self._batch_size:
            self._ask()
            if not self._waiting:
                break
            self._take_in()
        count = min(len(self._ready), self._batch_size)
        if not count or (self._drop_remainder and count < self._batch_size):
            raise StopIteration
        rows = [self._ready.popleft() for _ in range(count)]
        # Of a last, smaller batch, the rest was looked for to the end.
        self._next = rows[-1].drawn.after if count == self._batch_size else len(self._order)
        self._ask()  # so that the processes are busy while the caller is
        return self._batch(rows)

    def _position(self) -> dict[str, int]:
        return {NEXT: self._next}

    def _go_to(self, position) -> None:
        while self._waiting:
            self._pool.reply(self._waiting.popleft().process)
        for block in self._open:
            self._blocks.give_back(block)
        self._forget(position[NEXT])

    def _forget(self, position: int) -> None:
        """Goes to a position, with nothing asked for."""
        self._next = self._looked_up = position
        self._drawn: collections.deque[_Drawn] = collections.deque()
        self._ready.clear()
        self._open.clear()
        self._lanes: dict[int, int] = {}  # their processes
        self._loads, self._turn = [0] * self._readers, 0  # samples that each is asked for
        self._block, self._row, self._rows = -1, 0, 0  # what is being filled, its next row, and how many it is to have
        self._promised = 0  # samples asked for, without those that failed
        self._absent = 0  # in a row, of those looked up last
        self._failures = 0  # in a row, of those taken in last

    def _start(self) -> bool:
        """Reads a first sample, to know their size, and starts the processes; False where there is no sample."""
        drawn, found = [], None
        while not isinstance(found, dict):
            one = self._draw()
            if one is None:
                return False
            drawn.append(one)
            self._check(len(drawn) - 1)
            found = self._read_here(one.index)
        self._drawn.extendleft(reversed(drawn))  # read again, and counted, in their turn
        layout = shared_rows.layout_of(found, self._batch_size)
        self._reserve = math.ceil(self._ahead / self._batch_size) + 2  # blocks that what is asked for may lie in
        self._blocks = shared_rows.Blocks(layout, self._reserve + self._held)
        self._pool = ReaderPool(self._source, self._blocks, self._readers)
        return True

    def _read_here(self, index: int) -> Batch | str | None:
        try:
            return self._source.read(index)
        except Exception as e:
            raise self._named(e, index) from e

    def _named(self, error: Exception, index: int) -> Exception:
        """An error of reading, with the sample's name."""
        if isinstance(error, UnreadableData | ChildProcessError):
            return error
        return ValueError(f"sample {index} of {self._source!r}: {error}")

    def _draw(self) -> _Drawn | None:
        """The next sample of the order whose files are there; None at the end.

        Raises:
          ValueError: none is left that can be read.
        """
        while not self._drawn:
            stop = min(self._looked_up + _LOOK_UP, len(self._order))
            if stop == self._looked_up:
                return None
            span = self._looked_up, stop
            for after, (index, lane) in enumerate(zip(self._order.indices(*span), self._order.lanes(*span)), self._looked_up + 1):
                if index < 0:  # a visit without a further sample
                    continue
                if self._source.has(int(index)):
                    self._drawn.append(_Drawn(int(index), int(lane), after, self._absent))
                    self._absent = 0
                else:
                    self._absent += 1
                    self._check(self._absent)
            self._looked_up = stop
        return self._drawn.popleft()

    def _check(self, failures: int) -> None:
        if failures > self._most_failures:
            raise ValueError(none_readable(self._source))

    def _ask(self) -> None:
        """Asks for samples, as many as may be under way."""
        while len(self._waiting) + len(self._ready) < self._ahead and (self._row < self._rows or self._next_block()):
            drawn = self._draw()
            if drawn is None:
                return
            process = self._reader_of(drawn.lane)
            self._pool.request(process, drawn.index, self._block, self._row)
            self._waiting.append(_Row(self._block, self._row, process, drawn))
            self._loads[process] += 1
            self._row += 1
            self._promised += 1

    def _reader_of(self, lane: int) -> int:
        """The process that reads a lane's samples: the least busy one when the lane begins. Batches do not depend on it."""
        process = self._lanes.get(lane)
        if process is None:
            process = self._lanes[lane] = min(range(self._readers), key=lambda i: (self._loads[i], (i - self._turn) % self._readers))
            self._turn = process + 1  # of several that are as busy, the one after the last
            if len(self._lanes) > _LANES_KNOWN:
                del self._lanes[next(iter(self._lanes))]
        return process

    def _next_block(self) -> bool:
        """Takes a block to fill: of as many rows as the batch lacks that it begins in, so that the next begins with a block."""
        block = self._blocks.take()
        if block is None:
            return False
        self._block, self._row, self._rows = block, 0, self._batch_size - self._promised % self._batch_size
        self._open[block] = self._rows
        return True

    def _take_in(self) -> None:
        """Waits for the next sample of those asked for."""
        row = self._waiting.popleft()
        self._loads[row.process] -= 1
        try:
            reply = self._pool.reply(row.process)
        except Exception as e:
            raise self._named(e, row.drawn.index) from e
        if reply.outcome == Outcome.WRITTEN:
            self._failures = 0
            self._ready.append(row)
        else:
            self._promised -= 1
            self._done_with(row)
            self._failures += row.drawn.absent + 1
            self._check(self._failures)
        if reply.outcome != Outcome.ABSENT:
            self._source.note(row.drawn.index, reply.fault)

    def _done_with(self, row: _Row) -> None:
        self._open[row.block] -= 1
        if not self._open[row.block]:
            del self._open[row.block]
            self._blocks.give_back(row.block)

    def _batch(self, rows: list[_Row]) -> Batch:
        """A batch of rows: their block itself where they are all of it and blocks are left to go on with, else a copy."""
        block = rows[0].block
        whole = self._open[block] == self._batch_size and [(row.block, row.row) for row in rows] == [
            (block, i) for i in range(self._batch_size)
        ]
        if whole and self._blocks.free + len(self._open) > self._reserve:
            del self._open[block]
            return self._blocks.lend(block)
        arrays = [(self._blocks.arrays(row.block), row.row) for row in rows]
        batch = {name: np.stack([of[name][i] for of, i in arrays]) for name in arrays[0][0]}
        for row in rows:
            self._done_with(row)
        return batch


def none_readable(source: Separable) -> str:
    """What to say of a source no sample of which can be read."""
    return f"none of the {len(source)} samples of {source!r} can be read."
