"""Data made from nothing, and the least work that the task can do: for trying it, and for tests."""

import os
import pathlib
from typing import Any

import ml_collections

from ava_jax.synth import ava256_layout

# A capture that shows everything there is to read: two people, a camera that one of them lacks, a segment that is held out.
SMALL = ava256_layout.Request(identities=2, frames=6, cameras=4, height=64, texture_size=64)


def synthesize(folder: pathlib.Path, *, small: bool) -> dict[str, Any]:
    """Writes captures of procedural heads; those of the same request that are there already are left as they are.

    Args:
      folder: is made where it is not there.
      small: 2 people, 6 frames, 3 of 4 cameras each, images 64 x 41; else what `ava synth` writes by default.

    Returns:
      The config's values that read them.

    Raises:
      ValueError: the folder holds something else.
    """
    request = SMALL if small else ava256_layout.Request()
    ava256_layout.write(folder, request, jobs=1 if small else os.cpu_count() or 1, exist_ok=True)
    return {"data.root": str(folder)}


def shrink(config: ml_collections.ConfigDict) -> None:
    """Narrow networks, few samples on rays of pictures 64 x 41, two images at once; in place."""
    config.data.downsample = 64
    config.model.width = 1 / 16
    config.model.step_size = 1 / 32
    config.model.guided_steps = 2
    config.train.batch_size = 2
    config.train.steps = 3
    config.train.log_every = 1
    config.train.picture_every = 10
    config.train.checkpoint_every = 2
    config.eval.batch_size = 2
    config.eval.max_samples = 2
