"""How near pages come to the avatar that they are baked from, and what they weigh: the table of docs/guide/webpage.md.

  python scripts/webpage_error.py --workdir=RUN --drive=codes.npz --components=2,4,8,16

Pictures are the avatar's own of the first identity, decoded for their view, and of the page's content by the same raymarcher.
"""

import pathlib
import tempfile

import numpy as np
from absl import app, flags

from ava_jax.bin._context import Context
from ava_jax.tasks.ava256.apps.avatar import Avatar
from ava_jax.tasks.ava256.data import codes_file
from ava_jax.tasks.ava256.model.codec import Decoded
from ava_jax.tasks.ava256.webpage import bake, segment

_WORKDIR = flags.DEFINE_string("workdir", None, "The run.", required=True)
_DRIVE = flags.DEFINE_string("drive", None, "Expression codes, npz or CSV, all of which the page plays.", required=True)
_COMPONENTS = flags.DEFINE_list("components", "2,4,8,16", "A page for each number of components.")
_VIEWS = ((0, 0), (25, 10), (-60, -10), (90, 0), (170, 20), (-20, 5), (45, -20), (-35, 25))  # azimuth, elevation, degrees
_HEIGHT, _WIDTH = 600, 450


def main(_) -> None:
    run = Context().restore(_WORKDIR.value)
    compile_model = Context().compile(run.model)
    avatar = Avatar(compile_model, run.config, run.assets, pathlib.Path(_WORKDIR.value), run.step)
    name, codes = avatar.identities[0], codes_file.read(_DRIVE.value).codes
    identity = avatar.encode_identity(*avatar.neutral(name))
    shown = segment.Segment(identity, name, codes, name, name)

    def picture(decoded, camera) -> np.ndarray:
        black = np.zeros(3, np.float32)
        return np.clip(np.asarray(avatar.render(decoded, camera, _HEIGHT, _WIDTH, identity=name, background=black))[0, ..., :3], 0, 255)

    truth = []
    for i, (azimuth, elevation) in enumerate(_VIEWS):
        frame, camera = i * len(codes) // len(_VIEWS), avatar.portrait(_HEIGHT, _WIDTH, azimuth=azimuth, elevation=elevation)
        decoded = avatar.decode(identity, codes[frame : frame + 1], camera.position)
        truth.append((frame, camera, decoded.vertices, picture(decoded, camera)))
    for rank in map(int, _COMPONENTS.value):
        baked = segment.bake_segment(avatar, run.config, shown, rank=rank)
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "page.html"
            size = segment.write_page(path, avatar, run.config, compile_model, shown, baked, fps=8, background=(0, 0, 0))
        found = []
        for frame, camera, vertices, true in truth:
            held = bake.to_primitives(baked, frame, bake.directions(camera)[0])
            found.append(10 * np.log10(255**2 / np.mean((picture(Decoded(held, vertices), camera) - true) ** 2)))
        print(f"| {rank} | {size / 1e6:.1f} | {np.mean(found):.1f} | {min(found):.1f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
