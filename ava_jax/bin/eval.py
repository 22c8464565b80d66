"""Scores a trained model on what was held out of its training; prints tables, writes JSON, CSV and pictures.

  ava-eval --workdir=RUN

A checkpoint and the captures are all that is needed. Results go to RUN/eval/<step>: scores.json (means with 95% intervals: over all,
by identity, camera and segment), scores.csv (a row an image), best_and_worst_<split>.jpg and what the task adds (ava256:
contact_sheet.jpg).
"""

import pathlib

from absl import flags

from ava_jax.bin import _main

_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run, as given to ava-train.")
_CAPTURES = flags.DEFINE_string("captures", None, "Folder of captures; by default the one that was trained on.")
_SPLITS = flags.DEFINE_list("splits", None, "Which splits, with commas between; by default all that the run holds out.")
_MAX_SAMPLES = flags.DEFINE_integer("max_samples", None, "At most so many images a split, evenly spaced; 0: all.", lower_bound=0)
_STEP = _main.define_step()
_OUT = flags.DEFINE_string("out", None, "Where results go; by default RUN/eval/<step>.")


def main() -> None:
    """Scores, prints and writes, as the flags say."""
    if not _WORKDIR.value:
        raise ValueError("--workdir is missing: the folder of a trained run, as in --workdir=runs/first.")
    from ava_jax.run import evaluation, inference, report  # jax is imported here, so that --help stays quick
    from ava_jax.train import checkpoint

    overrides = {"data.root": _CAPTURES.value, "eval.max_samples": _MAX_SAMPLES.value}
    overrides = {name: value for name, value in overrides.items() if value is not None}
    config, assets, task, model, step = checkpoint.restore_model(_WORKDIR.value, _main.parse_step(_STEP.value), overrides=overrides)
    compile_model = inference.Inference(model).compile
    splits = _SPLITS.value or task.eval_splits(assets)
    reports = evaluation.evaluate(task, assets, compile_model, splits, threads=config.data.read_threads)
    folder = pathlib.Path(_OUT.value or pathlib.Path(_WORKDIR.value) / "eval" / str(step))
    folder.mkdir(parents=True, exist_ok=True)
    written = report.write(folder, step, task, assets, reports)
    written += report.write_pictures(folder, task, assets, compile_model, reports)
    print(f"\nstep {step}\n\n{report.tables(task, reports)}\n")
    print("\n".join(f"wrote {path}" for path in written))


def run() -> None:
    """The command ava-eval."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
