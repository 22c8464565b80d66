"""The flags that say which captures of procedural heads are written: the same of every layout."""

import os
from collections.abc import Callable
from typing import NamedTuple

from absl import flags

from ava_jax.synth.ava256_request import Request

flags.disclaim_key_flags()  # flags are of the command that defines them, which lists them in its --help


class RequestFlags(NamedTuple):
    """Values of the flags, read once the command line has been parsed.

    Attributes:
      request: makes the request; fields that are given replace those of the flags.
      out, exist_ok, jobs: holders of --out, --exist_ok and --jobs.
    """

    request: Callable[..., Request]
    out: flags.FlagHolder
    exist_ok: flags.FlagHolder
    jobs: flags.FlagHolder


def define(default: Request, *, sensor: str, topologies: str) -> RequestFlags:
    """Defines them.

    Args:
      default: what is made where no flag says otherwise.
      sensor: height x width, pixels, in the help of --height.
      topologies: what --topology may be, in its help.
    """
    out = flags.DEFINE_string("out", None, "Folder to write; must not exist, or be empty.")
    exist_ok = flags.DEFINE_bool("exist_ok", False, "Leave captures of the same request as they are, instead of refusing.")
    fields = {
        "identities": "People, a capture each.",
        "frames": "Frames of each; the last fifth, EXP_free_face, mixes expressions.",
        "cameras": "Cameras of the rig; with four or more, each capture lacks one of them.",
        "height": f"Height of the images, pixels; the width follows from the sensor, {sensor}.",
        "texture_size": "Side of the textures, texels.",
        "seed": "Of people, faces, poses and cameras.",
    }
    given = {name: flags.DEFINE_integer(name, getattr(default, name), what) for name, what in fields.items()}
    given["topology"] = flags.DEFINE_string("topology", "", topologies)
    given["template"] = flags.DEFINE_string(
        "template", "", "Mesh with that OBJ's vertices (OBJ, PLY, float32 .bin); left out: the OBJ's own."
    )
    jobs = flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Processes that draw.", lower_bound=1)

    def request(**instead: int) -> Request:
        return Request(**{name: holder.value for name, holder in given.items()} | instead)

    return RequestFlags(request, out, exist_ok, jobs)
