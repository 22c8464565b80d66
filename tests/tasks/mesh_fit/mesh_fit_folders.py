"""Small folders of meshes and a config that reads them, for tests of the data."""

import pathlib

import numpy as np
from ml_collections import ConfigDict

from ava_jax.data import obj_files

FACES = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
JOINTS = 2


def vertices(sequence: int, frame: int, kind: str) -> np.ndarray:
    """Of a tetrahedron, f32 [4, 3], or of `JOINTS` joints: other numbers in every file."""
    rng = np.random.default_rng([sequence, frame, {"sbs": 0, "target": 1, "joints": 2}[kind]])
    return rng.normal(size=(JOINTS if kind == "joints" else 4, 3)).round(4).astype(np.float32)


def write(root: pathlib.Path, frames: dict[str, int], kinds=("sbs", "target", "joints")) -> pathlib.Path:
    """Sequences of so many frames, `NAME_KIND/obj/00001.obj` and on."""
    for number, (name, count) in enumerate(frames.items()):
        for kind in kinds:
            folder = root / f"{name}_{kind}" / "obj"
            folder.mkdir(parents=True, exist_ok=True)
            for frame in range(count):
                faces = None if kind == "joints" else FACES
                obj_files.write(folder / f"{frame + 1:05d}.obj", vertices(number, frame, kind), faces, decimals=4)
    return root


def config(root: pathlib.Path, **values) -> ConfigDict:
    """What the data code reads of the task's config; `values` replace entries, as in `data__max_frames=2`."""
    found = ConfigDict(
        {
            "data": {
                "root": str(root),
                "sequences": (),
                "max_frames": 0,
                "cache": "",
                "held_out": {"last_frames": 1, "sequences": ()},
            },
            "model": {"condition_frames": 3, "condition_on": "time", "joints": 0},
            "eval": {"max_samples": 0, "batch_size": 1},
        }
    )
    found.update_from_flattened_dict({name.replace("__", "."): value for name, value in values.items()})
    return found
