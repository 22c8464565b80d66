"""Writes a capture that `ava train` takes from your own rig: cameras, images and tracked meshes.

  ava convert --rig=SCENE --meshes=SCENE/meshes --topology=head.obj --scale=1000 --out=captures --subject=ANNA
  ava convert --rig=vhap_export --flame_model=flame2023.pkl --topology=flame_uv.obj --out=captures --subject=074

Images are undistorted and resized, masks become segmentations, head poses are told from what stays still, textures are unwrapped by
visibility. It says what it finds, writes a page of pictures, and stops with one line where conventions cannot be right. Run again after
an interruption, it goes on. docs/guide/your_data.md says what each format needs and what to look at.
"""

import dataclasses
import os
import pathlib

from absl import flags

from ava_jax.bin import _main
from ava_jax.captures.convert.request import Request

_DEFAULT = {field.name: field.default for field in dataclasses.fields(Request)}
_RIG = flags.DEFINE_string("rig", None, "File or folder of the cameras: COLMAP, transforms.json, ...; docs/guide/your_data.md lists them.")
_FORMAT = flags.DEFINE_string("format", "", "Which of them; by default told by the files.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of the images, where they are not where the format has them.")
_MESHES = flags.DEFINE_string("meshes", None, "Tracked meshes: a folder of OBJ, PLY or npz, FRAME in the name, or one npz of all frames.")
_TOPOLOGY = flags.DEFINE_string("topology", None, "OBJ of the meshes' faces with UVs; by default the first mesh.")
_FLAME = flags.DEFINE_string("flame_model", None, "Your FLAME model, pkl or npz, for rigs that name FLAME parameters.")
_MASKS = flags.DEFINE_string("masks", None, "Folder of masks named as the images, white = person; by default those that the rig names.")
_OUT = flags.DEFINE_string("out", None, "Folder of captures to write into.")
_SUBJECT = flags.DEFINE_string("subject", None, "The person's id.")
_RECORDED = flags.DEFINE_string("recorded", _DEFAULT["recorded"], "Date and time of the capture's name, yyyymmdd-hhmm.")
_SCALE = flags.DEFINE_float("scale", None, "Mm per unit of cameras and meshes: 1000 for metres.")
_DISTANCE = flags.DEFINE_list("distance", None, "Instead: two cameras and the mm between them, as in --distance=cam1,cam2,512.")
_TEMPLATE = flags.DEFINE_string("template", None, "Mesh of this topology in head axes (x to its left, y up, z out of the face).")
_SKULL = flags.DEFINE_string("skull", None, "File of vertex numbers that no expression moves; by default they are found.")
_SEGMENTS = flags.DEFINE_string("segments", None, "CSV seg_id,frame_id; frames that it lacks are left out.")
_NEUTRAL = flags.DEFINE_integer("neutral", None, "Frame of the neutral face; by default the first, or that of EXP_neutral_peak.")
_EVERY = flags.DEFINE_integer("every", _DEFAULT["every"], "Take every so many frames.")
_HEIGHT = flags.DEFINE_integer("height", _DEFAULT["height"], "Height of the images, pixels; they are never enlarged.")
_TEXTURE_SIZE = flags.DEFINE_integer("texture_size", _DEFAULT["texture_size"], "Side of the textures, texels.")
_QUALITY = flags.DEFINE_integer("quality", _DEFAULT["quality"], "Of AVIF images and textures.")
_LINEAR = flags.DEFINE_bool("linear", _DEFAULT["linear"], "Take sRGB's curve off, as for released weights; else colours stay as they are.")
_FILL = flags.DEFINE_bool("fill", _DEFAULT["fill"], "Fill unseen texels from the mean texture; else they are 0.")
_NECK = flags.DEFINE_float("neck", _DEFAULT["neck"], "Mm of neck to grow from the mesh's lowest border; 0: none.")
_FORCE = flags.DEFINE_bool("force", _DEFAULT["force"], "Go on where the checks say that conventions cannot be right.")
_JOBS = flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Processes.")


def main() -> None:
    """Converts, as the flags say."""
    for flag, what in ((_RIG, "the cameras"), (_OUT, "the folder of captures"), (_SUBJECT, "the person's id")):
        if not flag.value:
            raise ValueError(f"--{flag.name}=... must give {what}.")
    from ava_jax.captures.convert import converting  # imports jax, without which --help is quick

    paths = {"rig": _RIG, "out": _OUT, "images": _IMAGES, "meshes": _MESHES, "topology": _TOPOLOGY, "flame_model": _FLAME}
    paths |= {"masks": _MASKS, "template": _TEMPLATE, "skull": _SKULL, "segments": _SEGMENTS}
    plain = (_FORMAT, _SUBJECT, _RECORDED, _SCALE, _NEUTRAL, _EVERY, _HEIGHT, _TEXTURE_SIZE, _QUALITY, _LINEAR, _FILL, _NECK, _FORCE, _JOBS)
    values = {name: pathlib.Path(flag.value).expanduser() if flag.value else None for name, flag in paths.items()}
    values |= {flag.name: flag.value for flag in plain} | {"distance": _distance(_DISTANCE.value)}
    done = converting.convert(Request(**values), say=lambda line: print(line, flush=True))
    print(f"{done.folder}" + ("" if done.written else ", as it was"))
    print(f"wrote {done.page}" if done.written else f"look at {done.page}")


def _distance(words: list[str] | None) -> tuple[str, str, float] | None:
    if not words:
        return None
    try:
        first, second, apart = words
        return first, second, float(apart)
    except ValueError as e:
        raise ValueError(f"--distance must be two cameras and the mm between them, as in cam1,cam2,512; got {','.join(words)}.") from e


def run() -> None:
    """The command ava convert."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
