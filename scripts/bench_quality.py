r"""Learning curves: trains a config and scores it on what it holds out as it goes, with all samples decoded beforehand.

  python scripts/bench_quality.py --config=ava256 --config.data.root=CAPTURES --config.data.held_out.last_frames=2 \
      --config.data.held_out.cameras="('400018', '400051')" --score_at=500,1000,2500 --out=CURVE.json [--picture=SHEET.png]

The step, the order of samples and the scores are ava-train's and ava-eval's own; only reading is left out: all samples of a small set of
captures lie on the device. Seconds are those of stepping, without compilation and scoring. CURVE.json holds the loss terms (means of 50
steps), seconds, and at each step of --score_at the mean scores of each split, with what explains them: the mean alpha over the face, and
how far vertices are off (mm).
"""

import concurrent.futures
import json
import pathlib
import subprocess
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import flags

from ava_jax.bin import _main
from ava_jax.core.types import Batch
from ava_jax.data import images, pipeline
from ava_jax.tasks.ava256.evaluation import scores
from ava_jax.tasks.ava256.model.codec import AvatarCodec, cameras_of
from ava_jax.tasks.base import Task, load_task
from ava_jax.tasks.command import define_config
from ava_jax.train import state as states
from ava_jax.train import step as steps
from ava_jax.train.state import Split

_CONFIG = define_config()
_SCORE_AT = flags.DEFINE_list("score_at", ["500", "1000", "2000", "2500"], "Steps to score at; the last of them ends the run.")
_OUT = flags.DEFINE_string("out", None, "JSON file of the curve.", required=True)
_PICTURE = flags.DEFINE_string("picture", None, "PNG of truth, render and error of a few samples of each split.")
_COMMIT = flags.DEFINE_string("commit", "", "What is measured; by default git's.")

flags.register_validator(
    "score_at", lambda steps: steps and all(s.isdecimal() and int(s) for s in steps), "must be steps with commas between, as in 500,1000."
)

_BLOCK = 50  # steps that a mean is taken over, and that run without waiting
_SHARED = ("texture", "vertices")  # by frame
_NEUTRAL = ("neutral_texture", "neutral_vertices")  # by identity
_PRINTED = ("psnr", "face_psnr", "face_alpha", "vertices_mm")
_SHOWN = 3  # samples of each split in the picture


class Numbers:
    """A source that gives a sample's number in the place of the sample."""

    def __init__(self, source, number: dict[int, int]):
        self._source, self._number = source, number
        self.groups, self.counts = source.groups, source.counts

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Batch | None:
        return {"number": np.int32(self._number[index])} if index in self._number else None


class Samples:
    """All samples of a split on the device; frames and neutral faces once each."""

    def __init__(self, source, threads: int):
        with concurrent.futures.ThreadPoolExecutor(threads) as pool:
            found = [(i, s) for i, s in enumerate(pool.map(source.__getitem__, range(len(source)))) if s is not None]
        samples = [s for _, s in found]
        self.source = Numbers(source, {index: n for n, (index, _) in enumerate(found)})
        frames, frame = _distinct([(int(s["identity"]), int(s["frame"])) for s in samples])
        people, person = _distinct([int(s["identity"]) for s in samples])
        alone = [key for key in samples[0] if key not in _SHARED + _NEUTRAL]
        arrays = {key: np.stack([s[key] for s in samples]) for key in alone}
        arrays |= {key: np.stack([samples[i][key] for i in frames]) for key in _SHARED}
        arrays |= {key: np.stack([samples[i][key] for i in people]) for key in _NEUTRAL}
        self.arrays = jax.device_put(arrays | {"of_frame": frame, "of_person": person})
        self.count = len(samples)

    def batch(self, number) -> Batch:
        """The samples of these numbers, [B]."""
        return _take(self.arrays, jnp.asarray(number))


@jax.jit
def _take(arrays: Batch, number: jax.Array) -> Batch:
    at = {key: arrays["of_frame"][number] for key in _SHARED} | {key: arrays["of_person"][number] for key in _NEUTRAL}
    return {key: array[at.get(key, number)] for key, array in arrays.items() if not key.startswith("of_")}


def _distinct(keys: list) -> tuple[list[int], np.ndarray]:
    """Where each distinct key stands first, and the number of its key for each."""
    first: dict[Any, int] = {}
    for i, key in enumerate(keys):
        first.setdefault(key, i)
    number = {key: n for n, key in enumerate(first)}
    return list(first.values()), np.array([number[key] for key in keys], np.int32)


def _explain(model: AvatarCodec, batch: Batch) -> dict[str, jax.Array]:
    identity = model.encode_identity(batch["neutral_texture"], batch["neutral_vertices"])
    mean, _ = model.encode_expression(*(batch[k] for k in ("texture", "vertices", "neutral_texture", "neutral_vertices")))
    decoded = model.decode(identity, mean, batch["camera_position"])
    alpha = model.render(decoded.primitives, cameras_of(batch), *batch["image"].shape[1:3])[..., 3]
    face = scores.face_mask(batch["segmentation"])
    return {
        "face_alpha": jnp.sum(alpha * face, (1, 2)) / jnp.sum(face, (1, 2)),
        "vertices_mm": jnp.mean(jnp.abs(decoded.vertices - batch["vertices"]), (1, 2)),
    }


