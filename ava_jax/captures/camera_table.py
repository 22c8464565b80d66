"""Which row of a model's tables, colour calibration and background, is which camera's.

Two rules. "id": a row for each camera id of all captures, sorted. "position": a row for each position in a capture's own calibration file,
as the published training numbers cameras: row 7 is another camera in another capture, and weights trained so must be read so. The rows'
names say the rule, so that a run's assets need nothing beside them.
"""

from collections.abc import Collection, Iterable, Sequence

import numpy as np

from ava_jax.captures.ava256 import Capture

RULES = ("id", "position")
_POSITION = "position "


def names(captures: Iterable[Capture], rule: str, *, held_out: Collection[str] = ()) -> list[str]:
    """Names of the rows, in order.

    Args:
      captures: that a model is trained on.
      rule: one of RULES.
      held_out: ids of cameras that have no row by "id"; by "position" each row may be another capture's too.

    Raises:
      ValueError: `rule` is none of these.
    """
    if rule not in RULES:
        raise ValueError(f"config.data.camera_table must be {' or '.join(map(repr, RULES))}; got {rule!r}.")
    if rule == "position":
        return positions(max(capture.calibrated for capture in captures))
    return sorted({camera for capture in captures for camera in capture.cameras} - set(held_out))


def positions(count: int) -> list[str]:
    """Names of `count` rows by position."""
    return [f"{_POSITION}{i}" for i in range(count)]


def is_by_position(rows: Sequence[str]) -> bool:
    """Whether rows of these names are numbered by position."""
    return bool(rows) and rows[0].startswith(_POSITION)


def indices(capture: Capture, rows: Sequence[str]) -> np.ndarray:
    """int32 [C]: the row of each of a capture's cameras; -1 where there is none."""
    if is_by_position(rows):
        return np.where(capture.positions < len(rows), capture.positions, -1).astype(np.int32)
    index = {name: i for i, name in enumerate(rows)}
    return np.array([index.get(name, -1) for name in capture.cameras], np.int32)


def known(capture: Capture, rows: Sequence[str]) -> list[str]:
    """Ids of those of a capture's cameras that have a row."""
    return [name for name, index in zip(capture.cameras, indices(capture, rows), strict=True) if index >= 0]
