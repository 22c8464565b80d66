"""Draws the avatar over time beside the photographs, GT | PRED | DIFF, as numbered PNGs and an mp4 per segment and camera.

  ava multiface visualise --workdir=RUN                                              # held-out segments, two cameras
  ava multiface visualise --workdir=RUN --segments=E061 --cameras=400029,400049 --every=3
  ava multiface visualise --workdir=RUN --split=train --data=CAPTURE --downsample=2 --out=videos

A video that is there already is left as it is. Results go to RUN/visualise/<step>/<split>, with a sheet of some frames, frames.jpg.
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_STEP = define_step()
_DATA = define_data()
_SPLIT = flags.DEFINE_string("split", None, "Which split; by default the first that was held out, else train.")
_SEGMENTS = flags.DEFINE_list("segments", [], "Beginnings of segments' names, with commas between; by default all of the split.")
_CAMERAS = flags.DEFINE_list("cameras", [], "Cameras, with commas between, or all; by default the first two.")
_EVERY = flags.DEFINE_integer("every", 1, "Every so many of the frames.", lower_bound=1)
_MAX_FRAMES = flags.DEFINE_integer("max_frames", 0, "At most so many frames of each video, the first ones; 0: all.", lower_bound=0)
_DOWNSAMPLE = flags.DEFINE_integer("downsample", None, "Of the photographs; by default as trained.", lower_bound=1)
_DISPLAY = flags.DEFINE_enum("display", "published", ["published", "plain"], "Colours: balanced and brightened, or as in the files.")
_FPS = flags.DEFINE_float("fps", 20.0, "Frames per second of the videos.", lower_bound=0.1)
_OUT = flags.DEFINE_string("out", None, "Where results go; by default RUN/visualise/<step>/<split>.")


def main(context: Context) -> None:
    """Draws, as the flags say."""
    overrides = {"data.root": _DATA.value, "data.downsample": _DOWNSAMPLE.value}
    config, assets, task, model, step = context.restore(_WORKDIR.value, _STEP.value, overrides=overrides)
    from ava_jax.tasks.multiface.apps import videos

    split = _SPLIT.value or next(iter(task.eval_splits(assets)), "train")
    folder = pathlib.Path(_OUT.value or pathlib.Path(_WORKDIR.value) / "visualise" / str(step) / split).expanduser()
    choice = videos.Choice(split, tuple(_SEGMENTS.value), tuple(_CAMERAS.value), _EVERY.value, _MAX_FRAMES.value)
    how = {"plain": _DISPLAY.value == "plain", "fps": _FPS.value}
    written = videos.write(context.compile(model), config, assets, choice, folder, **how)
    print("\n".join(f"wrote {path}" for path in written) if written else f"nothing to draw: all videos are in {folder} already")
