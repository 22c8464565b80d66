"""What a user may choose from, and how it is told. Imports no jax: a mistake on the command line is told at once."""

import math
from typing import NamedTuple

AROUND = ("swing", "circle", "orbit", "still", "ellipse", "spiral")  # start from one camera; orbit is circle
THROUGH = ("interpolate", "raw")  # the capture's cameras
PATHS = (*AROUND, *THROUGH)
BETWEEN = ("people", "expressions")  # what is blended
LEARNED = "rig"  # the background that training learned, as `Avatar.render` calls it
KEEP, STILL = "keep", "still"  # heads
GAUSSIAN, ONE_EURO = "gaussian", "one_euro"
_SMOOTH = "--smooth=2 (a Gaussian of 2 frames) or --smooth=one_euro, one_euro:MIN_CUTOFF or one_euro:MIN_CUTOFF:BETA (Hz, Hz per unit)"


class Smoothing(NamedTuple):
    """How a sequence is smoothed.

    Attributes:
      kind: GAUSSIAN, which looks ahead and lags behind nothing, or ONE_EURO, which knows the past alone, as live input would have it.
      values: of a Gaussian, its deviation in frames; of a one-euro filter, its least cut-off in Hz and how much that grows with speed.
    """

    kind: str
    values: tuple[float, ...]


def parse_smoothing(text: str) -> Smoothing | None:
    """What `--smooth` says; None where nothing is to be smoothed.

    Raises:
      ValueError: it says nothing that is known.
    """
    name, *numbers = text.split(":")
    try:
        if name == ONE_EURO and len(numbers) <= 2:
            values = (*map(float, numbers), *(1.0, 0.3)[len(numbers) :])
            if values[0] > 0 and values[1] >= 0 and all(map(math.isfinite, values)):
                return Smoothing(ONE_EURO, values)
        elif not numbers:
            deviation = float(name or 0)
            if 0 <= deviation < math.inf:
                return Smoothing(GAUSSIAN, (deviation,)) if deviation else None
    except ValueError:
        pass
    raise ValueError(f"--smooth={text}: must be {_SMOOTH}.")
