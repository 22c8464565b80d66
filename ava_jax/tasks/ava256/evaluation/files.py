"""A sample's prediction as a file."""

import pathlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from ava_jax.captures.capture_set import CaptureSet
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks.ava256.data import sample_rows
from ava_jax.tasks.base import NOT_SEEN
from ava_jax.viz import colours


def write(
    prediction: Mapping[str, Array], sample: Batch, assets: Assets, folder: pathlib.Path, captures: CaptureSet | None = None
) -> list[pathlib.Path]:
    """Writes the picture as `<identity>/<segment>/<frame>_cam<camera>.png` into a folder that exists.

    Args:
      prediction: `image` [H, W, 3], 0-255.
      sample: of a capture's source, without the batch axis.
      assets: name identities and segments.
      folder: gets the file, in folders of its own.
      captures: at hand, as `sample_rows.describe` takes them.

    Returns:
      The file.
    """
    what = {name: np.asarray(sample[name])[None] for name in ("identity", "camera_id", "segment", "frame")}
    (row,) = sample_rows.describe(what, assets, captures)
    path = folder / row["identity"].removesuffix(NOT_SEEN) / row["segment"] / f"{row['frame']:06d}_cam{row['camera']}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(colours.to_u8(prediction["image"]))).save(path)
    return [path]
