"""Arrays that NumPy saved, `.npy`, from files that may be damaged."""

import pathlib
import tempfile

import numpy as np

from ava_jax.data.remote.location import RemotePath


def read(path: pathlib.Path) -> np.ndarray:
    """The array of a file, of any shape; nothing in it is run, and no more memory is taken than it has bytes.

    Raises:
      ValueError: it cannot be read, or is no such file; the message names it.
    """
    try:
        if isinstance(path, RemotePath):
            with tempfile.NamedTemporaryFile(suffix=".npy") as copy:
                copy.write(path.read_bytes())
                copy.flush()
                return read(pathlib.Path(copy.name))
        # Mapped first: memory for what a header promises is taken only where the file has as much.
        return np.array(np.load(path, mmap_mode="r"))
    except Exception as e:  # NumPy raises many kinds on nonsense
        raise ValueError(f"{path}: cannot be read ({' '.join(str(e).split())[:200]}).") from e
