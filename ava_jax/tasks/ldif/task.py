"""The LDIF task: what the rest of the package sees of it. LDIF, SIF++ and SIF are one network with parts on or off."""

import pathlib
from collections.abc import Collection, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.parallel import by_sample
from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.ops.implicit import SURFACE, Elements
from ava_jax.tasks import base
from ava_jax.tasks.ldif import optimizer, shapes
from ava_jax.tasks.ldif.data import element_files, occnet_files, source
from ava_jax.tasks.ldif.model import losses
from ava_jax.tasks.ldif.model.network import ShapeNetwork

UNIFORM, NEAR, BOX, GRID, CENTER = "uniform", "near", "box", "grid", "center"
_AT_ONCE = 1024  # points of a sample that a prediction is evaluated at together
_EPS = 1e-5


class Ldif(base.Task):
    """The batch is described in `data.source`.

    A prediction: `elements`, `ops.implicit.Elements` [B, N, ...], and `values` f32 [B, P], the function at the batch's uniform samples.
    """

    loss_terms = (UNIFORM, NEAR, BOX, GRID, CENTER)
    scores = (base.Score("iou", True, "%", digits=1),)
    group_by = ("class",)
    mean_by = "class"
    sample_name = "shape"
    lists = source.LISTS

    def prepare(self) -> Assets:
        """The classes."""
        return source.prepare(self.config)

    def source(self, split: str, assets: Assets) -> source.ExampleSource:
        """Examples in the order of the split's list."""
        return source.ExampleSource(self.config, split, assets)

    def sampling(self, split: str) -> Sampling:
        """Training shuffles."""
        if split == base.TRAIN:
            return Sampling(self.config.train.batch_size)
        return Sampling(self.config.eval.batch_size, shuffle=False, epochs=1, drop_remainder=False)

    def eval_splits(self, assets: Assets) -> Sequence[str]:
        """All that the data root lists but the training's."""
        return [split for split in source.splits(self.config) if split != base.TRAIN]

    def describe(self, batch: Batch, assets: Assets) -> list[base.Row]:
        """Class, and position in the split's list."""
        names = assets.names["classes"]
        kinds = [names[kind] if kind >= 0 else "(not trained on)" for kind in np.asarray(batch["kind"])]
        return [{"class": kind, "example": int(at)} for kind, at in zip(kinds, np.asarray(batch["example"]), strict=True)]

    def model(self, assets: Assets, *, rngs: nnx.Rngs) -> ShapeNetwork:
        """The network."""
        return ShapeNetwork(self.config.model, image=self.config.data.image, rngs=rngs)

    def loss(
        self, model: ShapeNetwork, batch: Batch, *, step: jax.Array, key: jax.Array, terms: Collection[str]
    ) -> dict[str, base.LossTerm]:
        """The published terms: [B, ...] each. The decoder's running statistics move with each call of it, as published."""
        del step
        looked, first, second = jax.random.split(key, 3)
        elements = model.elements(batch, looked, train=True)
        found: dict[str, base.LossTerm] = {}
        for name, own in ((UNIFORM, first), (NEAR, second)):
            if name in terms:
                samples = _drawn(batch[name], self.config.data.samples, own)
                values = model.values(elements, samples[..., :3], train=True)
                found[name] = losses.of_samples(values, samples[..., 3], inside_weight=self.config.data.inside_weight), None
        if BOX in terms:
            found[BOX] = losses.beyond_box(elements.center), None
        if GRID in terms:
            at_centers = losses.grid_values(batch["grid"], batch["world_to_grid"], elements.center)
            found[GRID] = losses.far_from_surface(at_centers), None
        if CENTER in terms:
            excess = losses.beyond_shape(elements.center, *losses.inside_box(batch["uniform"]))
            inside = losses.outside_at_centers(model.values(elements, elements.center, train=True), excess)
            found[CENTER] = 0.01 * inside + 10 * excess, None
        return found

    def optimizer(self, steps: int, steps_per_epoch: int) -> base.Optimizer:
        """Adam, as published."""
        del steps, steps_per_epoch
        return optimizer.optimizer(self.config.optimizer)

    def predict(self, model: ShapeNetwork, batch: Batch) -> dict[str, Any]:
        """Elements, and the function at the uniform samples, f32 [B, P]."""
        elements = model.elements(batch, jax.random.key(0), train=False)
        points = jnp.asarray(batch["uniform"])[..., :3]
        count = points.shape[1]
        parts = -(-count // _AT_ONCE)
        padded = jnp.pad(points, ((0, 0), (0, parts * _AT_ONCE - count), (0, 0)))
        by_part = jnp.moveaxis(padded.reshape(len(points), parts, _AT_ONCE, 3), 1, 0)
        values = jax.lax.map(lambda part: model.values(elements, part, train=False), by_part)
        return {"elements": elements._asdict(), "values": jnp.moveaxis(values, 0, 1).reshape(len(points), -1)[:, :count]}

    def score(self, prediction: dict[str, Any], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """IoU of the uniform samples, percent, [B]: 100 n / (u + 1e-5)."""
        found = np.asarray(prediction["values"]) < SURFACE
        true = np.asarray(batch["uniform"])[..., 3] < 0
        return {"iou": 100 * (found & true).sum(1) / ((found | true).sum(1) + _EPS)}

    def export(self, prediction: dict[str, Any], sample: Batch, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """The elements as .txt, which `ava ldif extract` makes a mesh of; of LDIF with the decoder that an evaluation writes."""
        path = folder / f"{int(sample['example']):05d}.txt"
        element_files.write(path, Elements(**prediction["elements"]), self.config.model.symmetric)
        return [path]

    def write_artefacts(self, compile_model: base.Compile, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """The decoder as .occnet, of LDIF."""
        if not self.config.model.features:
            return []
        weights = compile_model(lambda model, unused: (model.decoder.weights(), unused))(np.zeros(1, np.float32))[0]
        occnet_files.write(folder / "decoder.occnet", jax.device_get(weights))
        return [folder / "decoder.occnet"]

    @classmethod
    def synthesize(cls, folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
        """Examples of procedural shapes."""
        return shapes.write_default(folder, small=small)

    @classmethod
    def test_config(cls, config: ml_collections.ConfigDict) -> None:
        """A small encoder and few elements."""
        config.model.update({"encoder": "small", "code": 16, "head_width": 16, "elements": 4, "symmetric": 2, "views": 2})
        config.model.update({"features": 4, "local_points": 32, "rotated": True})
        config.data.samples = 16
        config.train.update({"batch_size": 2, "steps": 2, "log_every": 1, "validate_every": 1, "validate_samples": 1})


def _drawn(samples: Array, count: int, key: jax.Array) -> jax.Array:
    """`count` samples of each example, [B, count, 4]: with replacement, and never the last one, as published."""
    samples = jnp.asarray(samples)
    which = by_sample(lambda own: jax.random.randint(own, (count,), 0, samples.shape[1] - 1), key, len(samples))
    return jnp.take_along_axis(samples, which[..., None], axis=1)
