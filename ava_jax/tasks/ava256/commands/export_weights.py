"""Writes a run's weights as a state dict under the published names, for PyTorch or as safetensors.

  ava ava256 export --workdir=RUN --out=aeparams.pt             # read by torch.load
  ava ava256 export --workdir=RUN --out=model.safetensors

Beside it lies what the published file lacks, as in aeparams.assets.npz: statistics, topology, and which row is which person's and camera's.
`ava ava256 import` takes both back, exactly. Models with parts that the published one lacks (the config's variant tiny) are refused.
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_step, define_workdir

_WORKDIR = define_workdir()
_STEP = define_step()
_OUT = flags.DEFINE_string("out", None, "The file to write; an existing one is replaced.")
_FORMAT = flags.DEFINE_enum("format", None, ["torch", "safetensors"], "Its format; by default as its name ends, .safetensors or another.")


def main(context: Context) -> None:
    """Writes the weights and the assets, as the flags say."""
    if not _OUT.value:
        raise ValueError("--out must name the file to write, as in --out=aeparams.pt.")
    run = context.restore(_WORKDIR.value, _STEP.value)
    from ava_jax.tasks.ava256.data import assets_file, weight_files  # after the run is found: these import jax
    from ava_jax.tasks.ava256.model import weights

    path = pathlib.Path(_OUT.value).expanduser()
    held = weights.state_dict(run.model)
    path.parent.mkdir(parents=True, exist_ok=True)
    weight_files.write(path, held, _FORMAT.value or weight_files.format_of(path))
    beside = path.with_suffix(".assets.npz")
    assets_file.write(beside, run.assets)
    count = sum(array.size for array in held.values())
    print(f"{path}: {len(held)} arrays, {count:,} values, of step {run.step}\n{beside}: their statistics, topology and names")
