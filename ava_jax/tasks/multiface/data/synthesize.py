"""Captures made from nothing, for examples and tests."""

import os
import pathlib
from typing import Any

from ava_jax.synth import multiface_layout
from ava_jax.synth.ava256_request import Request

SMALL = Request(identities=1, frames=6, cameras=3, height=64, texture_size=64)  # a segment is held out
EXAMPLE = Request(identities=1, frames=24, cameras=8, height=256, texture_size=256)


def write_default(folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
    """Writes a capture for examples or, small, for tests, and returns the config's values that read it, by dotted name.

    One of the same request that is there already is left as it is.

    Raises:
      ValueError: the folder holds something else.
    """
    request = SMALL if small else EXAMPLE
    multiface_layout.write(folder, request, jobs=1 if small else os.cpu_count() or 1, exist_ok=True)
    return {"data.root": str(folder / multiface_layout.names(request)[0]), "data.held_out.segments": ("EXP_free_face",)}
