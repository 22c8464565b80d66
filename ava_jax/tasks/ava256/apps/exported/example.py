"""Draws the person in this folder. Needs jax, numpy, flatbuffers and pillow: python avatar.py PICTURE.png [portable|cpu|cuda] [STEP]"""

import ctypes
import json
import pathlib
import sys

import jax
import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).resolve().parent
ABOUT = json.loads((HERE / "avatar.json").read_text())  # sizes, units and names are explained there
WEIGHTS = np.load(HERE / "weights.npz")


def load(name, kind="portable"):
    """A function of the avatar: encode_identity, encode, decode or render. It is compiled once for each set of shapes."""
    program = ABOUT["programs"][f"{name}-{kind}"]
    for call, symbol in program["calls"].items():  # the compiled custom calls that it needs
        handler = jax.ffi.pycapsule(getattr(ctypes.CDLL(str(HERE / program["library"])), symbol))
        jax.ffi.register_ffi_target(call, handler, platform={"cuda": "CUDA"}.get(kind, kind))
    weights = {key: jax.numpy.asarray(WEIGHTS[key]) for key in program["weights"]}
    run = jax.jit(jax.export.deserialize(bytearray((HERE / program["file"]).read_bytes())).call)
    return lambda *args: run(weights, *args)


if __name__ == "__main__":
    picture, kind, step = (*sys.argv[1:], *("avatar.png", "portable", "1")[len(sys.argv) - 1 :])
    face = [np.load(HERE / ABOUT["people"][0]["file"])[part] for part in ("texture", "vertices")]  # neutral: u8 [1, T, T, 3], mm [1, V, 3]
    identity = load("encode_identity", kind)(*face)  # who it is
    expression = load("encode", kind)(*face, *face)  # what the face does, f32 [1, 4, 4, 16]: here, nothing
    camera = {name: np.array(values, np.float32) for name, values in ABOUT["camera"].items()}
    decoded = load("decode", kind)(identity, expression, camera["position"])
    rows, columns = (np.arange(0, ABOUT["picture"][side], int(step), dtype=np.float32) for side in ("height", "width"))
    rgba = np.asarray(load("render", kind)(decoded, camera, rows, columns, np.array([[-1, -1]], np.int32)))[0]
    colour, alpha = rgba[..., :3] / np.maximum(rgba[..., 3:], 1e-6), 255 * rgba[..., 3:]  # colour comes weighted by alpha
    Image.fromarray(np.concatenate([colour, alpha], -1).clip(0, 255).round().astype(np.uint8)).save(picture)
