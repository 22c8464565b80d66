"""From nothing to fitted meshes on two CPU cores: bodies are made, two small networks learn them, held-out motions are scored and drawn.

  ava mesh_fit example --out=runs/mesh_fit            # two and a half minutes
  ava mesh_fit example --out=runs/short --short       # the same path in half a minute; the networks learn little

One network sees each vertex in three frames, the other three neighbours of one frame: what time conditioning gains is the difference.
What is done is not done again. Results: comparison.md, curves.png, comparison.jpg, and of each run eval/<step>/motion.mp4.
"""

import os
import pathlib

from absl import flags

_OUT = flags.DEFINE_string("out", None, "Folder of data, runs and results.")
_SHORT = flags.DEFINE_bool("short", False, "Fewer vertices, frames and steps.")
_JOBS = flags.DEFINE_integer("jobs", os.cpu_count() or 1, "Processes that make bodies.", lower_bound=1)


def main() -> None:
    """Makes data, trains, scores and draws, as the flags say."""
    if not _OUT.value:
        raise ValueError("--out is missing: a folder for data, runs and results, as in --out=runs/mesh_fit.")
    from ava_jax.tasks.mesh_fit.data import synthesize
    from ava_jax.tasks.mesh_fit.evaluation import experiment  # imports jax, without which --help is quick

    out = pathlib.Path(_OUT.value).expanduser()
    sizes, values = ({"frames": 12, "vertices": 1000}, ("train.steps=60",)) if _SHORT.value else ({"frames": 60, "vertices": 2500}, ())
    synthesize.write(out / "data", synthesize.Request(**sizes), jobs=_JOBS.value, exist_ok=True)
    runs = experiment.Experiment(
        data=out / "data",
        out=out,
        unseen=(synthesize.UNSEEN,),
        variants=("tiny",),
        epochs=0,  # the config's own number of steps
        best_epochs=0,
        values=values,
    )
    written = runs.carry_out(experiment.ava)
    print(f"\n{(out / 'comparison.md').read_text()}")
    print("\n".join(f"wrote {path}" for path in written))
