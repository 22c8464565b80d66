"""Writes captures of procedural heads in multiface's format, for trying everything without a download.

ava multiface synthesize --out=captures                                      # 1 person, 24 frames, 8 cameras, textures of 256
ava multiface synthesize --out=more --identities=4 --cameras=10 --texture_size=1024 --seed=1
ava synth --out=same --identities=4 --cameras=10 --texture_size=1024 --seed=1   # the same heads in ava-256's format
"""

import pathlib

from ava_jax.synth import request_flags
from ava_jax.synth.ava256_request import Request

_FLAGS = request_flags.define(
    Request(identities=1, frames=24, cameras=8, height=256, texture_size=256),
    sensor="2048 x 1334",
    topologies="OBJ with UVs, of a head: meshes and textures are its; by default the heads' own.",
)


def main() -> None:
    """Writes captures, as the flags say."""
    if not _FLAGS.out.value:
        raise ValueError("--out=FOLDER must say where to write.")
    from ava_jax.synth import multiface_layout  # imports jax, without which --help is quick

    request, out = _FLAGS.request(), pathlib.Path(_FLAGS.out.value).expanduser()
    written = multiface_layout.write(out, request, jobs=_FLAGS.jobs.value, exist_ok=_FLAGS.exist_ok.value)
    print(f"{out}: {', '.join(multiface_layout.names(request))}" + ("" if written else ", as they were"))
