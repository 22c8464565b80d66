"""A run's assets in one npz, for weights that travel without them: statistics, topology, and the order of people and cameras."""

import pathlib

import numpy as np

from ava_jax.core.types import Assets
from ava_jax.data import files

_NAMES = "names/"
_ARRAYS = ("texture_mean", "texture_std", "vertices_mean", "vertices_std", "faces", "face_uvs", "uvs")
_LISTS = ("identities", "cameras", "segments")


def write(path: pathlib.Path, assets: Assets) -> None:
    """Writes them; an existing file is replaced whole."""
    arrays = {name: np.asarray(array) for name, array in assets.arrays.items()}
    names = {f"{_NAMES}{kind}": np.array(list(listed), np.str_) for kind, listed in assets.names.items()}
    with files.writing(path) as file:
        np.savez(file, allow_pickle=False, **arrays, **names)


def read(path: pathlib.Path) -> Assets:
    """What `write` wrote.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is something else, or lacks an array or a list of names.
    """
    try:
        with np.load(path, allow_pickle=False) as stored:
            found = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise
    except Exception as e:  # zipfile and NumPy raise many kinds on nonsense
        raise ValueError(
            f"{path}: must be an npz of a run's assets, as ava ava256 export writes ({' '.join(str(e).split())[:100]})."
        ) from e
    lacking = [name for name in (*_ARRAYS, *(f"{_NAMES}{kind}" for kind in _LISTS)) if name not in found]
    if lacking:
        raise ValueError(f"{path}: must be an npz of a run's assets, as ava ava256 export writes; it lacks {', '.join(lacking[:3])}.")
    names = {name.removeprefix(_NAMES): array.tolist() for name, array in found.items() if name.startswith(_NAMES)}
    return Assets({name: array for name, array in found.items() if not name.startswith(_NAMES)}, names)
