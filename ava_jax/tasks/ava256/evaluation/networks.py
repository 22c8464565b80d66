"""LPIPS of held-out images, where the weights of its networks are given: reading them, what is scored, how it is called.

The linear weights are those of the package `lpips`, which is looked for but not imported: it would bring PyTorch. The networks' own weights
are the user's files, as torchvision has them.
"""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
from ml_collections import ConfigDict

from ava_jax.core.types import Array, Batch
from ava_jax.data.torch_files import TorchFile
from ava_jax.metrics import image as metrics
from ava_jax.metrics.lpips import LEAST_SIDE, NETWORKS, Weights, lpips, shapes
from ava_jax.tasks.ava256.evaluation.scores import face_mask, known
from ava_jax.tasks.base import Score

OPTIONS = tuple(f"lpips_{network}" for network in NETWORKS)  # keys of `config.eval` and flags of `ava eval`: the networks' files
_MOST_BYTES = 1 << 30  # the published file of VGG16 takes 553 MB
_PUBLISHED = {"alex": "alexnet-owt-7be5be79.pth", "vgg": "vgg16-397923af.pth"}
_WHERE = {
    "": ("image", "whole image, where camera and person were seen in training"),
    "face_": ("face", "whole image, in which the render is replaced by the photograph outside of the face, as where both are masked"),
    "cc_": ("image, colours corrected", "whole image, after a gain and an offset per channel, fitted to the photograph"),
}


@dataclasses.dataclass(frozen=True)
class Lpips:
    """The networks that LPIPS is computed with.

    Attributes:
      files: network -> the user's file; without any, LPIPS is left out.
    """

    files: Mapping[str, str]

    @staticmethod
    def of(config: ConfigDict) -> "Lpips":
        """Those whose files `config.eval` names."""
        return Lpips({network: path for network in NETWORKS if (path := config.eval.get(f"lpips_{network}", ""))})

    @property
    def scores(self) -> tuple[Score, ...]:
        """LPIPS of each network over the whole image, the face, and in the photographs' colours."""
        return tuple(
            Score(f"{prefix}lpips_{network}", False, digits=4, main=False, row=row, column=f"lpips_{network}", what=_what(network, where))
            for prefix, (row, where) in _WHERE.items()
            for network in self.files
        )

    def line(self) -> str:
        """What of it is computed, in a line."""
        missing = [f"--lpips_{network}" for network in NETWORKS if network not in self.files]
        left = f"LPIPS left out without {' and '.join(missing)}" if missing else ""
        have = f"LPIPS 0.1, {' and '.join(self.files)}: input -1..1, whole image" if self.files else ""
        return "; ".join(filter(None, (have, left)))

    def load(self) -> dict[str, Weights]:
        """Reads the weights: network -> by name, as `metrics.lpips.shapes` says.

        Raises:
          ValueError: the package `lpips` is not installed; a file is none of weights, or of another network.
          OSError: there is no such file.
        """
        return {network: _load(network, pathlib.Path(path).expanduser()) for network, path in self.files.items()}


def scores(weights: Mapping[str, Weights], image: Array, batch: Batch) -> dict[str, jax.Array]:
    """LPIPS of pictures [B, H, W, 3] by the names of `Lpips.scores`, [B] each; NaN as the other scores of the same region.

    Raises:
      ValueError: the pictures are too small for a network.
    """
    truth, face = batch["image"], face_mask(batch["segmentation"])
    seen = known(batch)
    pictures = {
        "": (image, seen),
        "face_": (jnp.where(face[..., None], image, truth), face.any((1, 2))),
        "cc_": (metrics.colour_corrected(image, truth), seen),
    }
    found = {}
    for network, values in weights.items():
        distances = lpips(values, network, jnp.concatenate([picture for picture, _ in pictures.values()]), truth)
        for (prefix, (_, defined)), distance in zip(pictures.items(), jnp.split(distances, len(pictures)), strict=True):
            found[f"{prefix}lpips_{network}"] = jnp.where(defined, distance, jnp.nan)
    return found


def require_size(files: Mapping[str, str], size: Sequence[int]) -> None:
    """Whether images are large enough for the networks.

    Raises:
      ValueError: they are not.
    """
    for network in files:
        if min(size) < LEAST_SIDE[network]:
            raise ValueError(
                f"--lpips_{network}: images must be at least {LEAST_SIDE[network]} pixels on a side; these are {size[0]} x {size[1]}."
            )


def _what(network: str, where: str) -> str:
    return f"LPIPS 0.1 with {network}, input -1..1; {where}"


def _load(network: str, path: pathlib.Path) -> Weights:
    features, linear = _arrays(path, "features."), _arrays(_linear(network), "lin")
    wanted = shapes(network)
    for name, shape in wanted.items():
        found, file = (features, path) if name.startswith("features.") else (linear, _linear(network))
        if name not in found or found[name].shape != shape:
            got = f"has it as {list(found[name].shape)}" if name in found else "has no such array"
            raise ValueError(f"{file}: must have {name} {list(shape)}, as torchvision's {_PUBLISHED[network]}; it {got}.")
    return {name: jnp.asarray((features | linear)[name], jnp.float32) for name in wanted}


def _arrays(path: pathlib.Path, start: str) -> dict[str, np.ndarray]:
    """The arrays of a file whose names begin with `start`."""
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file; LPIPS needs torchvision's weights, .pth or .safetensors.")
    if path.suffix == ".safetensors":
        try:
            with safetensors.safe_open(path, "numpy") as file:
                return {name: file.get_tensor(name) for name in file.keys() if name.startswith(start)}  # noqa: SIM118 - no mapping
        except safetensors.SafetensorError as e:
            raise ValueError(f"{path}: no safetensors file, or a damaged one ({' '.join(str(e).split())[:100]}).") from e
    file = TorchFile(path, most_bytes=_MOST_BYTES)
    return {name: file.array(name) for name in file.tensors if name.startswith(start)}


def _linear(network: str) -> pathlib.Path:
    """The package's file of linear weights."""
    found = importlib.util.find_spec("lpips")
    if found is None or not found.origin:
        raise ValueError("LPIPS needs the linear weights of the package lpips, which is not installed: pip install --no-deps lpips.")
    return pathlib.Path(found.origin).parent / "weights" / "v0.1" / f"{network}.pth"
