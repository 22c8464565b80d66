"""Scores a trained model on what was held out of its training; prints tables, writes JSON, CSV and pictures.

  ava-eval --workdir=RUN
  ava-eval --workdir=RUN --data=ELSEWHERE --max_samples=100 --export

A checkpoint and the data are all that is needed. Results go to RUN/eval/<step>: scores.json (means with 95% intervals, over all and by
the task's groups), scores.csv (a row per sample), best_and_worst_<split>.jpg, what the task adds, and with --export predictions/<split>.
"""

import pathlib

from absl import flags

from ava_jax.bin import _main
from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_SPLITS = flags.DEFINE_list("splits", None, "Which splits, with commas between; by default all that the run holds out.")
_MAX_SAMPLES = flags.DEFINE_integer("max_samples", None, "At most so many samples per split, evenly spaced; 0: all.", lower_bound=0)
_EXPORT = flags.DEFINE_bool("export", False, "Write the predictions too, as ava predict does.")
_STEP = define_step()
_OUT = flags.DEFINE_string("out", None, "Where results go; by default RUN/eval/<step>.")


def main(context: Context) -> None:
    """Scores, prints and writes, as the flags say."""
    overrides = {"data.root": _DATA.value, "eval.max_samples": _MAX_SAMPLES.value}
    config, assets, task, model, step = context.restore(_WORKDIR.value, _STEP.value, overrides=overrides)
    from ava_jax.run import evaluation, report  # jax is imported here, so that --help stays quick

    folder = pathlib.Path(_OUT.value or pathlib.Path(_WORKDIR.value) / "eval" / str(step)).expanduser()
    at_hand = task.check_data(assets)
    report.check_folder(folder, at_hand.names)
    print("".join(f"{note}\n" for note in at_hand.notes), end="", flush=True)
    compile_model = context.compile(model)
    splits = _SPLITS.value or task.eval_splits(assets)
    export_to = folder / "predictions" if _EXPORT.value else None
    reports = evaluation.evaluate(task, assets, compile_model, splits, threads=config.data.read_threads, export_to=export_to)
    folder.mkdir(parents=True, exist_ok=True)
    written = report.write(folder, step, task, assets, reports, names=at_hand.names)
    written += report.write_pictures(folder, task, assets, compile_model, reports)
    written += [export_to / split for split in splits] if export_to else []
    print(f"\nstep {step}\n\n{report.tables(task, reports)}\n")
    print("\n".join(f"wrote {path}" for path in written))


def run() -> None:
    """The command ava-eval."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
