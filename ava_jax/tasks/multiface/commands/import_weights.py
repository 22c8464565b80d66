"""Makes a run of published weights (`ID_model.pth`, `mini.pth`), which is then evaluated, drawn and trained like any other.

  ava multiface import --file=002643814_model.pth --config=multiface:002643814 --config.data.root=CAPTURE --workdir=RUN
  ava multiface import --file=warp.pth --config=multiface:warp --config.data.root=CAPTURE --workdir=RUN

PyTorch is not needed, and nothing in the file is executed. The file holds weights alone: statistics, topology and cameras are the capture's
(its metadata and one segment's meshes are enough), which must be the one that they were trained on. `ava multiface export` writes the same
file again, to the bit. To train on, start a new run from it: ava train --config=multiface --config.train.init_from=RUN ...
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_config

_CONFIG = define_config()
_FILE = flags.DEFINE_string("file", None, "The state dict, as torch.save writes it.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; new, or without one.")


def main(context: Context) -> None:
    """Reads the weights and writes the run, as the flags say."""
    for flag, example in ((_FILE, "--file=002643814_model.pth"), (_WORKDIR, "--workdir=runs/published"), (_CONFIG, "--config=multiface")):
        if not flag.value:
            raise ValueError(f"--{flag.name} is missing, as in {example}.")
    from ava_jax.tasks.multiface.apps import weight_files

    path = pathlib.Path(_FILE.value).expanduser()
    model, assets, taken = weight_files.read(path, _CONFIG.value)
    run = context.write_run(_CONFIG.value, assets, model, _WORKDIR.value)
    print(f"{run}: {taken} arrays of {path}")
