"""Writes captures of procedural heads in ava-256's format, for trying everything without a download.

ava-synth --out=captures                                    # 4 people, 24 frames, 9 of 10 cameras each, 256 x 166
ava-synth --out=more --identities=8 --height=512 --seed=1   # the same request gives the same bytes
ava-synth --out=other --topology=other                      # the same pictures, meshes and textures of another topology
ava-synth --out=rig --rig                                   # one person as somebody's own rig has it, for ava convert
"""

import pathlib

from absl import flags

from ava_jax.synth import request_flags
from ava_jax.synth.ava256_request import Request

_FLAGS = request_flags.define(
    Request(),
    sensor="4096 x 2668",
    topologies="OBJ with UVs, of a head, y up and z to the front: meshes and textures are its; 'other': a stand-in of 5,023 vertices.",
)
_RIG = flags.DEFINE_bool("rig", False, "Write one person as a rig's files: COLMAP cameras with distortion, masks, meshes in metres.")


def main() -> None:
    """Writes captures, as the flags say."""
    if not _FLAGS.out.value:
        raise ValueError("--out=FOLDER must say where to write.")
    from ava_jax.synth import ava256_layout, rig_layout  # imports jax, without which --help is quick

    if _RIG.value and flags.FLAGS.topology:
        raise ValueError("--rig writes the heads' own mesh: leave --topology out.")
    alone = {"identities": 1} if _RIG.value and flags.FLAGS["identities"].using_default_value else {}
    request, out = _FLAGS.request(**alone), pathlib.Path(_FLAGS.out.value).expanduser()
    write = rig_layout.write if _RIG.value else ava256_layout.write
    written = write(out, request, jobs=_FLAGS.jobs.value, exist_ok=_FLAGS.exist_ok.value)
    if _RIG.value:
        print(f"{out}: a rig's recording" + ("" if written else ", as it was"))
        return
    plural = "" if request.identities == 1 else "s"
    print(f"{out}: {request.identities} capture{plural}" + ("" if written else ", as they were"))
