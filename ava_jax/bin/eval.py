"""Scores a trained model on what was held out of its training; prints tables, writes JSON, CSV, LaTeX and pictures.

  ava-eval --workdir=RUN
  ava-eval --workdir=RUN --data=ELSEWHERE --max_samples=100 --export
  ava-eval --workdir=RUN --data=ELSEWHERE --all --out=FOLDER                    # everything there, whatever the run held out
  ava-eval --workdir=RUN --segments=EXP_free_face --cameras=400008 --every=10   # or a part of it
  ava-eval --workdir=RUN --classes=chair,lamp --save_meshes                     # of implicit functions
  ava-eval --workdir=RUN --lpips_alex=alexnet.pth --lpips_vgg=vgg16.pth         # with LPIPS

A checkpoint and the data are all that is needed. Results go to RUN/eval/<step>, with --all and its like to RUN/eval/<step>-selected:
scores.json (protocol, and means with 95% intervals, over all and by the task's groups), scores.csv (a row per sample), scores.tex,
best_and_worst_<split>.jpg, what the task adds, and with --export predictions/<split>.
"""

import pathlib
from typing import Any

from absl import flags

from ava_jax.bin import _main
from ava_jax.data import workers
from ava_jax.tasks.command import Context, define_data, define_step, define_workdir

_WORKDIR = define_workdir()
_DATA = define_data()
flags.DEFINE_alias("captures", "data")
_SPLITS = flags.DEFINE_list("splits", None, "Which splits, with commas between; by default all that the run holds out.")
_MAX_SAMPLES = flags.DEFINE_integer("max_samples", None, "At most so many samples per split, evenly spaced; 0: all.", lower_bound=0)
_EXPORT = flags.DEFINE_bool("export", False, "Write the predictions too, as ava predict does.")
_BASELINES = flags.DEFINE_bool("baselines", True, "Score what needs no learning too.")
_STEP = define_step()
flags.DEFINE_bool("all", False, "Score all samples there are, instead of what the run held out.")
flags.DEFINE_list("people", None, "Score these alone, subjects' ids or captures' names, instead of what the run held out.")
flags.DEFINE_list("segments", None, "Score the frames of these segments alone, instead of what the run held out.")
flags.DEFINE_list("cameras", None, "Score the images of these cameras alone, instead of what the run held out.")
flags.DEFINE_integer("every", None, "Score every so many of the frames that fit, instead of what the run held out.", lower_bound=1)
flags.DEFINE_string("held_out_by", None, "Score what this file of splits, or installed split, holds out, instead of what the run did.")
flags.DEFINE_string("lpips_alex", None, "Weights of torchvision's AlexNet, .pth or .safetensors: adds LPIPS with it.")
flags.DEFINE_string("lpips_vgg", None, "Weights of torchvision's VGG16, .pth or .safetensors: adds LPIPS with it.")
flags.DEFINE_list("classes", None, "Score shapes of these classes alone.")
flags.DEFINE_integer("resolution", None, "Points per side of the grid on which surfaces are looked for.", lower_bound=2, upper_bound=2048)
_SAVE_MESHES = flags.DEFINE_bool("save_meshes", False, "Write the predictions, as --export does, and each shape's mesh beside its own.")
_RULE = ("all", "people", "segments", "cameras", "every", "held_out_by")
_PART = (*_RULE, "classes")  # scores of a part have a folder of their own
_OPTIONS = (*_PART, "resolution", "save_meshes", "lpips_alex", "lpips_vgg")  # of tasks that list them in `Task.eval_options`
_OUT = flags.DEFINE_string("out", None, "Where results go; by default RUN/eval/<step>.")


def main(context: Context) -> None:
    """Scores, prints and writes, as the flags say."""
    options = _options()
    overrides = {"data.root": _DATA.value, "eval.max_samples": _MAX_SAMPLES.value} | {f"eval.{name}": v for name, v in options.items()}
    config, assets, task, model, step = context.restore(_WORKDIR.value, _STEP.value, overrides=overrides)
    if refused := [name for name in options if name not in task.eval_options]:
        raise ValueError(f"--{refused[0]}: runs of {type(task).__name__} are not evaluated by it; --splits names what they held out.")
    from ava_jax.run import evaluation, report  # jax is imported here, so that --help stays quick

    name = f"{step}-selected" if set(options) & {*_PART} else str(step)
    folder = pathlib.Path(_OUT.value or pathlib.Path(_WORKDIR.value) / "eval" / name).expanduser()
    at_hand = task.check_data(assets)
    selection = " ".join(f"--{name}={_text(value)}" for name, value in options.items() if name in _PART)
    report.check_folder(folder, at_hand.names, selection)
    print("".join(f"{note}\n" for note in at_hand.notes), end="", flush=True)
    compile_model = context.compile(model)
    splits = _SPLITS.value or task.eval_splits(assets)
    export_to = folder / "predictions" if _EXPORT.value or _SAVE_MESHES.value else None
    how = {"threads": config.data.read_threads, "readers": min(config.data.get("read_processes", 0), workers.cores())}
    how |= {"export_to": export_to, "with_baselines": _BASELINES.value}
    reports = evaluation.evaluate(task, assets, compile_model, splits, **how)
    folder.mkdir(parents=True, exist_ok=True)
    written = report.write(folder, step, task, assets, reports, names=at_hand.names, selection=selection)
    written += report.write_pictures(folder, task, assets, compile_model, reports)
    written += [export_to / split for split in splits] if export_to else []
    print("\n".join(["", f"step {step}", *report.protocol_of(task, assets, reports).lines]))
    print(f"\n{report.tables(task, reports)}\n")
    print("\n".join(f"wrote {path}" for path in written))


def _options() -> dict[str, Any]:
    """The flags of _OPTIONS that were given, lists as tuples.

    Raises:
      ValueError: --splits names what is scored too.
    """
    values = {name: flags.FLAGS[name].value for name in _OPTIONS}
    given = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items() if value}
    rule = [name for name in given if name in _RULE and name != "held_out_by"]
    if _SPLITS.value and rule:
        raise ValueError(f"--{rule[0]} is instead of what the run held out, which --splits names parts of: give one of the two.")
    return given


def _text(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else str(value)


def run() -> None:
    """The command ava-eval."""
    _main.run(main, doc=__doc__)


if __name__ == "__main__":
    run()
