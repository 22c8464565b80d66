"""A task that needs no learning, for tests of a model at work: it answers with a number that the batch holds."""

import json

import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Assets
from ava_jax.tasks.base import PREDICT, Score, Task

ASSETS = Assets({}, {"identities": ["anna", "bert"]})


class Offset(nnx.Module):
    def __init__(self, offset: float = 10.0):
        self.offset = nnx.Param(jnp.array(offset))


class Samples:
    def __init__(self, count: int, missing: tuple[int, ...], keys: tuple[str, ...] = ("value", "identity", "camera", "truth")):
        self.count, self.missing, self.keys, self.read = count, missing, keys, []

    def __len__(self) -> int:
        return self.count

    def __repr__(self) -> str:
        return f"Samples({self.count})"

    def __getitem__(self, i: int):
        self.read.append(i)
        if i in self.missing:
            return None
        sample = {"value": np.float32(i), "identity": np.int32(i % 2), "camera": np.int32(i // 3), "truth": np.float32(i + 2)}
        return {key: sample[key] for key in self.keys}

    @property
    def counts(self):
        return {"listed": self.count, "missing": len(self.missing)}


class Tiny(Task):
    """The least that a model at work asks of a task. Sample 4 has no ssim; without targets there is a split for prediction."""

    scores = (Score("ssim", True, digits=4), Score("psnr", True))  # not in alphabetical order: tables keep the task's own
    group_by = ("identity", "camera")
    cluster_by = ("identity", "frame")
    sample_name = "image"

    def __init__(self, missing: tuple[int, ...] = (5,)):
        super().__init__(ml_collections.ConfigDict({"data": {"root": "here"}, "train": {"steps": 3}}))
        self.missing = missing
        self.traced = 0
        self.sources = {}

    def prepare(self):
        return ASSETS

    def source(self, split, assets):
        sizes = {"late": 7, "far": 2, PREDICT: 7}
        if split not in sizes:
            raise ValueError(f"Tiny: there is no split {split!r}; it has {', '.join(sizes)}.")
        keys = {"keys": ("value", "identity", "camera")} if split == PREDICT else {}
        self.sources[split] = Samples(sizes[split], self.missing, **keys)
        return self.sources[split]

    def sampling(self, split):
        return Sampling(batch_size=4, shuffle=False, epochs=1, drop_remainder=False)

    def eval_splits(self, assets):
        return ("late", "far")

    def model(self, assets, *, rngs):
        return Offset()

    def loss(self, model, batch, *, step, key, terms):
        return {}

    def optimizer(self, steps, steps_per_epoch):
        raise NotImplementedError

    def predict(self, model, batch):
        self.traced += 1
        return {"answer": batch["value"] + model.offset[...]}

    def score(self, prediction, batch, assets):
        value = batch["value"]
        return {"psnr": np.asarray(prediction["answer"]), "ssim": np.where(value == 4, np.nan, value / 10)}

    def describe(self, batch, assets):
        rows = zip(batch["identity"], batch["camera"], strict=True)
        return [{"identity": assets.names["identities"][i], "camera": f"cam{c}", "frame": int(c)} for i, c in rows]


class Writing(Tiny):
    """Writes two files a sample, one of them into a folder."""

    def export(self, prediction, sample, assets, folder):
        name = f"{int(sample['value'])}"
        (folder / "notes").mkdir()
        paths = [folder / f"{name}.json", folder / "notes" / f"{name}.txt"]
        paths[0].write_text(json.dumps({"answer": float(prediction["answer"]), "keys": sorted(sample)}))
        paths[1].write_text(name)
        return paths
