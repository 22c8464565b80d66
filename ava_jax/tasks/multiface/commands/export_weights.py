"""Writes a run's weights under the published names, as PyTorch reads them: torch.load(FILE, weights_only=True).

ava multiface export --workdir=RUN --file=002643814_model.pth
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_step, define_workdir

_WORKDIR = define_workdir()
_STEP = define_step()
_FILE = flags.DEFINE_string("file", None, "File to write; one that is there is replaced whole.")


def main(context: Context) -> None:
    """Writes the weights, as the flags say."""
    if not _FILE.value:
        raise ValueError("--file is missing, as in --file=002643814_model.pth.")
    run = context.restore(_WORKDIR.value, _STEP.value)
    from ava_jax.tasks.multiface.apps import weight_files

    path = pathlib.Path(_FILE.value).expanduser()
    count = weight_files.write(path, run.model)
    print(f"{path}: {count} arrays of step {run.step}")
