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
_FRONTAL = ("400029", "401168", "401875", "402040", "401031")  # of the first captures of multiface; of ava-256


def names(captures: Iterable[Capture], rule: str, *, held_out: Collection[str] = ()) -> list[str]:
    """Names of the rows, in order.

    Args:
      captures: that a model is trained on.
      rule: one of RULES.
      held_out: ids of cameras that have no row by "id"; by "position" each row may be another capture's too.

    Raises:
      ValueError: `rule` is none of these, or cannot be used for these captures.
    """
    if rule not in RULES:
        raise ValueError(f"config.data.camera_table must be {' or '.join(map(repr, RULES))}; got {rule!r}.")
    if rule == "position":
        captures = list(captures)
        if len({capture.data_set for capture in captures}) > 1:
            raise ValueError(
                "config.data.camera_table='position': captures of several data sets number other cameras alike; 'id' tells them apart."
            )
        return positions(max(capture.calibrated for capture in captures))
    return sorted({_row(capture, camera) for capture in captures for camera in capture.cameras if camera not in held_out})


def _row(capture: Capture, camera: str) -> str:
    """Name of a camera's row by "id": ids of another data set are other cameras, and say whose they are."""
    return f"{capture.data_set} {camera}" if capture.data_set else camera


def anchors(captures: Iterable[Capture], rows: Sequence[str]) -> list[int]:
    """The row of one camera of each data set, which colours are told by where data sets are mixed: of those usual in front the first.

    Args:
      captures: that a model is trained on.
      rows: names of the rows.
    """
    of: dict[str, set[str]] = {}
    for capture in captures:
        of.setdefault(capture.data_set, set()).update(known(capture, rows))
    index = {name: i for i, name in enumerate(rows)}
    found = []
    for data_set, cameras in sorted(of.items()):
        if cameras and not is_by_position(rows):
            first = next((camera for camera in _FRONTAL if camera in cameras), min(cameras))
            found.append(index[f"{data_set} {first}" if data_set else first])
    return found


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
    return np.array([index.get(_row(capture, name), -1) for name in capture.cameras], np.int32)


def known(capture: Capture, rows: Sequence[str]) -> list[str]:
    """Ids of those of a capture's cameras that have a row."""
    return [name for name, index in zip(capture.cameras, indices(capture, rows), strict=True) if index >= 0]
