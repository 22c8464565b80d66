"""A run that goes on from another with people whom that one never saw (`data.base_run`): its statistics and topology, and names of both.

Weights mean something with the statistics alone that they were trained with: those of few new captures would move every input.
"""

from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.types import Assets
from ava_jax.tasks.ava256.data import source, strangers

_KINDS = ("cameras", "identities", "segments")


def prepare(base: Assets, captures: CaptureSet, config: ConfigDict) -> Assets:
    """The assets of a run that starts from another.

    Args:
      base: the other run's.
      captures: of those who are trained on.
      config: whole.

    Returns:
      The other run's arrays and, behind its names in their order, those of the captures that it lacks.

    Raises:
      ValueError: the captures do not fit the other run: another topology, or images of another size by cameras of the same names.
    """
    here = source.names_of(captures, config)
    strangers.check(captures, config, base)
    new = {kind: [name for name in here[kind] if name not in set(base.names[kind])] for kind in _KINDS}
    _check_sensor(base, captures, shared=[name for name in here["cameras"] if name not in new["cameras"]])
    return Assets(dict(base.arrays), {kind: [*base.names[kind], *new[kind]] for kind in _KINDS})


def _check_sensor(base: Assets, captures: CaptureSet, shared: Sequence[str]) -> None:
    """The background that a camera was trained with is stretched over its image, of whatever part of the sensor."""
    if "sensor" not in base.arrays or not len(captures) or not shared:
        return
    ours, theirs = captures.captures[0].sensor, tuple(np.asarray(base.arrays["sensor"]).tolist())
    if tuple(ours) != theirs:
        sizes = [" x ".join(map(str, size)) for size in (ours, theirs)]
        raise ValueError(
            f"{captures.root}: images are of {sizes[0]} pixels (height x width of the sensor), and the run's of {sizes[1]}, by cameras of "
            f"the same names ({', '.join(shared[:3])}): crop them alike, or name the cameras otherwise."
        )
