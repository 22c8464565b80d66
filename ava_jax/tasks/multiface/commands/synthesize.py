"""Writes captures of procedural heads in multiface's format, for trying everything without a download.

ava multiface synthesize --out=captures                                      # 1 person, 24 frames, 8 cameras, textures of 256
ava multiface synthesize --out=more --identities=4 --cameras=10 --texture_size=1024 --seed=1
ava synth --out=same --identities=4 --cameras=10 --texture_size=1024 --seed=1   # the same heads in ava-256's format
"""

import os
import pathlib

from absl import flags

from ava_jax.synth.ava256_request import Request

_DEFAULT = Request(identities=1, frames=24, cameras=8, height=256, texture_size=256)
_OUT = flags.DEFINE_string("out", None, "Folder to write; must not exist, or be empty.")
_EXIST_OK = flags.DEFINE_bool("exist_ok", False, "Leave captures of the same request as they are, instead of refusing.")
_IDENTITIES = flags.DEFINE_integer("identities", _DEFAULT.identities, "People, each in a capture.")
_FRAMES = flags.DEFINE_integer("frames", _DEFAULT.frames, "Frames of each; the last fifth, EXP_free_face, mixes expressions.")
_CAMERAS = flags.DEFINE_integer("cameras", _DEFAULT.cameras, "Cameras of the rig; with four or more, each capture lacks one of them.")
_HEIGHT = flags.DEFINE_integer("height", _DEFAULT.height, "Height of photographs, pixels; the width follows from the sensor, 2048 x 1334.")
_TEXTURE_SIZE = flags.DEFINE_integer("texture_size", _DEFAULT.texture_size, "Side of the textures, texels; published ones have 1024.")
_SEED = flags.DEFINE_integer("seed", _DEFAULT.seed, "Of people, faces, poses and cameras.")
_TOPOLOGY = flags.DEFINE_string("topology", "", "OBJ with UVs, of a head: meshes and textures are its; by default the heads' own.")
_TEMPLATE = flags.DEFINE_string("template", "", "Mesh with that OBJ's vertices (OBJ, PLY, float32 .bin); left out: the OBJ's own.")
_JOBS = flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Processes that draw.", lower_bound=1)


def main() -> None:
    """Writes captures, as the flags say."""
    if not _OUT.value:
        raise ValueError("--out=FOLDER must say where to write.")
    from ava_jax.synth import multiface_layout  # imports jax, without which --help is quick

    request = Request(
        identities=_IDENTITIES.value,
        frames=_FRAMES.value,
        cameras=_CAMERAS.value,
        height=_HEIGHT.value,
        texture_size=_TEXTURE_SIZE.value,
        seed=_SEED.value,
        topology=_TOPOLOGY.value,
        template=_TEMPLATE.value,
    )
    out = pathlib.Path(_OUT.value).expanduser()
    written = multiface_layout.write(out, request, jobs=_JOBS.value, exist_ok=_EXIST_OK.value)
    print(f"{out}: {', '.join(multiface_layout.names(request))}" + ("" if written else ", as they were"))
