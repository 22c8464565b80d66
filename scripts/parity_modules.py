"""Every stage of the ava256 networks against vectors of the published implementation. Used by `parity.py`."""

import json
import pathlib
import runpy
import tempfile
import zlib

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from parity_row import Row
from PIL import Image

from ava_jax.captures import camera_table
from ava_jax.core.types import Assets, Primitives
from ava_jax.data.mesh_files import read_topology
from ava_jax.data.torch_writer import write_state_dict
from ava_jax.tasks.ava256.apps import imported
from ava_jax.tasks.ava256.data import assets_file
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.ava256.model.losses import kl_with_absolute_logstd

_BOUND = 1e-4  # of the array's largest value
_BOUNDS = {"kl": 1e-5, "primrot_s": 1e-3}
_TEXTURE_MEAN, _TEXTURE_STD, _VERTICES_STD = 100.0, 25.0, 5.0
_BACKGROUND_SIZE, _CAMERA, _IDENTITY = (32, 21), 3, 2
_CAMERA_POSITION = (120.0, -80.0, 1000.0)


class _Normals:
    """Standard normals by name, the same everywhere."""

    def __init__(self, seed: int):
        self._seed = seed

    def __call__(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.random.default_rng([self._seed, zlib.crc32(name.encode())]).standard_normal(shape, dtype=np.float32)


def filled_weights(layout: dict[str, dict], normals: _Normals) -> dict[str, np.ndarray]:
    """Weights by the rule of the vectors' README; fixed buffers are left out."""
    shapes = {key: tuple(entry["shape"]) for key, entry in layout.items()}

    def fan(key: str) -> float:
        shape = shapes[key]
        transposed = key.startswith("decoder_assembler") and ".layers.t" in key
        return shape[0] * shape[2] * shape[3] / 4 if transposed else float(np.prod(shape[1:]))

    weights = {}
    for key, entry in layout.items():
        if entry["buffer"] and key != "decoder_assembler.adaptwarps":
            continue
        x = normals(key, shapes[key])
        if key.endswith(".weight"):
            x = x * np.sqrt(2.0 / fan(key))
        elif key.endswith(".g"):
            weight = key.removesuffix("g") + "weight"
            x = (1 + 0.1 * x) * np.sqrt(2.0 / fan(weight) * np.prod(shapes[weight]))
        elif key == "colorcal.wcam":
            x = 1 + 0.1 * x
        elif key.endswith("adaptwarps"):
            x = 60 + 10 * np.abs(x)
        elif key not in ("id_encoder.bias", "colorcal.bcam", "colorcal.bident"):
            x = 0.1 * x
        weights[key] = x.astype(np.float32)
    return weights


def _mean_vertices(assets: pathlib.Path) -> np.ndarray:
    return np.fromfile(assets / "021924.bin", np.float32).reshape(-1, 3)


def _model(golden: pathlib.Path, assets: pathlib.Path, normals: _Normals) -> AvatarCodec:
    """The published configuration, imported from a file as PyTorch writes it, with the vectors' own weights and UV maps."""
    layout = json.loads((golden / "ava256_state_dict.json").read_text())
    mean = _mean_vertices(assets)
    topology = read_topology(assets / "face_topology.obj", len(mean))
    side = layout["id_encoder.uv_tidx"]["shape"][-1]
    arrays = dict(faces=topology.faces, face_uvs=topology.face_uvs, uvs=topology.uvs, vertices_mean=mean)
    arrays |= dict(vertices_std=np.float32(_VERTICES_STD), texture_std=np.float32(_TEXTURE_STD))
    arrays |= dict(texture_mean=np.full((side, side, 3), _TEXTURE_MEAN, np.float32))
    cameras, identities = (layout[f"colorcal.{key}"]["shape"][0] for key in ("wcam", "wident"))
    names = dict(cameras=camera_table.positions(cameras), identities=[f"{i}" for i in range(identities)], segments=[])
    config = runpy.run_path(str(pathlib.Path(__file__).resolve().parents[1] / "configs" / "ava256.py"))["get_config"]()
    config.model.precision = "float32"
    weights = filled_weights(layout, normals)
    with np.load(golden / "ava256_uv.npz") as uv:
        for owner in ("id_encoder", "expr_encoder"):
            weights |= {f"{owner}.uv_tidx": uv["uv_idx"].astype(np.int64), f"{owner}.uv_bary": uv["uv_bary"].astype(np.float32)}
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        write_state_dict(path / "aeparams.pt", {f"module.{key}": array for key, array in weights.items()})
        assets_file.write(path / "aeparams.assets.npz", Assets(arrays, names))
        return imported.read(path / "aeparams.pt", config, assets_path=path / "aeparams.assets.npz").model


def _inputs(assets: pathlib.Path, normals: _Normals) -> dict[str, np.ndarray]:
    """Normalised inputs, channels last."""
    picture = np.asarray(Image.open(assets / "021924_avgtex.png").convert("RGB"), np.float32)
    neutral_texture = ((picture - _TEXTURE_MEAN) / _TEXTURE_STD)[None]
    side = picture.shape[0]
    mean = _mean_vertices(assets)
    neutral_vertices = np.float32(0.3) * normals("neut_verts", (1, len(mean), 3))
    vertices = neutral_vertices + np.float32(0.3) * normals("verts", (1, len(mean), 3))
    return dict(
        neutral_texture=neutral_texture,
        texture=neutral_texture + 0.1 * np.moveaxis(normals("avgtex", (1, 3, side, side)), 1, -1),
        neutral_vertices=neutral_vertices,
        vertices=vertices,
        vertices_mm=vertices * np.float32(_VERTICES_STD) + mean,
        rgb=100 + 20 * np.moveaxis(normals("rgb", (1, 3, *_BACKGROUND_SIZE)), 1, -1),
    )


def _channels_first(x: jax.Array) -> jax.Array:
    return jnp.moveaxis(x, -1, 1)


def _map_subset(x: jax.Array) -> jax.Array:
    """The part of a map that the vectors keep."""
    x = _channels_first(x)
    stride = max(1, x.shape[-1] // 32)
    return x[:, :: max(1, x.shape[1] // 16), stride // 2 :: stride, stride // 2 :: stride]


def _placed(prefix: str, primitives: Primitives) -> dict[str, jax.Array]:
    return {
        f"{prefix}primpos_s": primitives.position[:, ::7],
        f"{prefix}primrot_s": primitives.rotation[:, ::7],
        f"{prefix}primscale_s": primitives.scale[:, ::7],
    }


def _encoded(model: AvatarCodec, inputs: dict[str, jax.Array]) -> tuple[dict[str, jax.Array], tuple]:
    identity = model.identity_encoder(inputs["neutral_texture"], model.geometry_image(inputs["neutral_vertices"]), finest=True)
    features = model.expression_encoder(
        inputs["texture"] - inputs["neutral_texture"], model.geometry_image(inputs["vertices"] - inputs["neutral_vertices"])
    )
    mean, logstd = model.bottleneck(features)
    outputs = dict(z_geo=_channels_first(identity.z_geo), z_tex=_channels_first(identity.z_tex))
    outputs |= {f"b_geo_{i}": _map_subset(x) for i, x in enumerate(identity.maps_geo)}
    outputs |= {f"b_tex_{i}": _map_subset(x) for i, x in enumerate(identity.maps_tex)}
    outputs |= dict(expr_features=_channels_first(features), expr_mu=_channels_first(mean), expr_logstd=_channels_first(logstd))
    return outputs | dict(kl=_channels_first(kl_with_absolute_logstd(mean, logstd))), (identity, mean)


def _decoded(model: AvatarCodec, inputs: dict[str, jax.Array], identity, z) -> dict[str, jax.Array]:
    camera = jnp.array([_CAMERA_POSITION])
    geometry = model.geometry_decoder(z, identity)
    decoded = model.decode(identity, z, camera)
    outputs = dict(
        opacity_s=decoded.primitives.rgba[:, 5::97, ..., 3:],
        geo_norm=geometry.vertices,
        pos_resid_s=geometry.position[:, ::7],
        rot_resid_s=geometry.rotation[:, ::7],
        scale_resid_s=geometry.scale[:, ::7],
        verts_mm=decoded.vertices,
        template_s=decoded.primitives.rgba[:, 5::97],
    )
    warm = model.decode(identity, z, camera, guide_vertices=inputs["vertices_mm"])
    return outputs | _placed("", decoded.primitives) | _placed("warm_", warm.primitives)


def _rig(model: AvatarCodec, inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
    camera, identity = jnp.array([_CAMERA]), jnp.array([_IDENTITY])
    return dict(
        background=_channels_first(model.background(camera, identity, *_BACKGROUND_SIZE)),
        colorcal=_channels_first(model.calibration(inputs["rgb"], camera, identity)),
    )


def rows(golden: pathlib.Path, assets: pathlib.Path) -> list[Row]:
    """Compares every array of `ava256_modules.npz`."""
    with np.load(golden / "ava256_modules.npz") as file:
        expected = {key: file[key] for key in file.files}
    normals = _Normals(int(expected.pop("seed")))
    graph, state = nnx.split(_model(golden, assets, normals))

    @jax.jit
    def run(state, inputs):
        model = nnx.merge(graph, state)
        outputs, (identity, z) = _encoded(model, inputs)
        return outputs | _decoded(model, inputs, identity, z) | _rig(model, inputs)

    with jax.default_matmul_precision("highest"):
        outputs = jax.device_get(run(state, _inputs(assets, normals)))
    return [_row(name, outputs.get(name), array) for name, array in expected.items()]


def _row(name: str, ours: np.ndarray | None, expected: np.ndarray) -> Row:
    scale, bound = float(np.abs(expected).max()), _BOUNDS.get(name, _BOUND)
    if ours is None or ours.shape != expected.shape:
        computed = "none" if ours is None else ours.shape
        raise ValueError(f"parity: {name} is {expected.shape} in the vectors; this script computes {computed}.")
    error = float(np.abs(ours - expected).max())
    return Row(name, error, scale, bound, error <= bound * scale)
