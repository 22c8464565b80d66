"""Predictions as OBJ files, under the names of the skin interpolations they are of."""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from ava_jax.core.types import Array, Batch
from ava_jax.data import obj_files
from ava_jax.tasks.mesh_fit.data import source


def export(prediction: dict[str, Array], sample: Batch, config: ConfigDict, folder: pathlib.Path) -> list[pathlib.Path]:
    """Writes `SEQUENCE/FRAME.obj`: the file of the skin interpolation with other positions; faces, UVs and all else as they are there.

    Args:
      prediction: of one sample: `vertices` [V, 3], metres.
      sample: what it is of; it needs no target.
      config: names the data root, where the skin interpolation is.
      folder: that exists.

    Raises:
      ValueError: the file has changed since it was read.
      OSError: it is gone, or the new one cannot be written.
    """
    sequence, frame = source.name_of(sample["name"])
    content = source.source_file(config, sequence, frame).read_bytes()
    path = folder / sequence / f"{frame}.obj"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(obj_files.with_vertices(content, np.asarray(prediction["vertices"])))
    return [path]
