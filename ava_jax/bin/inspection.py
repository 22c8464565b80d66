"""Draws captures, to look at them: mesh, keypoints and segmentation over images; cameras and head in space; a contact sheet; what is there.

  ava inspect CAPTURES/20230324--0820--AEY864       # writes inspect/20230324--0820--AEY864/index.html and PNGs
  ava inspect CAPTURES --out=LOOK                   # each capture below a folder, and LOOK/index.html, which leads to all
  ava inspect CAPTURE --segment=EXP_jaw_open --cameras=400029,400048
  ava inspect CAPTURE --frames=1000,1030 --size=640 # overlays of these frames, pictures 640 pixels high

A capture is one of ava-256 (zips, packed, or at a URL) or of multiface (as released, or packed by ava multiface pack). What it lacks is
named and left out. Nothing is written into captures. `ava verify` says what is wrong with a file, and what to do.
"""

import pathlib
import sys

from absl import flags

POSITIONAL = "captures"  # words that are no flags are values of this one

_CAPTURES = flags.DEFINE_multi_string("captures", None, "A capture or a folder of captures; may be given several times, or as plain words.")
_OUT = flags.DEFINE_string("out", "inspect", "Folder that gets a folder for each capture.")
_FRAMES = flags.DEFINE_list("frames", None, "Ids of the frames to draw overlays of; by default the neutral face and another one.")
_CAMERAS = flags.DEFINE_list("cameras", None, "Ids of the cameras to show; by default the one in front and three around it.")
_SEGMENT = flags.DEFINE_string("segment", "", "Show frames of this segment alone; by default one of each on the contact sheet.")
_SIZE = flags.DEFINE_integer("size", 400, "Height of a picture in overlays, pixels; on the contact sheet half.", 64, 2048)
_DECODE = flags.DEFINE_bool("decode", False, "Decode every image, so that the coverage shows all that cannot be read.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "OBJ of the meshes; by default face_topology.obj beside each capture, or its own.")
_JOBS = flags.DEFINE_integer("jobs", None, "Threads that read; by default as many as there are cores.", lower_bound=1)
_RESUME = flags.DEFINE_bool("resume", False, "Leave captures that were drawn with these flags before as they are.")


def main() -> None:
    """Draws, writes, prints, as the flags say."""
    from ava_jax.captures.inspect import choice, run
    from ava_jax.captures.inspect.inspecting import Request
    from ava_jax.data.remote import location
    from ava_jax.data.workers import cores

    if not _CAPTURES.value:
        raise ValueError("name a capture or a folder of captures, as in ava inspect CAPTURES.")
    asked = choice.Asked(choice.named(_FRAMES.value or ()), tuple(_CAMERAS.value or ()), _SEGMENT.value)
    failed = run.run(
        run.find(_CAPTURES.value),
        pathlib.Path(_OUT.value).expanduser(),
        Request(asked, _SIZE.value, _DECODE.value),
        topology=location.at(_TOPOLOGY.value) if _TOPOLOGY.value else None,
        threads=_JOBS.value or cores(),
        resume=_RESUME.value,
    )
    sys.exit(1 if failed else 0)
