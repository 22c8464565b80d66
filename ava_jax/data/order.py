"""The order in which a split is read, as arithmetic: from a position in the order to a sample.

Shuffled (`VisitOrder`), samples come in groups that share work (all views of a frame share its texture and mesh). A *visit* is up to
`per_visit` samples of one group; a group of S samples is visited ceil(S / per_visit) times per epoch, by a random partition. Visits
follow in random order, and their samples are interleaved: tick t yields the first sample of visit t, the second of visit t - window, the
third of visit t - 2 window, ... So each tick begins one visit, neighbours are of different groups, and what a visit shares has to be held
for (per_visit - 1) x window ticks (`groups_held`).

Epochs follow each other without a seam: the last samples of an epoch's visits come after the first ones of the next. Over E epochs each
sample is drawn E times exactly. Processes take every n-th visit, each with all its samples.
"""

import functools
import sys
from collections.abc import Sequence

import grain
import numpy as np

# Stand in the pipeline's state: a position means nothing in an order made otherwise. A run keeps the one that it began with; new runs
# take the last. (3) differs from (2) where a group is one visit: its samples come in random order too. Of a split with as few cameras as a
# visit has samples, (2) begins with `window` samples of the first camera.
NAMES = ("visits, interleaved (1)", "visits, interleaved (2)", "visits, interleaved (3)")
NAME = NAMES[-1]

# Visits per epoch up to which (2) and (3) shuffle by a table. Grain's arithmetic needs none, but takes 0.05 ms per visit where there are
# 800 of them, and 2 ms where there are 24: it draws among 65,536 until it meets one of those.
_TABLE = 1 << 20

_FOR_EVER = sys.maxsize // 2
_NEIGHBOURS = 4  # samples of an order by index that are read by one process, as they may be of one group


def groups_held(per_visit: int, window: int) -> int:
    """How many groups, those used last, a reader must hold to make what a visit has in common once.

    Between two samples of a visit come window x per_visit others, and one short of that many it would make each anew; one tick more
    leaves room for several readers at a time.
    """
    return per_visit * (window + 1)


class IndexOrder(Sequence):
    """Position in the order -> index of a sample, not shuffled; processes take every n-th."""

    def __init__(self, samples: int, *, epochs: int | None = None, process_index: int = 0, process_count: int = 1) -> None:
        """Of `samples`, `epochs` times; None: as often as anyone reads."""
        self._samples, self._process_index, self._process_count = samples, process_index, process_count
        total = _FOR_EVER if epochs is None else samples * epochs
        self._length = len(range(process_index, total, process_count))

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, position: int) -> int:
        return (self._process_index + position * self._process_count) % self._samples

    def indices(self, start: int, stop: int) -> np.ndarray:
        """Of positions `start` to `stop`: int64 [stop - start]."""
        return (self._process_index + np.arange(start, stop) * self._process_count) % self._samples

    def lanes(self, start: int, stop: int) -> np.ndarray:
        """Of positions `start` to `stop`, int64 [stop - start]: a number for each; samples of one may have work in common."""
        return np.arange(start, stop) // _NEIGHBOURS


