"""Files of published weights: a model from one, and one from a model."""

import pathlib

from flax import nnx
from ml_collections import ConfigDict

from ava_jax.core.types import Assets
from ava_jax.data import torch_writer
from ava_jax.data.torch_files import TorchFile
from ava_jax.tasks.multiface.data import source
from ava_jax.tasks.multiface.model import weights
from ava_jax.tasks.multiface.model.avatar import Avatar


def read(path: pathlib.Path, config: ConfigDict) -> tuple[Avatar, Assets, int]:
    """A model with a file's weights, the assets of the capture that the config names, and how many arrays there were.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is no such file, or damaged, or does not fit the config or the capture; one line that names it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; --file names published weights, ID_model.pth.")
    file = TorchFile(path)
    held = {name: file.array(name) for name in file.tensors}
    assets = source.prepare(config)
    try:
        found = weights.sizes(held)
        _check(found, config, assets)
        model = Avatar(config.model, assets, rngs=nnx.Rngs(config.seed))
        return model, assets, weights.load_state_dict(model, held)
    except ValueError as e:
        raise ValueError(f"{path}: {e}") from e


def write(path: pathlib.Path, model: Avatar) -> int:
    """Writes a model's weights under the published names, and says how many arrays; an existing file is replaced whole.

    Raises:
      OSError: the file cannot be written.
    """
    arrays = weights.state_dict(model)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch_writer.write_state_dict(path, arrays)
    return len(arrays)


def _check(found: dict[str, int | str], config: ConfigDict, assets: Assets) -> None:
    """Raises ValueError where the file is of another model than the config's, or of another capture."""
    for name in ("arch", "code", "texture_size"):
        if found[name] != config.model[name]:
            how = f"--config=multiface:{found[name]}" if name == "arch" else f"--config.model.{name}={found[name]}"
            raise ValueError(f"its {name} is {found[name]}, the config's {config.model[name]}; give {how}.")
    counts = {"cameras": len(assets.names["cameras"]), "vertices": len(assets.arrays["vertices_mean"])}
    for name, there in counts.items():
        if found[name] != there:
            raise ValueError(f"it is of {found[name]} {name}, the capture has {there}; config.data.root must be the one it was trained on.")
