"""What `parity.py` prints, a line each."""

from typing import NamedTuple


class Row(NamedTuple):
    name: str
    max_error: float
    scale: float  # what `bound` is relative to
    bound: float
    ok: bool
