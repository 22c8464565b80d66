"""Makes a run of published weights, or of any state dict under their names, which is then evaluated and rendered like any other.

  ava ava256 import --file=aeparams_1440000.pt --ids=256_ids.csv --config.data.root=CAPTURES --workdir=RUN
  ava ava256 import --file=aeparams.pt --assets=aeparams.assets.npz --workdir=RUN     # what ava ava256 export wrote

PyTorch is not needed, and nothing in the file is executed. The file holds weights alone. What else the model needs:

  statistics, topology   of the captures in --config.data.root, or of --assets. Those of the training are not published: with other captures
                         outputs shift a little. Their small files do: color_mean.png, registration_vertices_{mean.npy,variance.txt}.
  people                 --ids, the CSV (mcd,sid,mct) of the training: row i is identity i. More people than the file has start afresh.
  cameras                are numbered as published, by their position in each capture's own calibration (config.data.camera_table).

To train on, start a new run from it: ava train --config=ava256 --config.train.init_from=RUN ...; rows go by name.
"""

import pathlib

from absl import flags

from ava_jax.tasks.command import Context, define_config

_CONFIG = define_config()
_FILE = flags.DEFINE_string("file", None, "The state dict: .pt, or .safetensors.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; new, or without one.")
_IDS = flags.DEFINE_string("ids", None, "CSV `mcd,sid,mct` of the people that it was trained with, in their order.")
_ASSETS = flags.DEFINE_string(
    "assets", None, "Statistics, topology and names that `ava ava256 export` wrote, instead of captures' and --ids."
)
_ONLY = flags.DEFINE_list(
    "only", None, "Starts of the keys to take, with commas between, as in decoder; the rest of the model stays fresh."
)


def main(context: Context) -> None:
    """Reads the weights and writes the run, as the flags say."""
    for flag, example in ((_FILE, "--file=aeparams_1440000.pt"), (_WORKDIR, "--workdir=runs/published")):
        if not flag.value:
            raise ValueError(f"--{flag.name} is missing, as in {example}.")
    if _CONFIG.value is None:
        raise ValueError("--config is missing, as in --config=ava256: the sizes that the weights were trained with.")
    from ava_jax.tasks.ava256.apps import imported

    path = pathlib.Path(_FILE.value).expanduser()
    assets_path, ids = (pathlib.Path(flag.value).expanduser() if flag.value else None for flag in (_ASSETS, _IDS))
    found = imported.read(path, _CONFIG.value, assets_path=assets_path, ids=ids, only=tuple(_ONLY.value or ()))
    run = context.write_run(_CONFIG.value, found.assets, found.model, _WORKDIR.value)
    print("\n".join([f"{run}: {found.taken} arrays of {path}", *found.notes]))
