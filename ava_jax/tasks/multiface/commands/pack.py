"""Decodes a capture's pictures once, into arrays that training maps: a step then waits for no decoder. Run again, it goes on.

ava multiface pack --data=CAPTURE --out=PACKED                            # 3 MB a view at textures of 1024
ava multiface pack --data=CAPTURE --out=PACKED --images --downsample=2    # with photographs, for the screen loss
ava train --config=multiface --config.data.root=PACKED --workdir=RUN
"""

import os
import pathlib

from absl import flags

from ava_jax.core import amounts

_DATA = flags.DEFINE_string("data", None, "Folder of the capture, m--DATE--TIME--ID--GHS.")
_OUT = flags.DEFINE_string("out", None, "Folder to write: new, or one that the same command was at before.")
_IMAGES = flags.DEFINE_bool("images", False, "Pack photographs too.")
_DOWNSAMPLE = flags.DEFINE_integer("downsample", 1, "Of photographs, as config.data.downsample of the run: 1 is 2048 x 1334.")
_JOBS = flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Threads that decode.", lower_bound=1)
_NAMED = 3


def main() -> None:
    """Packs, as the flags say."""
    if not _DATA.value or not _OUT.value:
        raise ValueError("--data=CAPTURE and --out=PACKED must say what to pack and where to.")
    from ava_jax.captures.multiface import recording
    from ava_jax.tasks.multiface.data import packed

    data, out = pathlib.Path(_DATA.value).expanduser(), pathlib.Path(_OUT.value).expanduser()
    if not recording.is_one(data):
        raise ValueError(f"--data={_DATA.value}: no capture of multiface (KRT, frame_list.txt) there.")
    found = packed.pack(data, out, image=_IMAGES.value, downsample=_DOWNSAMPLE.value, jobs=_JOBS.value)
    print(f"{out}: {found.frames} frames, {found.views} views, {amounts.size(found.bytes)}")
    if found.unreadable:
        more = f"; and {len(found.unreadable) - _NAMED} more" if len(found.unreadable) > _NAMED else ""
        raise ValueError(
            f"{len(found.unreadable)} files could not be read and are not in {out}; all others are: "
            f"{'; '.join(found.unreadable[:_NAMED])}{more}."
        )
