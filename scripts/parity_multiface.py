"""Every network of multiface, in five archs, against vectors of the published implementation. Used by `parity.py`."""

import json
import pathlib
import runpy
import zlib
from collections.abc import Iterator

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from parity_row import Row

from ava_jax.tasks.multiface.model import avatar, weights
from ava_jax.tasks.multiface.model.layers import ARCHS
from ava_jax.tasks.multiface.model.network import DeepAppearanceModel

_BOUND = 1e-5  # of the array's largest value
# A place in the texture is known to 1e-7 of its side, in float32, and the vectors' textures are noise from texel to texel.
_BOUNDS = {"warp_tex_s": 1e-3}
_CAMERAS, _VERTICES, _CODE = 4, 7306, 256
_VIEW, _CAMERA = (0.2, -0.3, 0.9327379), 2


class Golden:
    """`multiface_modules.npz` and `multiface_state_dict.json` of a folder."""

    def __init__(self, folder: pathlib.Path):
        with np.load(folder / "multiface_modules.npz") as file:
            self.arrays = dict(file)
        self._seed = int(self.arrays.pop("seed"))
        self.layout = json.loads((folder / "multiface_state_dict.json").read_text())

    def normals(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        """Standard normals by name, the same everywhere."""
        return np.random.default_rng([self._seed, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)

    def state_dict(self, arch: str) -> dict[str, np.ndarray]:
        """Weights by the rule of the vectors' README, without the constants."""
        shapes = {key: tuple(shape) for key, shape in self.layout[arch].items()}

        def fan(key: str) -> float:
            shape = shapes[key]
            transposed = "deconv" in key and not (arch == "bilinear")
            return shape[0] * shape[2] * shape[3] / 4 if transposed else float(np.prod(shape[1:]))

        found = {}
        for key in shapes:
            if key.endswith("_anchor") or key == "warp.normal_grid":
                continue
            x = self.normals(key, shapes[key])
            if key == "cc.weight":
                x = 1 + 0.1 * x
            elif key.endswith(".weight"):
                x = x * np.sqrt(2.0 / fan(key))
            elif key.endswith(".g"):
                weight = key.removesuffix("g") + "weight"
                x = (1 + 0.1 * x) * np.sqrt(2.0 / fan(weight) * np.prod(shapes[weight]))
            else:
                x = 0.1 * x
            found[key] = x.astype(np.float32)
        return found


def rows(golden: pathlib.Path, assets: pathlib.Path) -> Iterator[Row]:
    """Compares every array of `multiface_modules.npz`, and that the weights come out again as they went in."""
    del assets
    vectors = Golden(golden)
    config = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "configs" / "multiface.py"))["get_config"]
    for arch in ARCHS:
        model = DeepAppearanceModel(config(arch).model, vertices=_VERTICES, cameras=_CAMERAS, rngs=nnx.Rngs(jax.random.key(0, impl="rbg")))
        given = vectors.state_dict(arch)
        weights.load_state_dict(model, given)
        written = weights.state_dict(model)
        same = set(written) == set(vectors.layout[arch]) and all(np.array_equal(written[key], array) for key, array in given.items())
        yield Row(f"multiface {arch} weights written again", float(not same), 1.0, 0.0, same)
        with jax.default_matmul_precision("highest"):
            found = jax.device_get(_outputs(model, vectors))
        for name, expected in vectors.arrays.items():
            if name.startswith(f"{arch}_"):
                yield _row(name, found[name.removeprefix(f"{arch}_")], expected)


def _outputs(model: DeepAppearanceModel, vectors: Golden) -> dict[str, jax.Array]:
    texture, vertices = vectors.normals("avgtex", (1, 3, 1024, 1024)).transpose(0, 2, 3, 1), vectors.normals("mesh", (1, _VERTICES, 3))
    graph, state = nnx.split(model)

    @jax.jit
    def run(state, texture, vertices):
        model = nnx.merge(graph, state)
        mean, logstd = model.encoder(texture, vertices)
        decoded = model.decode(mean, jnp.array([_VIEW]))
        corrected = model.colour(decoded.texture, jnp.array([_CAMERA]))
        kl = avatar.divergence(avatar.Answer(decoded.vertices, corrected, mean, logstd))[0]
        outputs = {"mean": mean, "logstd": logstd, "mesh": decoded.vertices, "kl": kl, "tex_s": _subset(corrected)}
        if decoded.grid is not None:
            outputs |= {"unwarped_s": _subset(decoded.unwarped), "grid_s": decoded.grid[:, 3::8, 5::8]}
        return outputs

    return run(state, texture, vertices)


def _subset(texture: jax.Array) -> jax.Array:
    return texture[:, 3::8, 5::8].transpose(0, 3, 1, 2)


def _row(name: str, ours: np.ndarray, expected: np.ndarray) -> Row:
    if np.shape(ours) != expected.shape:
        raise ValueError(f"parity: multiface {name} is {expected.shape} in the vectors; this script computes {np.shape(ours)}.")
    error, scale, bound = float(np.abs(ours - expected).max()), float(np.abs(expected).max()), _BOUNDS.get(name, _BOUND)
    return Row(f"multiface {name}", error, scale, bound, error <= bound * scale)
