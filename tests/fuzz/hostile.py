"""Reads hostile files, one after the other, in a process of its own: `hostile.py FOLDER` prints a line of JSON per case."""

import json
import pathlib
import resource
import sys
import time

import numpy as np

from ava_jax.captures import calibration, tables
from ava_jax.data import images, mesh_files, npy_files, obj_files, torch_files
from ava_jax.data.archive import Archives
from ava_jax.tasks.mesh_fit import reference_weights
from ava_jax.train import manifest


def _torch(path: pathlib.Path) -> dict:
    file = torch_files.TorchFile(path)
    return {name: file.array(name) for name in file.tensors}


def _manifest(path: pathlib.Path) -> None:
    path.replace(path.with_name(manifest.NAME))
    manifest.verify(path.parent)


def _peak() -> int:
    """MB that this program has held at most. Not `ru_maxrss`: that counts what the process held that started it."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM:")).split()[1]) >> 10


READERS = {
    "zip": lambda path: Archives().read(path, 1),
    "picture": lambda path: images.decode(path.read_bytes(), (512, 333), whole=(4096, 4096)),
    "labels": lambda path: images.decode_labels(path.read_bytes(), (512, 333), whole=(4096, 4096)),
    "calibration": calibration.read,
    "frames": lambda path: tables.columns(path, ("seg_id", "frame_id")),
    "ply": lambda path: mesh_files.read_vertices(path.read_bytes()),
    "obj": obj_files.read,
    "topology": lambda path: mesh_files.read_topology(path, 3),
    "npy": npy_files.read,
    "torch": _torch,
    "names": reference_weights.read_names,
    "manifest": _manifest,
}


def main(folder: pathlib.Path) -> None:
    """Each file is named READER-WHAT."""
    resource.setrlimit(resource.RLIMIT_AS, (6 << 30, 6 << 30))  # an error, not a machine that swaps
    for path in sorted(folder.iterdir()):
        began = time.process_time()
        try:
            value = READERS[path.name.partition("-")[0]](path)
            kind, message = "value", str(getattr(value, "shape", type(value).__name__))
        except Exception as e:
            kind, message = type(e).__name__, str(e)
        peak = _peak()
        seconds = time.process_time() - began
        print(json.dumps({"case": path.name, "kind": kind, "message": message, "seconds": seconds, "peak": peak}), flush=True)


if __name__ == "__main__":
    np.seterr(all="ignore")
    main(pathlib.Path(sys.argv[1]))
