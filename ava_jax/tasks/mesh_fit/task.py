"""The mesh fitting task: what the rest of the package sees of it. Each method is a line or two; the work is in its siblings."""

import pathlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from flax import nnx

from ava_jax.core.sampling import Sampling, Source
from ava_jax.core.types import Array, Assets, Batch
from ava_jax.tasks import base
from ava_jax.tasks.mesh_fit import laplacian
from ava_jax.tasks.mesh_fit.data import source, synthesize
from ava_jax.tasks.mesh_fit.evaluation import baselines, export, pictures, scores, summary
from ava_jax.tasks.mesh_fit.layers import Arithmetic
from ava_jax.tasks.mesh_fit.model import MeshFitter
from ava_jax.tasks.mesh_fit.optimizer import optimizer

L2, LAPLACIAN = "l2", "laplacian"


class MeshFit(base.Task):
    """Fits meshes of an interpolated skin to those of scans.

    A batch, metres: `source` f32 [B, n, V, 3], the meshes of the last n frames, oldest first (conditioned on vertices [B, 1, V, 3], one
    frame alone); `target` f32 [B, V, 3], where there is one; `joints` f32 [B, J, 3], of models with joints; `sequence`, `frame` int32 [B].
    A prediction: `vertices` f32 [B, V, 3], metres.
    """

    loss_terms = (L2, LAPLACIAN)
    scores = scores.SCORES
    group_by = ("sequence",)
    cluster_by = ("sequence",)
    mean_by = "sequence"
    sample_name = "mesh"
    lists = source.LISTS
    paths = ("data.root", "data.cache")

    def prepare(self) -> Assets:
        """Topology, names and statistics of the meshes."""
        return source.prepare(self.config)

    def source(self, split: str, assets: Assets) -> Source:
        """Meshes in the order of their sequences' names."""
        return source.source(self.config, split, assets)

    def sampling(self, split: str) -> Sampling:
        """Meshes in order, unless `config.data.shuffle` says otherwise."""
        if split == base.TRAIN:
            return Sampling(self.config.train.batch_size, shuffle=self.config.data.shuffle)
        return Sampling(self.config.eval.batch_size, shuffle=False, epochs=1, drop_remainder=False)

    def eval_splits(self, assets: Assets) -> Sequence[str]:
        """Frames and motions held out of training, of which there are any."""
        return source.eval_splits(self.config, assets)

    def check_data(self, assets: Assets) -> base.AtHand:
        """Motions that are not the run's; `source` looks at the topology."""
        return source.at_hand(self.config, assets)

    def describe(self, batch: Batch, assets: Assets) -> list[base.Row]:
        """Sequence and frame."""
        return source.describe(batch, assets)

    def model(self, assets: Assets, *, rngs: nnx.Rngs) -> MeshFitter:
        """The network."""
        return MeshFitter(self.config.model, assets, rngs=rngs)

    def loss(self, model: MeshFitter, batch: Batch, *, step: jax.Array, key: jax.Array, terms: Collection[str]) -> dict[str, base.LossTerm]:
        """Mean squared error of each mesh's vertices, m^2, and the length of its Laplacian, m: [B] each."""
        del step, key
        found = model.fit(batch["source"], batch.get("joints"))
        losses = {}
        if L2 in terms:
            # Of the vertices that have a prediction: all meshes of a run have as many, so a mean per mesh is the mean of all.
            error = found - batch["target"][:, -found.shape[1] :]
            losses[L2] = jnp.mean(jnp.square(error), axis=(1, 2)), None
        if LAPLACIAN in terms:
            losses[LAPLACIAN] = laplacian.roughness(model.neighbours, model.completed(batch["source"], found)), None
        return losses

    def optimizer(self, steps: int, steps_per_epoch: int) -> base.Optimizer:
        """Adam, as published."""
        del steps, steps_per_epoch
        return optimizer(self.config.optimizer)

    def predict(self, model: MeshFitter, batch: Batch) -> dict[str, jax.Array]:
        """Every vertex [B, V, 3]; those that have no prediction are the source's."""
        # In float32 always: there is time for it, and the weights hold more digits than training's products may have read.
        return {"vertices": model(batch["source"], batch.get("joints"), arithmetic=Arithmetic.of("float32"))}

    def score(self, prediction: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """Errors, [B] each."""
        return scores.score(prediction, batch, assets)

    def baselines(self, assets: Assets) -> Mapping[str, Callable[[Batch], dict[str, np.ndarray]]]:
        """Identity copy, mean offset and best rigid motion; scores [B] each."""
        return baselines.baselines(self.config, assets)

    def export(self, prediction: dict[str, Array], sample: Batch, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """An OBJ with the source's faces; vertices [V, 3]."""
        return export.export(prediction, sample, self.config, folder)

    def summarize(self, rows: Mapping[str, Sequence[base.Row]], assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """What the tables of all tasks do not show."""
        return summary.summarize(rows, assets, folder)

    def write_artefacts(self, compile_model: base.Compile, assets: Assets, folder: pathlib.Path) -> list[pathlib.Path]:
        """Source, prediction and target, coloured by error."""
        return pictures.write_artefacts(compile_model, self.predict, self.config, assets, folder)

    def write_examples(
        self, compile_model: base.Compile, best: Sequence[base.Example], worst: Sequence[base.Example], path: pathlib.Path
    ) -> bool:
        """The best and the worst meshes."""
        return pictures.write_examples(compile_model, self.predict, self.config, best, worst, path)

    def draw_sample(self, prediction: dict[str, Array], sample: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """The scan, the prediction, and the scan coloured by its error."""
        return pictures.of_sample(prediction, sample, assets)

    def pictures(self, model: MeshFitter, batch: Batch) -> dict[str, Array]:
        """The predicted vertices [B, V, 3]."""
        return {"vertices": model(batch["source"], batch.get("joints"))}

    def draw_pictures(self, pictures_: dict[str, Array], batch: Batch, assets: Assets) -> dict[str, np.ndarray]:
        """Source, prediction and target: u8 [H, W, 3]."""
        return pictures.progress(pictures_, batch, assets)

    @classmethod
    def synthesize(cls, folder: pathlib.Path, *, small: bool = False) -> dict[str, Any]:
        """Posed bodies with skin that slides."""
        return synthesize.write_default(folder, small=small)

    @classmethod
    def test_config(cls, config: ml_collections.ConfigDict) -> None:
        """A network of a few hundred parameters."""
        config.model.update({"hidden": 8, "latent": 4, "experts": 2, "precision": "float32"})
        config.train.update({"steps": 2, "epochs": 0, "steps_per_call": 1, "log_every": 1, "picture_every": 1, "checkpoint_every": 1})
        config.train.update({"validate_every": 1, "validate_samples": 1})
