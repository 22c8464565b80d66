"""What a run is bound to: the names and arrays that its task knew of the data when it began (`Assets`), which each checkpoint holds."""

import pathlib
from collections.abc import Sequence

import numpy as np

from ava_jax.core.types import Array, Assets

_CLOSE = 1e-3  # of an array's largest value: other versions of libraries round other ways, other data differ by more
_MOST_NAMED = 4


def check(saved: Assets, now: Assets, workdir: pathlib.Path) -> None:
    """Refuses to go on with a run on other data than it was begun with; the same data may have moved.

    Args:
      saved: the run's.
      now: of the data at hand, as the task's `prepare` gives them.
      workdir: the run's folder.

    Raises:
      ValueError: they differ; the message names what is missing and what is new.
    """
    faults = names_that_differ(saved, now) or arrays_that_differ(saved, now)
    if faults:
        raise ValueError(
            f"{workdir}: the run goes on with the data that it was begun with alone; {'; '.join(faults)}. Give those "
            f"(--config.data.root=FOLDER), or take another --workdir: --config.train.init_from={workdir} begins with this run's weights."
        )


def names_that_differ(saved: Assets, now: Assets) -> list[str]:
    """Of each kind of names, who of the run's is missing and who is new, in words."""
    faults = []
    for kind, names in saved.names.items():
        here = now.names.get(kind, [])
        missing, new = ([name for name in one if name not in set(other)] for one, other in ((names, here), (here, names)))
        parts = [f"{listed(missing)} missing"] if missing else []
        parts += [f"{listed(new)} new"] if new else []
        faults += [f"{kind}: {', '.join(parts)}"] if parts else []
    return faults


def arrays_that_differ(saved: Assets, now: Assets) -> list[str]:
    """The arrays that are others than the run's, in words."""
    return [f"{name} differs" for name, array in saved.arrays.items() if name in now.arrays and not _same(array, now.arrays[name])]


def listed(names: Sequence[str]) -> str:
    """'a, b, c, d and 3 more'."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _same(a: Array, b: Array) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    if not np.issubdtype(a.dtype, np.floating):
        return np.array_equal(a, b)
    return bool(np.allclose(a, b, rtol=0.0, atol=_CLOSE * float(np.abs(a).max(initial=0.0)), equal_nan=True))