class Scores:
    """Scores of a state on all held-out samples."""

    def __init__(self, task: Task, graphdef, constants, splits: dict[str, Samples]):
        self.splits, self.constants, self.size = splits, constants, task.config.eval.batch_size

        @jax.jit
        def scores(params, running, constants, batch):
            model = states.merge(Split(graphdef, params.tree(), running, constants))
            return task.predict(model, batch)["scores"] | _explain(model, batch)

        @jax.jit
        def render(params, running, constants, batch):
            return states.merge(Split(graphdef, params.tree(), running, constants)).reconstruct(batch)

        self.scores, self.render = scores, render

    def __call__(self, state) -> dict[str, dict[str, float]]:
        """Split -> score -> mean over the images that have it."""
        means = {}
        for split, samples in self.splits.items():
            rows = []
            for start in range(0, samples.count, self.size):
                number = np.minimum(np.arange(start, start + self.size), samples.count - 1)
                rows.append(self.scores(state.params, state.running, self.constants, samples.batch(number)))
            columns = {name: np.concatenate([np.asarray(row[name]) for row in rows])[: samples.count] for name in rows[0]}
            means[split] = {name: float(np.nanmean(v)) for name, v in columns.items() if np.isfinite(v).any()}
        return means

    def picture(self, state, path: str) -> None:
        """Rows of truth, render and 10 x squared error."""
        rows = []
        for samples in self.splits.values():
            for number in np.linspace(0, samples.count - 1, _SHOWN).round().astype(int):
                batch = samples.batch(np.full(self.size, number))
                render = np.asarray(self.render(state.params, state.running, self.constants, batch)[0]).clip(0, 255)
                truth = np.asarray(batch["image"][0], np.float32)
                error = 10 * np.square((render - truth) / 255).mean(-1, keepdims=True) * 255
                rows.append(np.concatenate([truth, render, np.broadcast_to(error, truth.shape)], 1))
        across = [np.concatenate(rows[i::_SHOWN], 0) for i in range(_SHOWN)]
        sheet = np.concatenate(across, 1).clip(0, 255).astype(np.uint8)
        pathlib.Path(path).write_bytes(images.encode(sheet, "png"))


def main() -> None:
    """Trains, scores and writes."""
    config, score_at = _CONFIG.value, sorted(int(step) for step in _SCORE_AT.value)
    for file in filter(None, (_OUT.value, _PICTURE.value)):  # found out now, not after the training
        if not pathlib.Path(file).absolute().parent.is_dir():
            raise FileNotFoundError(f"{file}: its folder is not there; make it first.")
    task = load_task(config)
    assets = task.prepare()
    threads = config.data.read_threads
    train = Samples(task.source("train", assets), threads)
    splits = {split: Samples(task.source(split, assets), threads) for split in task.eval_splits(assets)}
    order = pipeline.iterator(train.source, task.sampling("train"), seed=config.seed, threads=0)
    mesh = steps.device_mesh(config.train.batch_size)
    parts = states.split(task.model(assets, rngs=states.model_rngs(config.seed)))
    optimizer = task.optimizer(config.train.steps, max(1, train.count // config.train.batch_size))
    state = steps.put(states.initial_state(parts, optimizer, config.seed), steps.replicated(mesh))
    constants = steps.put(parts.constants, steps.replicated(mesh))
    function = steps.step_function(task, optimizer, parts.graphdef, config.loss_weights, mesh, spike_factor=config.train.spike_factor)
    step = steps.make_step(function, mesh)
    scores = Scores(task, parts.graphdef, constants, splits)

    def batches():
        for batch in order:
            yield steps.put(train.batch(batch["number"]), steps.sharded(mesh))

    begin = time.perf_counter()
    like = steps.put(train.batch(np.zeros(config.train.batch_size, np.int32)), steps.sharded(mesh))
    compiled = step.lower(state, constants, like).compile()
    curve: dict[str, Any] = {"commit": _COMMIT.value or _git(), "device": jax.devices()[0].device_kind, "config": _plain(config)}
    curve |= {"compile_seconds": time.perf_counter() - begin, "blocks": [], "scores": []}
    state = _run(lambda state, batch: compiled(state, constants, batch), state, batches(), score_at, scores, curve)
    if _PICTURE.value:
        scores.picture(state, _PICTURE.value)


def _run(step: Callable, state, batches: Iterator[Batch], score_at: list[int], scores: Scores, curve: dict[str, Any]):
    """Steps to the last of `score_at`, filling and writing the curve; returns the last state."""
    seconds, taken = 0.0, 0
    while taken < score_at[-1]:
        until = min(next(s for s in score_at if s > taken), (taken // _BLOCK + 1) * _BLOCK)
        begin, metrics = time.perf_counter(), []
        for _ in range(taken, until):
            state, found = step(state, next(batches))
            metrics.append({**found["losses"], "norm": found["norm"], "applied": found["applied"]})
        jax.block_until_ready(state)
        seconds, taken = seconds + time.perf_counter() - begin, until
        means = {name: float(np.mean([np.asarray(m[name], np.float64) for m in metrics])) for name in metrics[0]}
        curve["blocks"].append({"step": taken, "seconds": seconds} | means)
        if taken in score_at:
            curve["scores"].append({"step": taken, "seconds": seconds, "splits": scores(state)})
            print(_OUT.value, _line(curve), flush=True)
            pathlib.Path(_OUT.value).write_text(json.dumps(curve, indent=1))
    return state


def _line(curve: dict[str, Any]) -> str:
    """The last scores on a line."""
    last = curve["scores"][-1]
    found = {split: ", ".join(f"{name} {mean[name]:.4g}" for name in _PRINTED if name in mean) for split, mean in last["splits"].items()}
    scored = "; ".join(f"{split}: {text}" for split, text in found.items())
    return f"step {last['step']}, {last['seconds']:.1f} s; {scored}; training L1 {curve['blocks'][-1]['image']:.2f}"


def _plain(config: ml_collections.ConfigDict) -> dict[str, Any]:
    return json.loads(config.to_json_best_effort())


def _git() -> str:
    return subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False).stdout.strip()


if __name__ == "__main__":
    _main.run(main, doc=__doc__)
