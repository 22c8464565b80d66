"""A whole comparison: scores read, compared, printed and written, then pictures of what differs most."""

import pathlib
from collections.abc import Sequence
from typing import Any

from ava_jax.run.compare import comparison, pictures, runs, writing
from ava_jax.run.compare.comparison import Comparison
from ava_jax.run.compare.pictures import Restored
from ava_jax.run.compare.runs import Run
from ava_jax.tasks.command import Context


def carry_out(
    context: Context, given: Sequence[str], out: pathlib.Path | None = None, *, shown: int = 3, data: str | None = None
) -> list[pathlib.Path]:
    """Holds every run against the first one, prints and writes what is found, and names the files.

    Args:
      context: restores the models that draw.
      given: of each run what `runs.read` takes, two or more.
      out: where results go, made where it is not there; None: `compare` in the second run's folder.
      shown: samples drawn of each split on which either run is better; 0: none, and no model is restored.
      data: root of the data that the scores are of, where it is not the runs' own.

    Raises:
      ValueError: there are not two, or they cannot be compared; the data at hand are not those that were scored.
      OSError: scores or a checkpoint are missing, or a file cannot be written.
    """
    if len(given) < 2:
        raise ValueError("name two runs or more, as in ava compare RUN_A RUN_B.")
    read = [runs.read(_label(i), one) for i, one in enumerate(given)]
    for i, run in enumerate(read):
        if run.scored.folder.resolve() in [other.scored.folder.resolve() for other in read[:i]]:
            raise ValueError(f"{run.given}: its scores are compared with themselves; name another run, or another step as RUN:STEP.")
    found = [comparison.compare(read[0], other) for other in read[1:]]
    print("\n\n".join(map(writing.text, found)), flush=True)
    folder = out or read[1].workdir / "compare"
    folder.mkdir(parents=True, exist_ok=True)
    written = writing.write(found, folder)
    print("\n" + "\n".join(f"wrote {path}" for path in written), flush=True)
    if shown:
        drawn = _draw(context, found, folder, shown, data)
        print("\n".join(f"wrote {path}" for path in drawn) or "no pictures: no sample differs, or the task draws none")
        written += drawn
    return written


def _label(number: int) -> str:
    """A, B, ... Z, R27, R28, ..."""
    return chr(ord("A") + number) if number < 26 else f"R{number + 1}"


def _draw(context: Context, comparisons: Sequence[Comparison], folder: pathlib.Path, count: int, data: str | None) -> list[pathlib.Path]:
    """Pictures of all comparisons, which have the first run in common."""
    written = []
    first = _restore(context, comparisons[0].first, data)
    for one in comparisons:
        samples = pictures.chosen(one, count)
        second = _restore(context, one.second, data)
        drawn = [pictures.draw(restored, run, samples, at) for at, (restored, run) in enumerate(((first, one.first), (second, one.second)))]
        written += pictures.write(one, samples, drawn, folder)
    return written


def _restore(context: Context, run: Run, data: str | None) -> Restored:
    """The run's model, on data thinned as they were for its scores."""
    most = max(len(rows) + run.scored.unreadable.get(split, 0) for split, rows in run.scored.rows.items())
    thinned = {"eval.max_samples": most} if "eval.max_samples" in run.config else {}
    thinned |= selection(str(run.scored.header.get("selection", "")))
    try:
        _, assets, task, model, _ = context.restore(run.workdir, run.scored.step, overrides={"data.root": data, **thinned})
    except FileNotFoundError as e:
        raise FileNotFoundError(f"{e} Pictures need the checkpoint that was scored; --pictures=0 leaves them out.") from e
    return Restored(task, assets, context.compile(model))


def selection(told: str) -> dict[str, Any]:
    """Config values that select what `ava eval` scored by its flags, of these flags as its summary repeats them.

    Args:
      told: as in "--segments=EXP_free_face,EXP_jaw_open --every=10"; "": what the run held out.
    """
    kinds = {"all": lambda text: text == "True", "every": int, "held_out_by": str}
    found = {}
    for flag in filter(str.strip, f" {told}".split(" --")):
        name, _, text = flag.partition("=")
        found[f"eval.{name}"] = kinds.get(name, lambda text: tuple(text.split(",")))(text.strip())
    return found
