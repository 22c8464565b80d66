"""The published model's head as a training batch: what `bench_step.py` times and `trace_step.py` traces, without captures."""

import pathlib
import subprocess
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from PIL import Image

from ava_jax.core.types import Assets, Batch
from ava_jax.data.mesh_files import read_topology
from ava_jax.tasks.ava256.model.codec import AvatarCodec
from ava_jax.tasks.base import load_task
from ava_jax.train import state as states
from ava_jax.train import step as steps

CAMERAS, IDENTITIES = 80, 4


class Ready(NamedTuple):
    """A step, not compiled, and what it takes: `step(state, constants, batch)`."""

    step: Any
    state: states.TrainState
    constants: nnx.State
    batch: Batch
    graphdef: Any
    optimizer: optax.GradientTransformationExtraArgs


def make_step(config: Any, golden: pathlib.Path, regime: str, batch_size: int, height: int, width: int) -> Ready:
    """The training step of a config on the head."""
    task = load_task(config)
    assets, batch = build(config, golden, batch_size, height, width)
    model = task.model(assets, rngs=states.model_rngs(0))
    set_regime(model, regime)
    parts, optimizer = states.split(model), task.optimizer(config.train.steps, 1000)
    mesh = steps.device_mesh(batch_size)
    batch = jax.device_put(batch, steps.sharded(mesh))
    constants, state = jax.device_put((parts.constants, states.initial_state(parts, optimizer, 0)), steps.replicated(mesh))
    step = steps.make_step(steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh), mesh)
    return Ready(step, state, constants, batch, parts.graphdef, optimizer)


def commit() -> str:
    """Of the sources, where git knows it."""
    command = ["git", "-C", str(pathlib.Path(__file__).parent), "rev-parse", "--short", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def build(config: Any, golden: pathlib.Path, batch_size: int, height: int, width: int) -> tuple[Assets, Batch]:
    """Assets and a batch of the published model's head."""
    folder = golden.parent / "assets"
    for file in (golden / "bench_cameras.npz", folder / "021924.bin"):
        if not file.is_file():
            raise FileNotFoundError(f"there is no {file}; --golden names the folder of golden vectors, with the assets folder beside it.")
    mean = np.fromfile(folder / "021924.bin", np.float32).reshape(-1, 3)
    topology = read_topology(folder / "face_topology.obj", len(mean))
    side = config.model.texture_size
    texture = np.asarray(Image.open(folder / "021924_avgtex.png").convert("RGB").resize((side, side)))
    arrays = dict(faces=topology.faces, face_uvs=topology.face_uvs, uvs=topology.uvs, vertices_mean=mean, vertices_std=np.float32(5))
    arrays |= dict(texture_mean=np.full((side, side, 3), 100, np.float32), texture_std=np.float32(25))
    names = dict(cameras=[f"{i}" for i in range(CAMERAS)], identities=[f"{i}" for i in range(IDENTITIES)])
    rng = np.random.default_rng(0)
    with np.load(golden / "bench_cameras.npz") as rig:
        views = np.arange(batch_size) % len(rig["campos"])
        scale = height / float(rig["image_hw"][0])
        fields = {"camera_rotation": rig["camrot"], "camera_position": rig["campos"]}
        fields |= {"focal": rig["focal"] * scale, "principal": rig["princpt"] * scale}
    batch = {name: array[views].astype(np.float32) for name, array in fields.items()}
    for name in ("texture", "neutral_texture"):
        noise = rng.integers(-8, 9, (batch_size, side, side, 3))
        batch[name] = np.clip(texture + noise, 0, 255).astype(np.uint8)
    batch |= {k: mean + 0.1 * rng.standard_normal((batch_size, *mean.shape), np.float32) for k in ("vertices", "neutral_vertices")}
    batch["image"] = rng.integers(0, 256, (batch_size, height, width, 3), np.uint8)
    batch |= dict(camera=np.arange(batch_size, dtype=np.int32) % CAMERAS, identity=np.arange(batch_size, dtype=np.int32) % IDENTITIES)
    return Assets(arrays, names), batch


def set_regime(model: AvatarCodec, regime: str) -> None:
    """Leaves a fresh model as it is, or gives it a trained one's densities; see bench_step.py."""
    if regime == "fresh":
        return
    if regime != "trained":
        raise ValueError(f"The regimes are fresh and trained; got {regime!r}.")
    decoder = model.geometry_decoder
    decoder.bias[...] = 10.0 * (4.0 + jax.random.normal(jax.random.key(4), decoder.bias.shape))
    for layers in (decoder.motion, decoder.vertices):
        layers[-1].magnitude[...] = jnp.zeros_like(layers[-1].magnitude[...])