class VisitOrder(Sequence):
    """Position in the order -> index of a sample, or None where a visit has no further sample: groups are not always multiples."""

    def __init__(
        self,
        groups: Sequence[tuple[int, int]],
        *,
        seed: int,
        per_visit: int = 1,
        window: int = 1,
        epochs: int | None = None,
        process_index: int = 0,
        process_count: int = 1,
        name: str = NAME,
    ) -> None:
        """The order of one process.

        Args:
          groups: as `core.sampling.Grouped`.
          seed: of the order; epochs differ.
          per_visit: samples per visit.
          window: ticks between samples of a visit.
          epochs: passes over all samples; None: as many as anyone reads.
          process_index: of this process.
          process_count: how many share the visits.
          name: of `NAMES`, how visits are shuffled.
        """
        counts, self._sizes = np.array([g for g in groups if min(g) > 0], np.int64).reshape(-1, 2).T
        self._parts = -(-self._sizes // per_visit)  # visits per group
        self._first_sample = np.cumsum([0, *(counts * self._sizes)])
        self._first_visit = np.cumsum([0, *(counts * self._parts)])
        self._seed, self._per_visit, self._window, self._epochs = seed, per_visit, window, epochs
        self._process_index, self._process_count = process_index, process_count
        self.visits = int(self._first_visit[-1])  # per epoch, of all processes
        self._own_visits = -(-self.visits // process_count)
        self._by_table = name != NAMES[0] and self.visits <= _TABLE
        self._whole_groups_in_order = name in NAMES[:2]
        # A permutation by arithmetic, another one each epoch.
        self._shuffled = grain.MapDataset.range(max(self.visits, 1)).seed(seed).shuffle()
        epochs_at_once = 2 + (per_visit - 1) * window // max(self._own_visits, 1)
        self._table = functools.lru_cache(epochs_at_once + 1)(self._make_table)

    def __len__(self) -> int:
        if self._epochs is None:
            return _FOR_EVER
        return (self._own_visits * self._epochs + (self._per_visit - 1) * self._window) * self._per_visit

    def __getitem__(self, position: int) -> int | None:
        index = int(self.indices(position, position + 1)[0])
        return None if index < 0 else index

    def indices(self, start: int, stop: int) -> np.ndarray:
        """Of positions `start` to `stop`: int64 [stop - start], -1 in place of None."""
        found = np.full(stop - start, -1, np.int64)
        tick, slot = np.divmod(np.arange(start, stop), self._per_visit)
        epoch, at = np.divmod(tick - slot * self._window, max(self._own_visits, 1))
        at = at * self._process_count + self._process_index
        drawn = (epoch >= 0) & (epoch < (_FOR_EVER if self._epochs is None else self._epochs)) & (at < self.visits)
        slot, epoch, at = slot[drawn], epoch[drawn], at[drawn]
        visit = self._permuted(epoch, at)
        run = np.searchsorted(self._first_visit, visit, side="right") - 1
        size, parts = self._sizes[run], self._parts[run]
        group, part = np.divmod(visit - self._first_visit[run], parts)
        member = part + slot * parts  # of the group, in this epoch's partition of it
        partitioned = parts > 1 if self._whole_groups_in_order else size > 1
        for i in np.flatnonzero(partitioned & (member < size)):
            member[i] = self._partition(int(epoch[i]), int(run[i]), int(group[i]), int(size[i]))[member[i]]
        found[drawn] = np.where(member < size, self._first_sample[run] + group * size + member, -1)
        return found

    def lanes(self, start: int, stop: int) -> np.ndarray:
        """Of positions `start` to `stop`, int64 [stop - start]: the number of the visit, whose samples have work in common."""
        tick, slot = np.divmod(np.arange(start, stop), self._per_visit)
        return tick - slot * self._window

    def _permuted(self, epoch: np.ndarray, at: np.ndarray) -> np.ndarray:
        """Visits [n] at places `at` [n] of epochs `epoch` [n]."""
        if not self._by_table:
            return np.array([self._shuffled[int(e) * self.visits + int(a)] for e, a in zip(epoch, at)], np.int64)
        visit = np.empty_like(at)
        for one in np.unique(epoch):
            visit[epoch == one] = self._table(int(one))[at[epoch == one]]
        return visit

    def _make_table(self, epoch: int) -> np.ndarray:
        # A bit generator's stream is the same in every release of NumPy; its distributions and permutations need not be.
        return np.argsort(np.random.PCG64((self._seed, epoch)).random_raw(self.visits), kind="stable")

    def _partition(self, epoch: int, run: int, group: int, size: int) -> np.ndarray:
        """How an epoch orders the members of a group: [size]."""
        words = np.random.SeedSequence((self._seed, epoch, run, group)).generate_state(size, np.uint64)
        return np.argsort(words, kind="stable")
