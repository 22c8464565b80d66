"""The order in which a shuffled split is read, as arithmetic: from a position in the order to a sample, without a table.

Samples come in groups that have work in common (all views of a frame have its texture and mesh). A *visit* is up to `per_visit` samples
of one group; a group of S samples is visited ceil(S / per_visit) times per epoch, by a random partition. Visits follow in random order,
and their samples are interleaved: tick t yields the first sample of visit t, the second of visit t - window, the third of visit
t - 2 window, ... So each tick begins one visit, neighbours are of different groups, and what a visit has in common has to be held for
(per_visit - 1) x window ticks (`groups_held`).

Epochs follow each other without a seam: the last samples of an epoch's visits come after the first ones of the next. Over E epochs each
sample is drawn E times exactly. Processes take every n-th visit, each with all its samples.
"""

import sys
from collections.abc import Sequence

import grain
import numpy as np

# Stands in the pipeline's state: positions in the order mean nothing in an order made otherwise.
NAME = "visits, interleaved (1)"

_FOR_EVER = sys.maxsize // 2


def groups_held(per_visit: int, window: int) -> int:
    """How many groups, those used last, a reader must hold to make what a visit has in common once.

    Between two samples of a visit come window x per_visit others, and one short of that many it would make each anew; one tick more
    leaves room for several readers at a time.
    """
    return per_visit * (window + 1)


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
    ) -> None:
        """The order of one process.

        Args:
          groups: as `core.sampling.Grouped`.
          seed: of the order; epochs differ.
          per_visit: samples per visit.
          window: ticks between samples of a visit.
          epochs: passes over all samples; None: as many as anyone reads.
        """
        counts, self._sizes = np.array([g for g in groups if min(g) > 0], np.int64).reshape(-1, 2).T
        self._parts = -(-self._sizes // per_visit)  # visits per group
        self._first_sample = np.cumsum([0, *(counts * self._sizes)])
        self._first_visit = np.cumsum([0, *(counts * self._parts)])
        self._seed, self._per_visit, self._window, self._epochs = seed, per_visit, window, epochs
        self._process_index, self._process_count = process_index, process_count
        self.visits = int(self._first_visit[-1])  # per epoch, of all processes
        self._own_visits = -(-self.visits // process_count)
        # Grain's shuffle is a permutation by arithmetic, another one each epoch.
        self._shuffled = grain.MapDataset.range(max(self.visits, 1)).seed(seed).shuffle()

    def __len__(self) -> int:
        if self._epochs is None:
            return _FOR_EVER
        return (self._own_visits * self._epochs + (self._per_visit - 1) * self._window) * self._per_visit

    def __getitem__(self, position: int) -> int | None:
        tick, slot = divmod(position, self._per_visit)
        epoch, own_visit = divmod(tick - slot * self._window, self._own_visits)
        unshuffled = own_visit * self._process_count + self._process_index
        if epoch < 0 or (self._epochs is not None and epoch >= self._epochs) or unshuffled >= self.visits:
            return None
        visit = int(self._shuffled[epoch * self.visits + unshuffled])
        run = int(np.searchsorted(self._first_visit, visit, side="right")) - 1
        size, parts = int(self._sizes[run]), int(self._parts[run])
        group, part = divmod(visit - int(self._first_visit[run]), parts)
        member = part + slot * parts  # of the group, in this epoch's partition of it
        if member >= size:
            return None
        if parts > 1:  # a seed sequence's words are the same in every release of NumPy; its generators' permutations need not be
            words = np.random.SeedSequence((self._seed, epoch, run, group)).generate_state(size, np.uint64)
            member = int(np.argsort(words, kind="stable")[member])
        return int(self._first_sample[run]) + group * size + member
