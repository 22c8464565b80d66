"""Makes a run of a checkpoint of the published code (`.pt`, a whole pickled module), which is then evaluated and trained like any other.

  ava mesh_fit import --file=20.pt --config=mesh_fit --config.model.condition_on=vertex --config.data.root=DATA --workdir=RUN

PyTorch is not needed, and nothing in the file is executed. --names=NAMES.json says which key is which of our parameters where they are not
the published ones: {"encoder.fc1_prior.weight": "encoder/first/weight", ...}; --list prints the published ones. The published code
conditions on vertices: give --config.model.condition_on=vertex, as above, unless the model was trained otherwise.
"""

import json

from absl import flags

from ava_jax.tasks.command import Context, define_config

_CONFIG = define_config()
_FILE = flags.DEFINE_string("file", None, "The checkpoint.")
_NAMES = flags.DEFINE_string("names", None, "JSON of its keys and our parameters; by default the published keys.")
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run; new, or without one.")
_LIST = flags.DEFINE_bool("list", False, "Print the published keys and our parameters, as --names takes them, and do nothing else.")


def main(context: Context) -> None:
    """Reads the checkpoint and writes the run, as the flags say."""
    from ava_jax.tasks.mesh_fit import reference_weights

    if _LIST.value:
        print(json.dumps(reference_weights.published_names(), indent=1))
        return
    for flag, example in ((_FILE, "--file=20.pt"), (_WORKDIR, "--workdir=runs/published"), (_CONFIG, "--config=mesh_fit")):
        if not flag.value:
            raise ValueError(f"--{flag.name} is missing, as in {example}.")
    from flax import nnx

    from ava_jax.tasks.base import load_task

    names = reference_weights.read_names(_NAMES.value) if _NAMES.value else None
    config = _CONFIG.value
    task = load_task(config)
    assets = task.prepare()
    model = task.model(assets, rngs=nnx.Rngs(config.seed))
    reference_weights.load(_FILE.value, model, names)
    run = context.write_run(config, assets, model, _WORKDIR.value)
    print(f"{run}: {len(reference_weights.parameters(model))} parameters of {_FILE.value}, conditioned on {config.model.condition_on}")
