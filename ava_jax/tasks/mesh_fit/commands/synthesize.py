"""Writes motions of a body made from nothing: skin by linear blending, what a scan would show, and joints, for trying everything.

ava mesh_fit synthesize --out=DATA                                   # 7 motions of 60 frames, 32,731 vertices: 1.9 GB
ava mesh_fit synthesize --out=SMALL --vertices=3000 --frames=30      # the same request gives the same bytes
"""

import os
import pathlib

from absl import flags

from ava_jax.tasks.mesh_fit.data import synthesize

_DEFAULT = synthesize.Request()
_OUT = flags.DEFINE_string("out", None, "Folder to write; must not exist, or be empty.")
_EXIST_OK = flags.DEFINE_bool("exist_ok", False, "Leave motions of the same request as they are, instead of refusing.")
_MOTIONS = flags.DEFINE_list("motions", list(_DEFAULT.motions), "Motions, with commas between.")
_FRAMES = flags.DEFINE_integer("frames", _DEFAULT.frames, "Frames of each motion, 30 per second.")
_VERTICES = flags.DEFINE_integer("vertices", _DEFAULT.vertices, "Vertices of the body, about.")
_NOISE = flags.DEFINE_float("noise", 1e3 * _DEFAULT.noise, "Noise of each coordinate of the targets, standard deviation, mm.")
_SEED = flags.DEFINE_integer("seed", _DEFAULT.seed, "Of motions, flesh and noise.")
_JOBS = flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Processes, each at a motion.", lower_bound=1)


def main() -> None:
    """Writes motions, as the flags say."""
    if not _OUT.value:
        raise ValueError("--out=FOLDER must say where to write.")
    request = synthesize.Request(
        motions=tuple(_MOTIONS.value),
        frames=_FRAMES.value,
        vertices=_VERTICES.value,
        noise=1e-3 * _NOISE.value,
        seed=_SEED.value,
    )
    out = pathlib.Path(_OUT.value).expanduser()
    written = synthesize.write(out, request, jobs=_JOBS.value, exist_ok=_EXIST_OK.value)
    print(f"{out}: {', '.join(request.motions)}, {request.frames} frames each" + ("" if written else ", as they were"))
