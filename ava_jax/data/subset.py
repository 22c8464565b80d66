"""Some samples of a source, as a source of their own."""

import dataclasses
from collections.abc import Sequence

from ava_jax.core.sampling import Source
from ava_jax.core.types import Batch


@dataclasses.dataclass(frozen=True)
class Subset:
    """The samples of `source` at `indices`, in that order; safe to read from several threads as the source is."""

    source: Source
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Subset({len(self)} of {self.source!r})"

    def __getitem__(self, index: int) -> Batch | None:
        return self.source[self.indices[index]]

    @property
    def counts(self) -> dict[str, int]:
        """The source's, `listed` being its own length."""
        return {**self.source.counts, "listed": len(self)}
