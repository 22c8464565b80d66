"""Writes what a trained model makes of data, sample by sample, in the task's own format; no targets are needed.

  ava predict --workdir=RUN --data=FOLDER        # all of a folder
  ava predict --workdir=RUN                      # what was held out of training
  ava predict --workdir=RUN --split=train --max_samples=10 --out=predictions

A checkpoint and the data are all that is needed. Predictions go to RUN/predictions/<step>/<split>.
"""

import pathlib

from absl import flags

from ava_jax.bin import _main
from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_DATA = define_data()
_SPLIT = flags.DEFINE_string("split", None, "Which split; by default all of --data or, without it, the first that was held out.")
_MAX_SAMPLES = flags.DEFINE_integer("max_samples", 0, "At most so many samples, evenly spaced; 0: all.", lower_bound=0)
_STEP = define_step()
_OUT = flags.DEFINE_string("out", None, "Where predictions go; by default RUN/predictions/<step>/<split>.")
_NAMES_SHOWN = 10


def main(context: Context) -> None:
    """Predicts and writes, as the flags say."""
    config, assets, task, model, step = context.restore(_WORKDIR.value, _STEP.value, overrides={"data.root": _DATA.value})
    from ava_jax.run import prediction  # jax is imported here, so that --help stays quick
    from ava_jax.tasks.base import PREDICT

    print("".join(f"{note}\n" for note in task.check_data(assets).notes), end="", flush=True)
    split = _SPLIT.value or next(iter(() if _DATA.value else task.eval_splits(assets)), PREDICT)
    folder = pathlib.Path(_OUT.value or pathlib.Path(_WORKDIR.value) / "predictions" / str(step) / split).expanduser()
    threads, most = config.data.read_threads, _MAX_SAMPLES.value
    written = prediction.predict(task, assets, context.compile(model), split, folder, threads=threads, max_samples=most)
    print(f"step {step}, {split}: {len(written)} files in {folder}")
    print("\n".join(f"wrote {path}" for path in written[:_NAMES_SHOWN]) + ("\n..." if len(written) > _NAMES_SHOWN else ""))


def run() -> None:
    """The command ava predict."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
