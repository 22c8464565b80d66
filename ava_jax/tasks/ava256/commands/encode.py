"""Writes the expression codes of captures: a file per capture, which `ava render --driver=FILE` plays on anybody.

  ava ava256 encode --workdir=RUN
  ava ava256 encode --workdir=RUN --data=CAPTURES --people=A,B --segment=EXP_jaw_open,EXP_smile --format=csv

All frames of the frame list that can be read, in its order, with their segments, numbers and head poses; no photographs are needed. What is
stopped goes on where it was. Results: RUN/codes/<step>/<capture>.npz (arrays codes, capture, segment, frame, head_pose).
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_PEOPLE = flags.DEFINE_list("people", ["all"], "Whose: captures' folders or subjects' ids, all or all:6.")
_SEGMENT = flags.DEFINE_list("segment", [], "Which segments; by default every frame of the frame list.")
_FORMAT = flags.DEFINE_enum("format", "npz", ["npz", "csv"], "Of the files.")
_BATCH = flags.DEFINE_integer("batch_size", None, "Frames at a time; by default as in the run's evaluation.", lower_bound=1)
_STEP = define_step()
_OUT = flags.DEFINE_string("out", None, "Folder of the files; by default RUN/codes/<step>.")


def main(context: Context) -> None:
    """Encodes and writes, as the flags say."""
    overrides = {"data.root": _DATA.value, "eval.batch_size": _BATCH.value}
    config, assets, task, model, step = context.restore(_WORKDIR.value, _STEP.value, overrides=overrides)
    import numpy as np

    from ava_jax.tasks.ava256.apps import encoding, selection  # jax is imported here, so that --help stays quick
    from ava_jax.tasks.ava256.apps.avatar import Avatar
    from ava_jax.tasks.ava256.apps.people import People
    from ava_jax.tasks.ava256.data import strangers

    workdir, captures = pathlib.Path(_WORKDIR.value).expanduser(), task.captures
    strangers.check(captures, config, assets)
    avatar = Avatar(context.compile(model), config, assets, workdir, step)
    chosen = [captures.find("--people", name) for name in People(avatar, captures, config, assets).named(_PEOPLE.value)]
    frames = {}
    for capture in chosen:  # all names are looked up before anything is encoded
        parts = [selection.frames(config, capture, segment) for segment in _SEGMENT.value]
        frames[capture.name] = np.sort(np.concatenate(parts)) if parts else np.arange(len(capture.frames))
    folder = encoding.Folder(pathlib.Path(_OUT.value or workdir / "codes" / str(step)).expanduser(), avatar)
    for capture in chosen:
        path, count = folder.encode(captures, config, assets, capture, frames[capture.name], _FORMAT.value)
        lost = len(frames[capture.name]) - count
        print(f"wrote {path}: {count} frames" + (f"; {lost} could not be read" if lost else ""))
