r"""Draws what enrolment changes, on a frame and from a camera that it did not learn from.

  python scripts/draw_enrol.py --run=RUN --enrolled=1_frame=FOLDER,16_frames=FOLDER --captures=CAPTURES --identity=NEW --driver=OTHER \
      --camera=400029 --out=FILE.jpg

First row: the truth, the mean texture on the mean mesh, the person as RUN encodes the neutral face, and as each enrolled run does. Second
row: the driver, and the person with the driver's expression by each.
"""

import pathlib

import jax.numpy as jnp
import numpy as np
from absl import flags

from ava_jax.bin import _main
from ava_jax.core.types import Cameras
from ava_jax.run.inference import Inference
from ava_jax.tasks.ava256.apps import driving, selection
from ava_jax.tasks.ava256.evaluation import baseline
from ava_jax.tasks.base import RestoredRun
from ava_jax.train.checkpoint import restore_model
from ava_jax.viz import colours, sheet

_RUN = flags.DEFINE_string("run", None, "The trained run, which does not know the person.", required=True)
_ENROLLED = flags.DEFINE_list("enrolled", None, "CAPTION=FOLDER of runs that do, with commas between.", required=True)
_CAPTURES = flags.DEFINE_string("captures", None, "Folder of the captures of both people.", required=True)
_IDENTITY = flags.DEFINE_string("identity", None, "The person.", required=True)
_DRIVER = flags.DEFINE_string("driver", None, "Who drives.", required=True)
_CAMERA = flags.DEFINE_string("camera", None, "Which camera.", required=True)
_FRAME = flags.DEFINE_integer("frame", -1, "Position in the person's frame list; -1: the last.")
_DRIVER_FRAME = flags.DEFINE_integer("driver_frame", -1, "Likewise in the driver's.")
_OUT = flags.DEFINE_string("out", None, "JPEG to write.", required=True)


def main() -> None:
    """Draws, as the flags say."""
    runs = {"as encoded": _RUN.value} | dict(item.rpartition("=")[::2] for item in _ENROLLED.value)
    own, driven = [], []
    for caption, folder in runs.items():
        restored = restore_model(folder, overrides={"data.root": _CAPTURES.value, "data.ids": ""})
        person = _sample(restored, _IDENTITY.value, _FRAME.value)
        driver = _sample(restored, _DRIVER.value, _DRIVER_FRAME.value)
        draw = Inference(restored.model).compile(_draw)
        if not own:
            own += [("truth", person["image"][0]), ("mean texture and mesh", _floor(restored, person))]
            driven += [(f"{_DRIVER.value}, who drives", driver["image"][0])]
        own.append((caption.replace("_", " "), np.asarray(draw(person, person)[0])))
        driven.append((caption.replace("_", " "), np.asarray(draw(person, driver)[0])))
    titles = (f"{_IDENTITY.value}: a frame and a camera that nothing has learned from", f"{_IDENTITY.value} driven by {_DRIVER.value}")
    strips = [sheet.Strip(title, tuple(panels)) for title, panels in zip(titles, (own, driven), strict=True)]
    sheet.save(sheet.compose(strips, columns=1), pathlib.Path(_OUT.value))


def _draw(model, person, driver):
    image = driving.drive(model, driving.encode_identity(model, person), person["identity"], driver)
    return colours.to_u8(jnp.asarray(image))


def _sample(restored: RestoredRun, name: str, at: int):
    """One frame of somebody's by the camera, with a batch axis."""
    captures = restored.task.captures
    capture = captures.find("--identity", name)
    (sample,) = selection.read(captures, restored.config, restored.assets, capture, [_CAMERA.value], np.arange(len(capture.frames))[[at]])
    return {key: np.asarray(value)[None] for key, value in sample.items()}


def _floor(restored: RestoredRun, batch) -> np.ndarray:
    heads = baseline.load(restored.task.captures, restored.config, restored.assets)
    cameras = Cameras(*(batch[key][0] for key in ("camera_rotation", "camera_position", "focal", "principal")))
    return np.asarray(colours.to_u8(heads.render(int(batch["identity"][0]), cameras, *batch["image"].shape[1:3])))


if __name__ == "__main__":
    _main.run(main, doc=__doc__)
