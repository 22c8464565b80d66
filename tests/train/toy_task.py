"""A task of a few numbers for the tests of the loop: fits a linear map under masks."""

import dataclasses

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import optax
from flax import nnx

from ava_jax.core.parallel import batch_max, by_sample
from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Assets
from ava_jax.core.variables import Constant, Running
from ava_jax.tasks.base import Score, Task


def toy_config() -> ml_collections.ConfigDict:
    return ml_collections.ConfigDict(
        {
            "task": "toy_task:Toy",
            "seed": 3,
            "data": {
                "root": "",
                "read_threads": 2,
                "poison": -1,
                "held_out": False,
                "ballast": 0,
                "samples": 24,
                "missing": True,
                "on_device": False,
            },
            "loss_weights": {"fit": 1.0, "size": 0.1},
            "train": {
                "steps": 6,
                "epochs": 0,
                "steps_per_call": 1,
                "split": "train",
                "trainable": (),
                "init_from": "",
                "init_filter": (),
                "batch_size": 4,
                "log_every": 2,
                "picture_every": 3,
                "checkpoint_every": 3,
                "keep_checkpoints": 2,
                "keep_best": 0,
                "best_score": "-distance",
                "validate_every": 0,
                "validate_samples": 5,
                "spike_factor": 0.0,
                "spike_window": 100,
                "patience": 0,
                "spike_steps": 3,
                "max_recoveries": 0,
            },
            "optimizer": {"learning_rate": 0.05},
            "eval": {"batch_size": 4},
        }
    )


@dataclasses.dataclass(frozen=True)
class ToySource:
    """Inputs and what the true map makes of them; the sample `poison` is NaN, every seventh is missing."""

    poison: int = -1
    samples: int = 24
    some_missing: bool = True
    missing: set = dataclasses.field(default_factory=set)

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index):
        if index % 7 == 3 and self.some_missing:
            self.missing.add(index)
            return None
        rng = np.random.default_rng(index)
        x = rng.standard_normal(5, dtype=np.float32)
        y = x @ np.arange(15, dtype=np.float32).reshape(5, 3)
        mask = (rng.random(3) < 0.6).astype(np.float32)
        return {"x": x * (np.nan if index == self.poison else 1), "y": y, "mask": mask, "index": np.int32(index)}

    @property
    def counts(self):
        return {"listed": self.samples, "missing": len(self.missing)}


class ToyModel(nnx.Module):
    def __init__(self, shift, *, rngs: nnx.Rngs):
        self.layers = nnx.List([nnx.Linear(5, 8, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)])
        self.largest = Running(jnp.zeros(()))
        self.shift = Constant(jnp.asarray(shift))

    def __call__(self, x):
        return self.layers[1](nnx.tanh(self.layers[0](x))) + self.shift[...]


class Toy(Task):
    loss_terms = ("fit", "size")
    scores = (Score("distance", higher_is_better=False), Score("undefined", higher_is_better=True))

    def prepare(self):
        ballast = np.random.default_rng(0).random(1 + self.config.data.ballast)  # makes checkpoints take time
        return Assets({"shift": np.float32([1, 2, 3]), "ballast": ballast}, {"colours": ["red", "green"]})

    def source(self, split, assets):
        return ToySource(self.config.data.poison, self.config.data.samples, self.config.data.missing)

    def sampling(self, split):
        if split == "unseen":
            return Sampling(self.config.eval.batch_size, shuffle=False, epochs=1, drop_remainder=False)
        return Sampling(self.config.train.batch_size)

    def eval_splits(self, assets):
        return ("unseen",) if self.config.data.get("held_out") else ()

    def model(self, assets, *, rngs):
        return ToyModel(assets.arrays["shift"], rngs=rngs)

    def loss(self, model, batch, *, step, key, terms):
        y = model(batch["x"])
        model.largest[...] = jnp.maximum(model.largest[...], jnp.max(batch_max(jnp.abs(y))))
        noise = by_sample(lambda own: jax.random.normal(own, y.shape[1:]), key, len(y)) * self.config.data.get("noise", 0.0)
        found = {"fit": ((y + noise - batch["y"]) ** 2, batch["mask"]), "size": (jnp.sum(y**2, -1), None)}
        return {name: found[name] for name in terms}

    def predict(self, model, batch):
        return model(batch["x"])

    def score(self, prediction, batch, assets):
        error = np.linalg.norm(np.asarray(prediction) - batch["y"], axis=-1)
        return {"distance": error, "undefined": np.full_like(error, np.nan)}

    def describe(self, batch, assets):
        return [{"index": int(index)} for index in batch["index"]]

    def optimizer(self, steps, steps_per_epoch):
        return optax.inject_hyperparams(optax.adam)(self.config.optimizer.learning_rate)

    def pictures(self, model, batch):
        side = jnp.clip(jnp.abs(model(batch["x"])), 0, 255).astype(jnp.uint8)
        return {"output": jnp.broadcast_to(side[:, None], (side.shape[0], 6, 3))}
