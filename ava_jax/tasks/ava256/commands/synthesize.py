"""Writes captures of procedural heads in ava-256's format, for trying everything without a download.

ava-synth --out=captures                                    # 4 people, 24 frames, 9 of 10 cameras each, 256 x 166
ava-synth --out=more --identities=8 --height=512 --seed=1   # the same request gives the same bytes
ava-synth --out=other --topology=other                      # the same pictures, meshes and textures of another topology
ava-synth --out=rig --rig                                   # one person as somebody's own rig has it, for ava convert
"""

import os
import pathlib

from absl import flags

from ava_jax.synth.ava256_request import Request

_DEFAULT = Request()
_OUT = flags.DEFINE_string("out", None, "Folder to write; must not exist, or be empty.")
_EXIST_OK = flags.DEFINE_bool("exist_ok", False, "Leave captures of the same request as they are, instead of refusing.")
_IDENTITIES = flags.DEFINE_integer("identities", _DEFAULT.identities, "People.")
_FRAMES = flags.DEFINE_integer("frames", _DEFAULT.frames, "Frames of each; the last fifth, EXP_free_face, mixes expressions.")
_CAMERAS = flags.DEFINE_integer("cameras", _DEFAULT.cameras, "Cameras of the rig; with four or more, each capture lacks one of them.")
_HEIGHT = flags.DEFINE_integer("height", _DEFAULT.height, "Height of the images, pixels; the width follows from the sensor, 4096 x 2668.")
_TEXTURE_SIZE = flags.DEFINE_integer("texture_size", _DEFAULT.texture_size, "Side of the textures, texels.")
_SEED = flags.DEFINE_integer("seed", _DEFAULT.seed, "Of people, faces, poses and cameras.")
_TOPOLOGY = flags.DEFINE_string(
    "topology", "", "OBJ with UVs, of a head, y up and z to the front: meshes and textures are its; 'other': a stand-in of 5,023 vertices."
)
_TEMPLATE = flags.DEFINE_string("template", "", "Mesh with that OBJ's vertices (OBJ, PLY, float32 .bin); left out: the OBJ's own.")
_RIG = flags.DEFINE_bool("rig", False, "Write one person as a rig's files: COLMAP cameras with distortion, masks, meshes in metres.")
_JOBS = flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Processes that render.", lower_bound=1)


def main() -> None:
    """Writes captures, as the flags say."""
    if not _OUT.value:
        raise ValueError("--out=FOLDER must say where to write.")
    from ava_jax.synth import ava256_layout, rig_layout  # imports jax, without which --help is quick

    if _RIG.value and _TOPOLOGY.value:
        raise ValueError("--rig writes the heads' own mesh: leave --topology out.")
    alone = _RIG.value and flags.FLAGS["identities"].using_default_value
    request = Request(
        identities=1 if alone else _IDENTITIES.value,
        frames=_FRAMES.value,
        cameras=_CAMERAS.value,
        height=_HEIGHT.value,
        texture_size=_TEXTURE_SIZE.value,
        seed=_SEED.value,
        topology=_TOPOLOGY.value,
        template=_TEMPLATE.value,
    )
    out = pathlib.Path(_OUT.value).expanduser()
    write = rig_layout.write if _RIG.value else ava256_layout.write
    written = write(out, request, jobs=_JOBS.value, exist_ok=_EXIST_OK.value)
    if _RIG.value:
        print(f"{out}: a rig's recording" + ("" if written else ", as it was"))
        return
    plural = "" if request.identities == 1 else "s"
    print(f"{out}: {request.identities} capture{plural}" + ("" if written else ", as they were"))
