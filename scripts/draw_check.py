"""Draws what `ava train --check` shows of a sound capture and of one with T not transposed, both made from nothing.

python scripts/draw_check.py --out=docs/images        # check_sound.jpg, check_transposed.jpg
"""

import json
import pathlib
import tempfile

import numpy as np
from absl import app, flags
from ml_collections import ConfigDict
from PIL import Image

from ava_jax.synth import ava256_layout
from ava_jax.synth.ava256_request import Request
from ava_jax.tasks.ava256.evaluation import check

_OUT = flags.DEFINE_string("out", None, "Folder for the pictures.", required=True)
_WIDTH, _QUALITY = 1400, 82


def main(_) -> None:
    out = pathlib.Path(_OUT.value)
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder) / "captures"
        ava256_layout.write(root, Request(identities=1, cameras=8, frames=3, height=512, texture_size=256), jobs=1)
        _draw(root, out / "check_sound.jpg")
        for path in root.glob("*/decoder/camera_calibration.json"):
            tree = json.loads(path.read_text())
            for entry in tree["KRT"]:
                entry["T"] = np.array(entry["T"]).T.tolist()
            path.write_text(json.dumps(tree))
        _draw(root, out / "check_transposed.jpg")


def _draw(root: pathlib.Path, path: pathlib.Path) -> None:
    config = ConfigDict({"data": {"root": str(root), "ids": "", "cameras": (), "topology": ""}})
    with tempfile.TemporaryDirectory() as folder:
        (drawn,) = check.write(config, pathlib.Path(folder))
        picture = Image.open(drawn)
        size = (_WIDTH, round(picture.height * _WIDTH / picture.width))
        picture.resize(size, Image.Resampling.LANCZOS).save(path, "JPEG", quality=_QUALITY)


if __name__ == "__main__":
    app.run(main)
