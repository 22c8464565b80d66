"""Golden vectors of the published networks: weights and inputs by rule."""

import json
import pathlib
import zlib

import numpy as np

from ava_jax.tasks.multiface.model.layers import ARCHS as ARCHS

CAMERAS, VERTICES, CODE = 4, 7306, 256


class Golden:
    """`multiface_modules.npz` and `multiface_state_dict.json` of a folder."""

    def __init__(self, folder: pathlib.Path):
        with np.load(folder / "multiface_modules.npz") as file:
            self.arrays = dict(file)
        self.layout = json.loads((folder / "multiface_state_dict.json").read_text())

    def random(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normals by name, the same everywhere."""
        seed = [int(self.arrays["seed"]), zlib.crc32(name.encode())]
        return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)

    def state_dict(self, arch: str) -> dict[str, np.ndarray]:
        """Weights by the rule of the vectors' README, without the constants."""
        shapes = {key: tuple(shape) for key, shape in self.layout[arch].items()}

        def fan(key: str) -> float:
            shape = shapes[key]
            transposed = "deconv" in key and arch != "bilinear"
            return shape[0] * shape[2] * shape[3] / 4 if transposed else float(np.prod(shape[1:]))

        weights = {}
        for key, shape in shapes.items():
            if key.endswith("_anchor") or key == "warp.normal_grid":
                continue
            x = self.random(key, shape)
            if key == "cc.weight":
                x = 1 + 0.1 * x
            elif key.endswith(".weight"):
                x = x * np.sqrt(2.0 / fan(key))
            elif key.endswith(".g"):
                weight = key.removesuffix("g") + "weight"
                x = (1 + 0.1 * x) * np.sqrt(2.0 / fan(weight) * np.prod(shapes[weight]))
            else:
                x = 0.1 * x
            weights[key] = x.astype(np.float32)
        return weights
