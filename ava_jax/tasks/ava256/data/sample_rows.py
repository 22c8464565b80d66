"""What tables and captions say of samples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.types import Assets, Batch
from ava_jax.tasks.base import NOT_SEEN


def describe(batch: Batch, assets: Assets, at_hand: CaptureSet | None = None) -> list[dict[str, Any]]:
    """Identity, camera, segment and frame of each sample of a batch.

    Args:
      batch: of a capture's source.
      assets: the run's.
      at_hand: the captures that the batch is of, which name whom the assets do not; the name is followed by NOT_SEEN. None: "unknown".
    """
    strangers, segments = ((), ()) if at_hand is None else (at_hand.people, at_hand.segments)

    def name(known: Sequence[str], others: Sequence[str], index: int, mark: str = "") -> str:
        if index >= 0:
            return known[index]
        return others[-1 - index] + mark if -1 - index < len(others) else "unknown"

    keys = ("identity", "camera_id", "segment", "frame")
    rows = zip(*(np.asarray(batch[key]).tolist() for key in keys), strict=True)
    return [
        {
            "identity": name(assets.names["identities"], strangers, identity, NOT_SEEN),
            "camera": str(camera),
            "segment": name(assets.names["segments"], segments, segment),
            "frame": frame,
        }
        for identity, camera, segment, frame in rows
    ]
