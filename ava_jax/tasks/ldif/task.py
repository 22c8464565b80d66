"""The LDIF task: what the rest of the package sees of it. LDIF, SIF++ and SIF are one network with parts on or off."""

import functools
import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.parallel import by_sample
from ava_jax.core.sampling import Sampling
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.ops.implicit import SURFACE, DecoderWeights, Elements
from ava_jax.tasks import base
from ava_jax.tasks.ldif import optimizer, shapes
from ava_jax.tasks.ldif.apps import mesh_files
from ava_jax.tasks.ldif.data import compact, element_files, mean_shape, occnet_files, source
from ava_jax.tasks.ldif.evaluation import scoring, tables
from ava_jax.tasks.ldif.model import losses
from ava_jax.tasks.ldif.model.network import ShapeNetwork

UNIFORM, NEAR, BOX, GRID, CENTER = "uniform", "near", "box", "grid", "center"
_AT_ONCE = 1024  # points of a sample that a prediction is evaluated at together


class Ldif(base.Task):
    """The batch is described in `data.source`.

    A prediction: `elements`, `ops.implicit.Elements` [B, N, ...], and `values` f32 [B, P], the function at the batch's uniform samples.
    """

    loss_terms = (UNIFORM, NEAR, BOX, GRID, CENTER)
    group_by = ("class",)
    mean_by = "class"
    sample_name = "shape"
    lists = source.LISTS
    eval_options = ("classes", "resolution", "save_meshes")
    _surfaces: scoring.SurfaceScores | None = None  # of an evaluation; validations while training go without surfaces

    @property
    def scores(self) -> tuple[base.Score, ...]:
        """IoU; in an evaluation those of surfaces too."""
        return scoring.EVERY if self._surfaces else (scoring.IOU,)

    @functools.cached_property
    def _examples(self) -> list[source.Listed]:
        return source.every(self.config)

    def prepare(self) -> Assets:
        """The classes and, where elements begin on the training split's shapes, what the network says of them at first."""
        assets = source.prepare(self.config)
        begin = self.config.model.get("begin", mean_shape.ANYWHERE)  # configs of older versions do not have it
        if begin not in mean_shape.BEGIN:
            raise ValueError(f"config.model.begin must be one of {', '.join(mean_shape.BEGIN)}; got {begin!r}.")
        if begin == mean_shape.SHAPES:
            assets.arrays["initial_elements"] = mean_shape.initial_elements(self.source(base.TRAIN, assets), self.config.model)
        return assets

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
        """Class, name, and position in the split's list."""
        names = assets.names["classes"]
        kinds = [names[kind] if kind >= 0 else "(not trained on)" for kind in np.asarray(batch["kind"])]
        called = [self._examples[number].name for number in np.asarray(batch["number"])]
        return [
            {"class": kind, "name": name, "example": int(at)}
            for kind, name, at in zip(kinds, called, np.asarray(batch["example"]), strict=True)
        ]

    def model(self, assets: Assets, *, rngs: nnx.Rngs) -> ShapeNetwork:
        """The network."""
        return ShapeNetwork(self.config.model, image=self.config.data.image, initial=assets.arrays.get("initial_elements"), rngs=rngs)

    def loss(
        self, model: ShapeNetwork, batch: Batch, *, step: jax.Array, key: jax.Array, terms: Collection[str]
    ) -> dict[str, base.LossTerm]:
        """The published terms: [B, ...] each. The decoder's running statistics move with each call of it, as published."""
        del step
        batch = compact.unpacked(batch)
        looked, first, second = jax.random.split(key, 3)
        elements = model.elements(batch, looked, train=True)
        found: dict[str, base.LossTerm] = {}
        for name, own in ((UNIFORM, first), (NEAR, second)):
            if name in terms:
                samples = compact.samples(_drawn(batch[name], self.config.data.samples, own), batch.get("reach"))
                values = model.values(elements, samples[..., :3], train=True)
                found[name] = losses.of_samples(values, samples[..., 3], inside_weight=self.config.data.inside_weight), None
        if BOX in terms:
            found[BOX] = losses.beyond_box(elements.center), None
        if GRID in terms:
            at_centers = losses.grid_values(batch["grid"], batch["world_to_grid"], elements.center)
            found[GRID] = losses.far_from_surface(at_centers), None
        if CENTER in terms:
            box = jnp.moveaxis(batch["inside_box"], 1, 0) if "inside_box" in batch else losses.inside_box(batch["uniform"])
            excess = losses.beyond_shape(elements.center, *box)
            inside = losses.outside_at_centers(model.values(elements, elements.center, train=True), excess)
            found[CENTER] = 0.01 * inside + 10 * excess, None
        return found

    def optimizer(self, steps: int, steps_per_epoch: int) -> base.Optimizer:
        """Adam, as published."""
        del steps, steps_per_epoch
        return optimizer.optimizer(self.config.optimizer)

    def predict(self, model: ShapeNetwork, batch: Batch) -> dict[str, Any]:
        """Elements, and the function at the uniform samples, f32 [B, P]."""
        batch = compact.unpacked(batch)
        elements = model.elements(batch, jax.random.key(0), train=False)
        points = compact.samples(jnp.asarray(batch["uniform"]), batch.get("reach"))[..., :3]
        count = points.shape[1]
        parts = -(-count // _AT_ONCE)
        padded = jnp.pad(points, ((0, 0), (0, parts * _AT_ONCE - count), (0, 0)))
        by_part = jnp.moveaxis(padded.reshape(len(points), parts, _AT_ONCE, 3), 1, 0)
        values = jax.lax.map(lambda part: model.values(elements, part, train=False), by_part)
        return {"elements": elements._asdict(), "values": jnp.moveaxis(values, 0, 1).reshape(len(points), -1)[:, :count]}

    def predictor(self, compile_model: base.Compile) -> Callable[[Batch], dict[str, Any]]:
        """`predict`, compiled; from now on `score` finds surfaces too.

        Raises:
          ValueError: a package that this needs is not installed.
        """
        self._surfaces = scoring.SurfaceScores(self.config, self._decoder(compile_model))
        return compile_model(self.predict)

    def score(self, prediction: dict[str, Any], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """IoU of the uniform samples, percent, [B]: 100 n / (u + 1e-5). In an evaluation, the scores of surfaces, too."""
        found = np.asarray(prediction["values"]) < SURFACE
        true = compact.samples(np.asarray(batch["uniform"]), batch.get("reach"))[..., 3] < 0
        iou = {"iou": scoring.iou(found, true)}
        if self._surfaces is None:
            return iou
        elements = Elements(**{name: np.asarray(part) for name, part in prediction["elements"].items()})
        return iou | self._surfaces.score(elements, np.asarray(batch["number"]))

    def protocol(self, rows: Mapping[str, Sequence[base.Row]], assets: Assets) -> base.Protocol:
        """Grid, samples and unit of the scores of surfaces."""
        lines = self._surfaces.lines() if self._surfaces else ()
        return base.Protocol(lines, {"resolution": self._surfaces.resolution, "lines": list(lines)} if lines else {})

    def export(self, prediction: dict[str, Any], sample: Batch, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """The elements as .txt, which `ava ldif extract` makes a mesh of; of LDIF with the decoder that an evaluation writes.

        With `eval.save_meshes`, the mesh that was scored as well, .ply, in the place and unit of the example's own mesh.
        """
        path = folder / f"{int(sample['example']):05d}.txt"
        element_files.write(path, Elements(**prediction["elements"]), self.config.model.symmetric)
        found = self._surfaces.surface(int(sample["number"])) if self._surfaces and self.config.eval.get("save_meshes") else None
        if found is None:
            return [path]
        mesh_files.write(path.with_suffix(".ply"), found)
        return [path, path.with_suffix(".ply")]

    def summarize(self, rows: Mapping[str, Sequence[base.Row]], assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """Tables in the columns of the published evaluation."""
        return tables.write(rows, folder)

    def write_artefacts(self, compile_model: base.Compile, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """The decoder as .occnet, of LDIF."""
        weights = self._decoder(compile_model)
        if weights is None:
            return []
        occnet_files.write(folder / "decoder.occnet", weights)
        return [folder / "decoder.occnet"]

    def _decoder(self, compile_model: base.Compile) -> DecoderWeights | None:
        """NumPy; None of SIF and SIF++."""
        if not self.config.model.features:
            return None
        return jax.device_get(compile_model(lambda model, unused: (model.decoder.weights(), unused))(np.zeros(1, np.float32))[0])

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
        config.eval.resolution = 16
        config.train.update({"batch_size": 2, "steps": 2, "log_every": 1, "validate_every": 1, "validate_samples": 1})


def _drawn(samples: Array, count: int, key: jax.Array) -> jax.Array:
    """`count` of each example's samples [B, P, ...]: with replacement, and never the last, as published; all if there are as many."""
    samples = jnp.asarray(samples)
    if samples.shape[1] == count:  # drawn when they were read
        return samples
    which = by_sample(lambda own: jax.random.randint(own, (count,), 0, samples.shape[1] - 1), key, len(samples))
    return jnp.take_along_axis(samples, which[..., None], axis=1)
